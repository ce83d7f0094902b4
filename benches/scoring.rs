//! Scores ready slots with a bundle's network on one thread, a turn at a time, as another program asks on standard input: so that
//! both are timed alternately in one run (`baselines/peers/onnx_scoring.py` asks).
//!
//! ```text
//! cargo bench --bench scoring -- BUNDLE SLOTS      SLOTS: u32, little-endian, row by row
//! logits PRECISION FILE      → writes the logits of all rows, f32, little-endian; answers "ok"
//! time PRECISION ROWS TURNS  → answers the seconds of each call of ROWS rows, TURNS of them, on one line
//! ```

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use pctr::model::bundle::{Bundle, Model};
use pctr::model::dcn::{DcnEnsemble, EnsembleScratch, ScoringPrecision};
use pctr::model::{Predict, Slots};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [bundle, slots] = &arguments[..] else {
        // What `cargo bench` alone runs: nothing to score.
        return;
    };
    let bundle = Bundle::open(Path::new(bundle)).expect("a bundle");
    let Model::Dcn(model) = &bundle.model else { panic!("{} is no network", bundle.manifest.model) };
    let width = bundle.indexer.layout().width();
    let bytes = std::fs::read(slots).expect("slots");
    let slots: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let slots = Slots::new(width, &slots);
    let models =
        [ScoringPrecision::F32, ScoringPrecision::Int8].map(|precision| (precision, model.in_precision(precision)));
    let find = |name: &str| {
        let found = models.iter().find(|(precision, _)| precision.name() == name);
        &found.unwrap_or_else(|| panic!("no precision {name:?}")).1
    };
    let mut scratch = EnsembleScratch::default();
    let mut at = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["logits", precision, file] => {
                let mut logits = vec![0.0; slots.rows()];
                find(precision).predict(slots, &mut scratch, &mut logits);
                let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
                std::fs::write(file, bytes).expect("a file for the logits");
                "ok".to_owned()
            }
            ["time", precision, rows, turns] => {
                let rows: usize = rows.parse().expect("rows");
                let seconds = (0..turns.parse::<usize>().expect("turns")).map(|_| {
                    at = if at + rows > slots.rows() { 0 } else { at };
                    let seconds = time(find(precision), slots.range(at..at + rows), &mut scratch);
                    at += rows;
                    seconds.to_string()
                });
                seconds.collect::<Vec<_>>().join(" ")
            }
            _ => panic!("what is {line:?}?"),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("standard output");
    }
}

fn time(model: &DcnEnsemble, slots: Slots<'_>, scratch: &mut EnsembleScratch) -> f64 {
    let started = Instant::now();
    let mut logits = vec![0.0; slots.rows()];
    model.predict(slots, scratch, &mut logits);
    std::hint::black_box(logits);
    started.elapsed().as_secs_f64()
}
