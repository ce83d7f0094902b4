//! What a user names as a model → a probability for each row of the log.
//!
//! | given | is | rows without a probability |
//! |---|---|---|
//! | folder with `manifest.json` | a bundle, scored on the spot as `pctr score` does | those it cannot use |
//! | folder with `run.json` | a run of an experiment: its test predictions | all but the test rows |
//! | Parquet file | such a table of predictions | those not in it |
//! | any other file | the answer of `pctr score`: header `p`, one probability a row | those that say `NaN` |
//!
//! Probabilities of rows that are not predicted are NaN here.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::log::{Logged, PricedLog};
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::experiment::predictions::{PredictionTable, TEST_FILE};
use crate::learn::experiment::record::RECORD_FILE;
use crate::learn::score::score;
use crate::learn::source::{BadRows, Input, Progress};
use crate::model::Threads;
use crate::model::bundle::{Bundle, MANIFEST_FILE, Tier};

/// One model that bids.
#[derive(Debug)]
pub struct Candidate {
    /// Name in reports.
    pub name: String,
    /// Where its probabilities come from.
    pub source: Source,
}

/// Where probabilities come from.
#[derive(Debug)]
pub enum Source {
    /// A bundle that scores the log.
    Bundle(Box<Bundle>),
    /// A table of predictions by number of the row.
    Table(PathBuf),
    /// Text, one probability a row.
    Text(PathBuf),
}

impl Candidate {
    /// Opens `PATH` or `NAME=PATH`; without a name, that of the file or folder is taken.
    ///
    /// # Errors
    /// Io when there is nothing; Config when a folder is neither bundle nor run; Bundle when a bundle is refused.
    pub fn open(given: &str) -> Result<Candidate> {
        let (name, path) = match given.split_once('=') {
            Some((name, path)) if !name.is_empty() && !Path::new(given).exists() => (Some(name.to_owned()), path),
            _ => (None, given),
        };
        let path = Path::new(path);
        // The dots of a folder's name are no extension.
        let last = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let named = || last.map_or_else(|| given.to_owned(), |last| last.to_string_lossy().into_owned());
        Candidate::of(name.unwrap_or_else(named), path)
    }

    /// Opens a path under a name.
    ///
    /// # Errors
    /// Those of [`Candidate::open`].
    pub fn of(name: String, path: &Path) -> Result<Candidate> {
        Ok(Candidate { name, source: Source::open(path)? })
    }

    /// One probability for each row of the log, NaN where there is none.
    ///
    /// # Errors
    /// Io, Data when predictions cannot be read or are not those of this log; Interrupted.
    pub fn probabilities(
        &self,
        input: &Input,
        log: &PricedLog,
        threads: Threads<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
        interrupt: &Interrupt,
    ) -> Result<Vec<f64>> {
        match &self.source {
            Source::Table(path) => from_table(&PredictionTable::read(path)?, log, &path.display().to_string()),
            Source::Text(path) => read_text(path, log.rows()),
            Source::Bundle(bundle) => {
                // Reading the prices has already judged how many rows may be bad.
                let mut bad = BadRows::new(1.0)?;
                let mut text = ProbabilityText::new(format!("scores of {}", self.name));
                score((bundle, Tier::Full), input, &mut bad, threads, &mut text, progress, interrupt)?;
                text.finish(log.rows())
            }
        }
    }
}

impl Source {
    fn open(path: &Path) -> Result<Source> {
        if path.is_dir() {
            if path.join(RECORD_FILE).is_file() {
                return Ok(Source::Table(path.join(TEST_FILE)));
            }
            if path.join(MANIFEST_FILE).is_file() {
                return Ok(Source::Bundle(Box::new(Bundle::open(path)?)));
            }
            let message = format!("expected a bundle ({MANIFEST_FILE}) or a run ({RECORD_FILE}), got neither");
            return Err(Error::config("--model", path.display().to_string(), message));
        }
        let mut start = [0; 4];
        let mut file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
        let parquet = file.read_exact(&mut start).is_ok() && start == *b"PAR1";
        Ok(if parquet { Source::Table(path.to_path_buf()) } else { Source::Text(path.to_path_buf()) })
    }
}

/// Probabilities in a text file, one for each of `rows` rows.
///
/// # Errors
/// Io when it cannot be read; Data, naming the line, when it is no list of probabilities or is of another length.
pub(super) fn read_text(path: &Path, rows: usize) -> Result<Vec<f64>> {
    let mut file = std::fs::File::open(path).map_err(Error::io(path, "open"))?;
    let mut text = ProbabilityText::new(path.display().to_string());
    let copied = std::io::copy(&mut file, &mut text);
    if text.refused.is_none() {
        copied.map_err(Error::io(path, "read"))?;
    }
    text.finish(rows)
}

/// Probabilities of the rows of a table; labels and groups must be those of the log.
fn from_table(table: &PredictionTable, log: &PricedLog, place: &str) -> Result<Vec<f64>> {
    // A table counts the rows that could be used.
    let usable: Vec<usize> = (0..log.rows()).filter(|row| log.logged[*row] != Logged::Bad).collect();
    let mut probabilities = vec![f64::NAN; log.rows()];
    let other = |number: u64, what: String| {
        let message = format!("row {number}: {what}: these are predictions for another log");
        Err(Error::data(place, message))
    };
    for (position, number) in table.rows.iter().enumerate() {
        let Some(row) = usize::try_from(*number).ok().and_then(|number| usable.get(number)).copied() else {
            return other(*number, format!("expected at most {} rows", usable.len()));
        };
        let label = table.labels[position];
        let differs = match log.logged[row] {
            Logged::Click => label != 1,
            Logged::NoClick => label != 0,
            Logged::Lost | Logged::Bad => false,
        };
        if differs {
            return other(*number, format!("its label is {label}, the log's is {}", 1 - label));
        }
        if table.groups.as_ref().is_some_and(|groups| groups[position] != log.group[row]) {
            return other(*number, "its group is not the log's".into());
        }
        probabilities[row] = table.probabilities[position];
    }
    Ok(probabilities)
}

