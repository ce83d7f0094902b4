//! Slices of the test rows → where models differ, and how the loss goes over time.

use super::{minus, share, signed, signed_interval};
use crate::learn::experiment::Comparison;
use crate::learn::experiment::compare::reliability::SliceReliability;
use crate::learn::experiment::compare::sliced::{Bounded, ModelInSlice, Slice, Sliced};
use crate::learn::experiment::compare::verdict::thousands;
use crate::learn::report::content::Table;
use crate::metrics::calibration::{ReliabilityBin, expected_calibration_error};

/// Rows of [`largest`].
const LARGEST: usize = 12;

/// The slices in which a model differs most from the best one, beyond doubt first. `None` without any.
pub(in crate::learn::report) fn largest(comparison: &Comparison, slicings: &[&Sliced]) -> Option<Table> {
    let mut found: Vec<(f64, Vec<String>)> = Vec::new();
    for sliced in slicings {
        for slice in &sliced.slices {
            for (model, judged) in comparison.models.iter().zip(&slice.models) {
                let Some(shrunk @ Bounded { value, low: Some(low), high: Some(high) }) = judged.shrunk_minus_best
                else {
                    continue;
                };
                // The end of the interval that is nearer to no difference; zero when it holds none.
                let sure = if low > 0.0 { low } else { (-high).max(0.0) };
                let row = vec![
                    format!("{}: {}", sliced.by.title(), slice.name),
                    model.name.clone(),
                    thousands(slice.rows),
                    signed(value),
                    interval(shrunk),
                    judged.minus_best.map_or("–".into(), |own| signed(own.value)),
                ];
                found.push((sure, row));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.retain(|(sure, _)| *sure > 0.0);
    found.truncate(LARGEST);
    let best = comparison.models.first()?.name.clone();
    let columns = [
        ("Slice", ""),
        ("Model", ""),
        ("Rows", "test rows of the slice"),
        (
            "Shrunk difference",
            "log loss minus that of the best model, drawn to what all slices show; below 0 the model is better",
        ),
        ("Interval", "of the shrunk difference, for this slice alone"),
        ("As seen", "the difference before it was shrunk"),
    ];
    (!found.is_empty()).then(|| Table {
        caption: format!("Where models differ most from {best}, surest first, log loss in nats"),
        columns: columns.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).to_vec(),
        rows: found.into_iter().map(|(_, row)| row).collect(),
        marked: None,
    })
}

/// One cutting: of each slice its rows, the best model's loss, and how far the others are from it.
pub(in crate::learn::report) fn slicing(comparison: &Comparison, sliced: &Sliced) -> Vec<Table> {
    let models = &comparison.models;
    let Some(best) = models.first() else { return Vec::new() };
    let title = sliced.by.title();
    let mut columns = slice_columns(&title);
    columns.push((format!("Loss of {}", best.name), "mean log loss in nats".into()));
    if comparison.truth_log_loss.is_some() {
        columns
            .push(("Excess".into(), format!("log loss of {} above that of the true probabilities, nats", best.name)));
    }
    columns.push(("AUC".into(), format!("of {}, within the slice, first seed", best.name)));
    let shrunk = "log loss minus that of the best model, shrunk; * where its interval leaves zero out";
    columns.extend(models.iter().skip(1).map(|model| (model.name.clone(), shrunk.to_owned())));
    let losses = Table {
        caption: format!("By {title}: log loss of {} and how far the others are from it", best.name),
        columns,
        rows: sliced
            .slices
            .iter()
            .map(|slice| {
                let own = &slice.models[0];
                let mut row = slice_cells(slice);
                row.push(format!("{:.5}", own.log_loss.value));
                if comparison.truth_log_loss.is_some() {
                    row.push(own.excess_log_loss.map_or("–".into(), |excess| format!("{:.5}", excess.value)));
                }
                row.push(own.auc.map_or("–".into(), |auc| format!("{auc:.4}")));
                row.extend(slice.models.iter().skip(1).map(difference));
                row
            })
            .collect(),
        marked: None,
    };
    let mut columns = slice_columns(&title);
    let pcoc = "predicted clicks over clicks, after calibration (before it); * where its interval leaves 1 out";
    columns.extend(models.iter().map(|model| (model.name.clone(), pcoc.to_owned())));
    let calibration = Table {
        caption: format!("By {title}: PCOC after (before) calibration"),
        columns,
        rows: sliced
            .slices
            .iter()
            .map(|slice| slice_cells(slice).into_iter().chain(slice.models.iter().map(pcoc_cell)).collect())
            .collect(),
        marked: None,
    };
    vec![losses, calibration]
}

/// How far the models that lead are from calibrated in each of these slices, before and after calibration. `None` without any.
pub(in crate::learn::report) fn reliability<'c>(slices: impl Iterator<Item = &'c SliceReliability>) -> Option<Table> {
    let error =
        |bins: &[ReliabilityBin]| expected_calibration_error(bins).map_or("–".into(), |error| format!("{error:.4}"));
    let off = |bins: &[ReliabilityBin]| match bins.len() {
        0 => "–".to_owned(),
        all => {
            let holds = |bin: &&ReliabilityBin| (bin.ctr_low..=bin.ctr_high).contains(&bin.mean_probability);
            format!("{} of {all}", all - bins.iter().filter(holds).count())
        }
    };
    let (mut title, mut rows) = (String::new(), Vec::new());
    for slice in slices {
        title = slice.by.title();
        for model in &slice.models {
            let (before, after) = (&model.before[..], &model.after[..]);
            let cells = [error(before), error(after), off(before), off(after)];
            rows.push([&[slice.slice.clone(), model.model.clone(), thousands(slice.rows)][..], &cells].concat());
        }
    }
    let ece =
        "mean distance of promised from observed click rate over bins of equal mass; compare it at equal rows only";
    let outside = "bins whose 95 % interval of the click rate does not hold what was promised; one of twenty by chance";
    let columns = [
        ("Slice", ""),
        ("Model", ""),
        ("Rows", "test rows"),
        ("ECE before", ece),
        ("ECE", ece),
        ("Off before", outside),
        ("Off", outside),
    ];
    (!rows.is_empty()).then(|| Table {
        caption: format!("By {title}: reliability before and after calibration, largest slices"),
        columns: columns.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).to_vec(),
        rows,
        marked: None,
    })
}

