//! A request log and a bundle → whether the bundle answers the same bits, and the first field that differs where it does not.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::Serialize;

use super::files::numbered;
use super::line::{FORMAT, Line, LoggedCandidate, Value, codes_of_text};
use crate::error::{Error, Result};
use crate::model::bundle::{Bundle, ScoreScratch};
use crate::model::features::hash::row_fingerprint;
use crate::model::row::Cell;

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Replay {
    /// Requests scored again.
    pub requests: u64,
    /// Their candidates.
    pub candidates: u64,
    /// Requests with a candidate whose answer is another.
    pub differing: u64,
    /// Lines answered by other models, which were passed over.
    pub other_models: u64,
    /// Lines that cannot be read.
    pub damaged: u64,
    /// The first of the differences.
    pub first: Option<Difference>,
}

/// Where two answers part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// File of the log.
    pub file: PathBuf,
    /// Line in it, from 1.
    pub line: u64,
    /// Position of the candidate, from 0.
    pub candidate: usize,
    /// The first field whose code differs; `row` when the log holds no codes, `probability` when the row is the same.
    pub field: String,
    /// What the log says.
    pub logged: String,
    /// What the bundle says.
    pub replayed: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { file, line, candidate, field, logged, replayed } = self;
        let file = file.display();
        write!(f, "{file}:{line}: candidates[{candidate}]: {field}: the log has {logged}, the bundle gives {replayed}")
    }
}

/// Scores every request of `log`, a file or a folder of them, that the model of `bundle` answered; `interrupted` may end it.
///
/// # Errors
/// Io when the log cannot be read; data when no line of it is from this model; whatever `interrupted` answers.
pub fn replay(log: &Path, bundle: &Bundle, interrupted: impl Fn() -> Result<()>) -> Result<Replay> {
    let files = match log.is_dir() {
        true => numbered(log)?.into_iter().map(|(_, path)| path).collect(),
        false => vec![log.to_path_buf()],
    };
    let mut replay = Replay::default();
    let mut scorer = Scorer::new(bundle);
    for file in &files {
        let io = |action| Error::io(file, action);
        let lines = BufReader::with_capacity(1 << 18, File::open(file).map_err(io("open"))?).split(b'\n');
        for (number, line) in (1..).zip(lines) {
            interrupted()?;
            let line: Line = match serde_json::from_slice(&line.map_err(io("read"))?) {
                Ok(line) => line,
                Err(error) => {
                    tracing::warn!("{}:{number}: passed over: {error}", file.display());
                    replay.damaged += 1;
                    continue;
                }
            };
            if line.format != FORMAT {
                let message = format!("line {number}: expected format {FORMAT}, got {}", line.format);
                return Err(Error::data(file.display().to_string(), message));
            }
            if line.model != bundle.manifest.model {
                replay.other_models += 1;
                continue;
            }
            replay.requests += 1;
            replay.candidates += line.candidates.len() as u64;
            if let Some((candidate, Parting { field, logged, replayed })) = scorer.parting(&line) {
                replay.differing += 1;
                let difference = Difference { file: file.clone(), line: number, candidate, field, logged, replayed };
                replay.first.get_or_insert(difference);
            }
        }
    }
    if replay.requests == 0 {
        let Replay { other_models, damaged, .. } = replay;
        let message = format!(
            "no line of {} is from this model: {other_models} are from others, {damaged} cannot be read",
            log.display()
        );
        return Err(Error::data(&bundle.manifest.model, message));
    }
    Ok(replay)
}

/// The first thing that differs.
struct Parting {
    field: String,
    logged: String,
    replayed: String,
}

struct Scorer<'b> {
    bundle: &'b Bundle,
    codes: Vec<u32>,
    scratch: ScoreScratch,
    probabilities: Vec<f64>,
}

impl<'b> Scorer<'b> {
    fn new(bundle: &'b Bundle) -> Self {
        let codes = vec![0; bundle.encoder.width()];
        Scorer { bundle, codes, scratch: ScoreScratch::default(), probabilities: Vec::new() }
    }

    fn parting(&mut self, line: &Line) -> Option<(usize, Parting)> {
        let mut candidates = line.candidates.iter().enumerate();
        candidates.find_map(|(at, candidate)| Some((at, self.compare(&line.context, candidate)?)))
    }

    fn compare(&mut self, context: &IndexMap<String, Value>, candidate: &LoggedCandidate) -> Option<Parting> {
        let given = |column: &String| candidate.given.get(column).or_else(|| context.get(column));
        let columns = &self.bundle.schema.columns;
        let unknown = context.keys().chain(candidate.given.keys()).find(|name| !columns.contains(name));
        if let Some(name) = unknown {
            let replayed = "no such field".to_owned();
            return Some(Parting { field: name.clone(), logged: "a value".into(), replayed });
        }
        let lists: Vec<Vec<&[u8]>> =
            columns.iter().map(|column| given(column).map_or_else(Vec::new, Value::values)).collect();
        let row: Vec<Cell<'_>> = columns
            .iter()
            .zip(&lists)
            .map(|(column, values)| given(column).map_or(Cell::Missing, |value| value.cell(values)))
            .collect();
        if let Err(error) = self.bundle.encoder.encode(&row, &mut self.codes) {
            let replayed = format!("a refusal: expected {}, got {}", error.expected, error.got);
            return Some(Parting { field: error.field, logged: "an answer".into(), replayed });
        }
        let row = format!("{:016x}", row_fingerprint(&self.codes));
        if row != candidate.row {
            return Some(self.first_code(candidate).unwrap_or_else(|| Parting {
                field: "row".into(),
                logged: format!("the fingerprint {}", candidate.row),
                replayed: row,
            }));
        }
        self.probabilities.clear();
        let tier = candidate.tier;
        if !self.bundle.has(tier) {
            return Some(Parting { field: "tier".into(), logged: tier.to_string(), replayed: "no such tier".into() });
        }
        self.bundle.score_tier(tier, &self.codes, &mut self.scratch, &mut self.probabilities);
        let replayed = self.probabilities[0];
        (replayed.to_bits() != candidate.probability.to_bits()).then(|| Parting {
            field: "probability".into(),
            logged: candidate.probability.to_string(),
            replayed: replayed.to_string(),
        })
    }

    /// The first field whose code is not that of the log, where the log has codes.
    fn first_code(&self, candidate: &LoggedCandidate) -> Option<Parting> {
        let logged = codes_of_text(candidate.codes.as_ref()?)?;
        let mut codes = self.codes.iter().zip(&logged);
        for (name, width) in self.bundle.encoder.features() {
            let differing = codes.by_ref().take(width).filter(|(replayed, logged)| replayed != logged);
            if let Some((replayed, logged)) = differing.last() {
                let (logged, replayed) = (format!("the code {logged:08x}"), format!("{replayed:08x}"));
                return Some(Parting { field: name.to_owned(), logged, replayed });
            }
        }
        None
    }
}
