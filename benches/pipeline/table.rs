//! Measurements → a table for people, and CSV.

use comfy_table::{CellAlignment, Table, presets};

use crate::Measurement;

/// One line a stage; growth is against the first log on which the same stage ran.
pub(crate) fn text(all: &[(u64, Measurement)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "log rows",
        "stage",
        "threads",
        "rows/s",
        "GB/s of text",
        "of a byte loop",
        "time a row",
        "own memory, MiB",
    ]);
    for column in 2..8 {
        table.column_mut(column).expect("eight columns").set_cell_alignment(CellAlignment::Right);
    }
    for (log_rows, measured) in all {
        let number =
            |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
        let growth = first_of(all, measured).map(|first| first.rows_per_second() / measured.rows_per_second());
        table.add_row([
            log_rows.to_string(),
            measured.stage.clone(),
            measured.threads.to_string(),
            format!("{:.0}", measured.rows_per_second()),
            number(measured.text_gb_per_second(), 2),
            number(share_of_loop(all, *log_rows, measured), 2),
            growth.map_or("–".into(), |growth| format!("×{growth:.2}")),
            number(measured.peak_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)), 1),
        ]);
    }
    format!("{table}\n")
}

/// The same with all rounds.
pub(crate) fn csv(all: &[(u64, Measurement)]) -> String {
    let mut text = String::from(
        "log_rows,stage,threads,rows,seconds,rows_per_second,text_gb_per_second,share_of_byte_loop,peak_anonymous_bytes,isa\n",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
    for (log_rows, measured) in all {
        let seconds: Vec<String> = measured.seconds.iter().map(|seconds| format!("{seconds:.6}")).collect();
        let cells = [
            log_rows.to_string(),
            measured.stage.clone(),
            measured.threads.to_string(),
            measured.rows.to_string(),
            seconds.join(";"),
            format!("{:.0}", measured.rows_per_second()),
            number(measured.text_gb_per_second()),
            number(share_of_loop(all, *log_rows, measured)),
            measured.peak_bytes.map_or(String::new(), |bytes| bytes.to_string()),
            pctr::kernels::isa().name().into(),
        ];
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// Speed over that of the plain loop on the same text.
fn share_of_loop(all: &[(u64, Measurement)], log_rows: u64, measured: &Measurement) -> Option<f64> {
    let of_loop = all.iter().find(|(rows, other)| *rows == log_rows && other.stage == crate::stages::BYTE_LOOP)?;
    Some(measured.text_gb_per_second()? / of_loop.1.text_gb_per_second()?)
}

fn first_of<'a>(all: &'a [(u64, Measurement)], measured: &Measurement) -> Option<&'a Measurement> {
    let same = |other: &&(u64, Measurement)| other.1.stage == measured.stage && other.1.threads == measured.threads;
    all.iter().find(same).map(|(_, first)| first)
}
