//! Sizes → seconds of a fit and of a prediction at default settings: where the limits of each kind come from.
//!
//! Two kinds of columns, because the trees sort them: hashed counts (few distinct values) and continuous numbers (none equal).
//! `cargo run --release -p baselines --example limits [kind [rows columns]]`

use std::io::Write;
use std::time::Instant;

use baselines::{Baseline, Dense, LinfaLogistic, SmartcoreBoost, SmartcoreForest};
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

const SIZES: [(usize, usize); 5] = [(10_000, 64), (20_000, 64), (50_000, 64), (20_000, 256), (50_000, 256)];

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    let sizes = match (count(1), count(2)) {
        (Some(rows), Some(columns)) => vec![(rows, columns)],
        _ => SIZES.to_vec(),
    };
    let mut out = std::io::stdout();
    writeln!(out, "kind,columns_are,rows,columns,rows_used,fit_seconds,predict_seconds,report")?;
    for (rows, columns) in sizes {
        for continuous in [false, true] {
            let (train, labels) = generated(rows, columns, continuous);
            for baseline in [
                Baseline::LinfaLogistic(LinfaLogistic::default()),
                Baseline::SmartcoreForest(SmartcoreForest::default()),
                Baseline::SmartcoreBoost(SmartcoreBoost::default()),
            ] {
                if arguments.first().is_some_and(|kind| kind != baseline.kind()) {
                    continue;
                }
                let start = Instant::now();
                let fitted = baseline.fit(&train, &labels, 1).map_err(std::io::Error::other)?;
                let fit = start.elapsed().as_secs_f64();
                let start = Instant::now();
                fitted.predict(&train).map_err(std::io::Error::other)?;
                let predict = start.elapsed().as_secs_f64();
                let columns_are = if continuous { "continuous" } else { "counts" };
                let (kind, report) = (baseline.kind(), fitted.report());
                let used = report.rows_used;
                writeln!(out, "{kind},{columns_are},{rows},{columns},{used},{fit:.2},{predict:.2},\"{report}\"")?;
            }
        }
    }
    Ok(())
}

/// Rows of 39 fields hashed into `columns` counts, or of uniform numbers; about one click in ten, more where the first column is high.
fn generated(rows: usize, columns: usize, continuous: bool) -> (Dense, Vec<u8>) {
    const FIELDS: usize = 39;
    let mut random = SplitMix64::seed_from_u64(1);
    let mut unit = || (random.next_u64() >> 40) as f32 / (1_u64 << 24) as f32;
    let mut values = vec![0.0; rows * columns];
    let mut labels = Vec::with_capacity(rows);
    for row in values.chunks_exact_mut(columns) {
        if continuous {
            row.iter_mut().for_each(|value| *value = unit());
        } else {
            for _ in 0..FIELDS {
                row[(unit() * unit() * columns as f32) as usize] += 1.0;
            }
        }
        labels.push(u8::from(unit() < 0.05 + 0.05 * row[0].min(4.0)));
    }
    (Dense::new(rows, columns, values).expect("generated values fit"), labels)
}
