//! Rows of a log → requests of one context and many candidates, and what they take in process, on one thread.
//!
//! A request takes neighboring rows: of the columns that features read, the first three quarters are its context and have the first
//! row's cells, the others are its candidates' own. Time runs from cells to probabilities; nothing is parsed from JSON.

use std::path::Path;
use std::time::Instant;

use pctr::model::bundle::{Bundle, Model, Tier};
use pctr::model::dcn::ScoringPrecision;
use pctr::model::row::Cell;
use pctr::predict::LiveModel;
use pctr::predict::budget::Budget;
use pctr::predict::scorer::{Scored, Scratch, score, warm};

/// Cells of a log's rows.
pub(crate) struct Log {
    rows: Vec<Vec<Vec<u8>>>,
    /// Whether each column is the context's.
    is_context: Vec<bool>,
}

impl Log {
    /// The first `most` rows of a text without quotes.
    pub(crate) fn read(path: &Path, bundle: &Bundle, most: usize) -> Log {
        let text = std::fs::read(path).expect("a log");
        let format = bundle.schema.text;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).skip(usize::from(format.header));
        let cells = |line: &[u8]| line.split(|byte| *byte == format.delimiter).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let rows: Vec<Vec<Vec<u8>>> = lines.take(most).map(cells).collect();
        let mut is_context = vec![true; bundle.schema.columns.len()];
        let mut columns: Vec<usize> = bundle.schema.features.iter().map(|feature| feature.column).collect();
        columns.dedup();
        columns.iter().rev().take(columns.len() / 4).for_each(|column| is_context[*column] = false);
        Log { rows, is_context }
    }

    /// Requests of `candidates` rows that it holds.
    pub(crate) fn requests(&self, candidates: usize) -> usize {
        self.rows.len() / candidates
    }

    /// Rows of a request.
    pub(crate) fn rows(&self, request: usize, candidates: usize) -> &[Vec<Vec<u8>>] {
        &self.rows[request * candidates..(request + 1) * candidates]
    }

    /// Answers a request; leaves the answer in `scratch`.
    pub(crate) fn score<'s>(
        &self,
        model: &LiveModel,
        request: usize,
        candidates: usize,
        budget: &Budget<'_>,
        scratch: &'s mut Scratch,
    ) -> &'s [Scored] {
        let rows = self.rows(request, candidates);
        score(
            model,
            Own { log: self, row: &rows[0], context: true, next: 0 },
            rows.iter().map(|row| Own { log: self, row, context: false, next: 0 }),
            budget,
            scratch,
        )
        .expect("rows of a good log")
    }
}

/// The cells of a row that are the context's, or its own.
struct Own<'a> {
    log: &'a Log,
    row: &'a [Vec<u8>],
    context: bool,
    next: usize,
}

impl<'a> Iterator for Own<'a> {
    type Item = (usize, Cell<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.row.len() && self.log.is_context[self.next] != self.context {
            self.next += 1;
        }
        let column = self.next;
        self.next += 1;
        Some((column, cell(self.row.get(column)?)))
    }
}

fn cell(text: &[u8]) -> Cell<'_> {
    if text.is_empty() { Cell::Missing } else { Cell::Text(text) }
}

/// The bundle, scoring in these numbers where it knows several.
pub(crate) fn in_precision(bundle: &Bundle, precision: ScoringPrecision) -> LiveModel {
    let mut bundle = bundle.clone();
    if let Model::Dcn(model) = &bundle.model {
        bundle.model = Model::Dcn(std::sync::Arc::new(model.in_precision(precision)));
    }
    LiveModel::new(bundle).expect("a bundle that answers")
}

/// Seconds of each of `turns` requests of `candidates`.
pub(crate) fn seconds(
    model: &LiveModel,
    log: &Log,
    candidates: usize,
    turns: usize,
    scratch: &mut Scratch,
) -> Vec<f64> {
    let requests = log.requests(candidates);
    assert!(requests > 0, "the log has fewer rows than {candidates}");
    let second = |turn: usize| {
        let started = Instant::now();
        std::hint::black_box(log.score(model, turn % requests, candidates, &Budget::unlimited(), scratch));
        started.elapsed().as_secs_f64()
    };
    (0..turns).map(second).collect()
}

/// Prints microseconds of requests of several sizes for each tier and precision: least, median, 99th of a hundred.
pub(crate) fn table(bundle: &Bundle, log: &Log) {
    let mut out = String::from("model,tier,precision,candidates,least_us,p50_us,p99_us\n");
    let precisions: &[ScoringPrecision] = match bundle.model {
        Model::Dcn(_) => &[ScoringPrecision::F32, ScoringPrecision::Int8],
        Model::Ftrl(_) | Model::BaseRate(_) => &[ScoringPrecision::F32],
    };
    for precision in precisions {
        let model = in_precision(bundle, *precision);
        warm(&model, &Instant::now);
        let mut scratch = Scratch::default();
        for candidates in [1, 10, 100, 300] {
            let turns = (40_000 / candidates).clamp(200, 4_000);
            let mut seconds = seconds(&model, log, candidates, turns, &mut scratch).split_off(turns / 10);
            seconds.sort_unstable_by(f64::total_cmp);
            let at = |share: f64| 1e6 * seconds[((seconds.len() - 1) as f64 * share) as usize];
            let kind = bundle.manifest.kind;
            let (least, median, late) = (at(0.0), at(0.5), at(0.99));
            out +=
                &format!("{kind},{},{},{candidates},{least:.1},{median:.1},{late:.1}\n", Tier::Full, precision.name());
        }
    }
    std::io::Write::write_all(&mut std::io::stdout(), out.as_bytes()).expect("standard output");
}
