//! Scores with a bundle on one thread: ready slots as a file has them, and requests of a context and candidates as a service has
//! them.
//!
//! ```text
//! cargo bench --bench scoring -- BUNDLE LOG            a table: microseconds of requests of 1 to 300 candidates
//! cargo bench --bench scoring -- BUNDLE LOG service    a table: nanoseconds of requests from their bytes to those of the answers
//! cargo bench --bench scoring -- BUNDLE LOG SLOTS      a turn at a time, as another program asks on standard input, so that both are
//!                                                      timed alternately in one run (`baselines/peers/onnx_scoring.py` asks)
//! logits PRECISION FILE            → writes the logits of all rows of SLOTS, f32, little-endian; answers "ok"
//! time PRECISION ROWS TURNS        → answers the seconds of each call of ROWS rows of SLOTS, TURNS of them, on one line
//! requests PRECISION ROWS TURNS    → the same of requests with ROWS candidates, from cells of LOG to probabilities
//! answer PRECISION ROWS NUMBER     → answers the uncalibrated log-odds of the candidates of one of them
//! ```
//!
//! SLOTS: u32, little-endian, row by row.

#[path = "scoring/requests.rs"]
mod requests;
#[path = "scoring/service.rs"]
mod service;

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use pctr::model::bundle::{Bundle, Model};
use pctr::model::calibration::Calibrator;
use pctr::model::dcn::{DcnEnsemble, EnsembleScratch, ScoringPrecision};
use pctr::model::{Predict, Slots};
use pctr::predict::budget::Budget;
use pctr::predict::scorer::Scratch;
use requests::Log;

/// Rows of the log that are used.
const MOST_ROWS: usize = 50_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [bundle, log, slots @ ..] = &arguments[..] else {
        // What `cargo bench` alone runs: nothing to score.
        return;
    };
    let bundle = Bundle::open(Path::new(bundle)).expect("a bundle");
    let log = Log::read(Path::new(log), &bundle, MOST_ROWS);
    match slots {
        [] => requests::table(&bundle, &log),
        [service] if service == "service" => service::table(&bundle, &log),
        [slots, ..] => answer(&bundle, &log, Path::new(slots)),
    }
}

/// Answers what is asked on standard input.
fn answer(bundle: &Bundle, log: &Log, slots: &Path) {
    let Model::Dcn(model) = &bundle.model else { panic!("{} is no network", bundle.manifest.model) };
    let width = bundle.indexer.layout().width();
    let bytes = std::fs::read(slots).expect("slots");
    let slots: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let slots = Slots::new(width, &slots);
    let precisions = [ScoringPrecision::F32, ScoringPrecision::Int8];
    let place = |name: &str| {
        let place = precisions.iter().position(|precision| precision.name() == name);
        place.unwrap_or_else(|| panic!("no precision {name:?}"))
    };
    let models = precisions.map(|precision| model.in_precision(precision));
    let live = precisions.map(|precision| requests::in_precision(bundle, precision));
    let (mut scratch, mut of_requests) = (EnsembleScratch::default(), Scratch::default());
    let mut at = 0;
    let number = |word: &str| word.parse::<usize>().expect("a number");
    let spaced =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input");
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["logits", precision, file] => {
                let mut logits = vec![0.0; slots.rows()];
                models[place(precision)].predict(slots, &mut scratch, &mut logits);
                let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
                std::fs::write(file, bytes).expect("a file for the logits");
                "ok".to_owned()
            }
            ["time", precision, rows, turns] => {
                let rows = number(rows);
                spaced(&mut (0..number(turns)).map(|_| {
                    at = if at + rows > slots.rows() { 0 } else { at };
                    let seconds = time(&models[place(precision)], slots.range(at..at + rows), &mut scratch);
                    at += rows;
                    seconds
                }))
            }
            ["requests", precision, rows, turns] => {
                let model = &live[place(precision)];
                spaced(&mut requests::seconds(model, log, number(rows), number(turns), &mut of_requests).into_iter())
            }
            ["answer", precision, rows, request] => {
                let mut plain = bundle.clone();
                plain.calibrator = Calibrator::identity();
                let model = &requests::in_precision(&plain, precisions[place(precision)]);
                let scored = log.score(model, number(request), number(rows), &Budget::unlimited(), &mut of_requests);
                spaced(&mut scored.iter().map(|scored| (scored.probability / (1.0 - scored.probability)).ln()))
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