/// Log loss and PCOC of every model over time.
pub(in crate::learn::report) fn over_time(comparison: &Comparison, sliced: &Sliced) -> Table {
    let title = sliced.by.title();
    let mut columns = slice_columns(&title);
    for model in &comparison.models {
        columns.push((model.name.clone(), "mean log loss in nats; PCOC".into()));
    }
    let cell = |model: &ModelInSlice| {
        let pcoc = model.pcoc.map_or("–".into(), |pcoc| format!("{:.3}", pcoc.value));
        format!("{:.5}; {pcoc}", model.log_loss.value)
    };
    Table {
        caption: format!("By {title}: log loss; PCOC"),
        columns,
        rows: sliced
            .slices
            .iter()
            .map(|slice| slice_cells(slice).into_iter().chain(slice.models.iter().map(cell)).collect())
            .collect(),
        marked: None,
    }
}

fn slice_columns(title: &str) -> Vec<(String, String)> {
    let name: String = title.chars().take(1).flat_map(char::to_uppercase).chain(title.chars().skip(1)).collect();
    let columns = [(name.as_str(), ""), ("Rows", "test rows"), ("CTR", "click-through rate")];
    columns.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).to_vec()
}

fn slice_cells(slice: &Slice) -> Vec<String> {
    vec![slice.name.clone(), thousands(slice.rows), share(slice.ctr)]
}

fn difference(model: &ModelInSlice) -> String {
    let Some(shrunk) = model.shrunk_minus_best else {
        return model.minus_best.map_or("–".into(), |own| signed(own.value));
    };
    let sure = shrunk.low.is_some_and(|low| low > 0.0) || shrunk.high.is_some_and(|high| high < 0.0);
    format!("{}{}", signed(shrunk.value), if sure { " *" } else { "" })
}

fn pcoc_cell(model: &ModelInSlice) -> String {
    let Some(pcoc) = model.pcoc else { return "–".into() };
    let off = pcoc.low.is_some_and(|low| low > 1.0) || pcoc.high.is_some_and(|high| high < 1.0);
    let before = model.pcoc_before.map_or(String::new(), |before| format!(" ({before:.3})"));
    minus(&format!("{:.3}{}{before}", pcoc.value, if off { " *" } else { "" }))
}

fn interval(bounded: Bounded) -> String {
    match (bounded.low, bounded.high) {
        (Some(low), Some(high)) => signed_interval(low, high),
        _ => "–".into(),
    }
}
