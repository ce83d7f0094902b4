//! A comparison → `results.csv`: one line for each run, for other tools and for committing beside a question.

use crate::learn::experiment::Comparison;

/// The header and one line for each run, best model first. What does not exist is empty.
pub fn csv(comparison: &Comparison) -> String {
    let mut text = String::from(
        "model,kind,seed,grid,test_log_loss,truth_log_loss,test_auc,test_normalized_entropy,test_pcoc,test_ece,test_brier,\
         test_pr_auc,test_grouped_auc,test_ndcg,valid_log_loss,train_rows,train_seconds,rows_per_second,bundle_bytes,\
         p99_micros_1,p99_micros_100,data,split,isa,pctr\n",
    );
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for model in &comparison.models {
        for run in model.runs.iter().map(|run| &run.record) {
            let test = &run.test;
            let cells = [
                quoted(&model.name),
                run.kind.to_string(),
                run.seed.to_string(),
                run.grid.as_ref().map(|grid| quoted(&grid.values)).unwrap_or_default(),
                test.log_loss.to_string(),
                number(run.truth_log_loss),
                number(test.auc),
                number(test.normalized_entropy),
                number(test.pcoc),
                test.ece.to_string(),
                test.brier.to_string(),
                number(test.pr_auc),
                number(test.grouped_auc.and_then(|grouped| grouped.auc)),
                number(test.grouped_ndcg.and_then(|grouped| grouped.ndcg)),
                number(run.valid.as_ref().map(|valid| valid.log_loss)),
                run.training.rows.to_string(),
                format!("{:.3}", run.training.seconds),
                format!("{:.0}", run.training.rows_per_second),
                run.bundle_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
                format!("{:.2}", run.scoring.one.p99_micros),
                format!("{:.2}", run.scoring.hundred.p99_micros),
                run.data.fingerprint.to_string(),
                run.data.split.to_string(),
                run.environment.isa.clone(),
                run.environment.pctr.clone(),
            ];
            text.push_str(&cells.join(","));
            text.push('\n');
        }
    }
    text
}

/// A cell that may hold commas or quotes.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