/// The answer of `pctr score` → numbers, from a file or straight from the scorer.
struct ProbabilityText {
    place: String,
    /// The line begun.
    line: Vec<u8>,
    lines: u64,
    probabilities: Vec<f64>,
    /// Why a line was not taken; a writer can only say that it failed.
    refused: Option<Error>,
}

impl ProbabilityText {
    fn new(place: String) -> Self {
        ProbabilityText { place, line: Vec::new(), lines: 0, probabilities: Vec::new(), refused: None }
    }

    /// All probabilities, which must be `rows`.
    fn finish(mut self, rows: usize) -> Result<Vec<f64>> {
        if !self.line.is_empty() && self.refused.is_none() {
            let line = std::mem::take(&mut self.line);
            self.take(&line);
        }
        match self.refused {
            Some(error) => Err(error),
            None if self.probabilities.len() != rows => {
                let got = self.probabilities.len();
                Err(Error::data(
                    self.place,
                    format!("expected {rows} probabilities, one for each row of the log, got {got}"),
                ))
            }
            None => Ok(self.probabilities),
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.lines += 1;
        let text = String::from_utf8_lossy(line);
        let cell = text.trim();
        if self.lines == 1 {
            if cell != "p" {
                self.refuse("the header p", cell);
            }
            return;
        }
        match cell.parse::<f64>() {
            Ok(probability) if probability.is_nan() || (0.0..=1.0).contains(&probability) => {
                self.probabilities.push(probability);
            }
            _ => self.refuse("a probability from 0 to 1, or NaN", cell),
        }
    }

    fn refuse(&mut self, expected: &str, got: &str) {
        let shown: String = got.chars().take(40).collect();
        self.refused = Some(Error::Row {
            file: self.place.clone(),
            line: self.lines,
            field: "p".into(),
            expected: expected.into(),
            got: format!("{shown:?}"),
        });
    }
}

impl Write for ProbabilityText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            match self.line.is_empty() {
                true => self.take(&rest[..end]),
                false => {
                    let mut line = std::mem::take(&mut self.line);
                    line.extend_from_slice(&rest[..end]);
                    self.take(&line);
                    line.clear();
                    self.line = line;
                }
            }
            if self.refused.is_some() {
                return Err(std::io::Error::other("not a probability"));
            }
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pieces: &[&str], rows: usize) -> Result<Vec<f64>> {
        let mut text = ProbabilityText::new("p.csv".into());
        for piece in pieces {
            if text.write_all(piece.as_bytes()).is_err() {
                break;
            }
        }
        text.finish(rows)
    }

    #[test]
    fn lines_may_be_cut_anywhere() {
        let read = parsed(&["p\n0", ".25\r\n", "Na", "N\n1e-3"], 3).unwrap();
        assert_eq!((read[0], read[2]), (0.25, 0.001));
        assert!(read[1].is_nan());
    }

    #[test]
    fn what_is_no_probability_is_named_by_line() {
        let message = |pieces: &[&str]| parsed(pieces, 2).unwrap_err().to_string();
        assert_eq!(message(&["p\n0.1\n1.5\n"]), "p.csv:3: p: expected a probability from 0 to 1, or NaN, got \"1.5\"");
        assert!(message(&["0.1\n0.2\n"]).contains("p.csv:1: p: expected the header p"));
        assert!(message(&["p\n0.1\n"]).contains("expected 2 probabilities, one for each row of the log, got 1"));
        assert!(message(&["p\n\n0.1\n"]).contains("p.csv:2"));
    }

    fn log() -> PricedLog {
        PricedLog {
            price: vec![1.0; 4],
            logged: vec![Logged::Click, Logged::Bad, Logged::NoClick, Logged::Lost],
            time: vec![0; 4],
            group: vec![7, 0, 8, 9],
        }
    }

    #[test]
    fn tables_are_matched_by_the_number_of_usable_rows() {
        let mut table = PredictionTable {
            rows: vec![1, 0],
            labels: vec![0, 1],
            probabilities: vec![0.2, 0.7],
            groups: Some(vec![8, 7]),
            ..PredictionTable::default()
        };
        let read = from_table(&table, &log(), "t").unwrap();
        assert_eq!((read[0], read[2]), (0.7, 0.2));
        assert!(read[1].is_nan() && read[3].is_nan());
        table.labels[0] = 1;
        assert!(
            from_table(&table, &log(), "t").unwrap_err().to_string().contains("row 1: its label is 1, the log's is 0")
        );
        table.labels[0] = 0;
        table.groups = Some(vec![7, 7]);
        assert!(from_table(&table, &log(), "t").unwrap_err().to_string().contains("its group is not the log's"));
        table.rows[0] = 3;
        assert!(from_table(&table, &log(), "t").unwrap_err().to_string().contains("expected at most 3 rows"));
    }
}
