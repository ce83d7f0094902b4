//! An answered request ↔ one line of JSON.
//!
//! Numbers are the shortest decimals that read back as the same bits. Cells keep what they were: text is a string also where it looks
//! like a number, because the encoder takes it as text.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::model::bundle::Tier;
use crate::model::row::Cell;
use crate::predict::given::{Given, Kept};

/// Version of the lines that this build writes and reads.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Version of the format.
    pub format: u32,
    /// When it was answered (UTC, RFC 3339).
    pub at: String,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The model that answered.
    pub model: String,
    /// Microseconds that the request had.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub budget_us: Option<u64>,
    /// Microseconds that it took.
    pub took_us: u64,
    /// Cells of the context by column.
    pub context: IndexMap<String, Value>,
    /// The candidates in their order.
    pub candidates: Vec<LoggedCandidate>,
}

/// A candidate of a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedCandidate {
    /// Its own cells by column, which stand over the context's.
    pub given: IndexMap<String, Value>,
    /// Fingerprint of its encoded row, 16 hexadecimal digits.
    pub row: String,
    /// Which model of the ladder answered.
    pub tier: Tier,
    /// The answer.
    pub probability: f64,
    /// Codes of its row in the order of the encoder, 8 hexadecimal digits each.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub codes: Option<String>,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing stands there.
    Missing,
    /// Text as it came.
    Text(String),
    /// A number from a typed source.
    Number(f64),
    /// Values of a bag from a typed source.
    Values(Vec<String>),
}

impl Value {
    /// The cell as the encoder takes it; `values` holds borrowed values of a bag.
    pub fn cell<'v>(&'v self, values: &'v [&'v [u8]]) -> Cell<'v> {
        match self {
            Value::Missing => Cell::Missing,
            Value::Text(text) => Cell::Text(text.as_bytes()),
            Value::Number(number) => Cell::Number(*number),
            Value::Values(_) => Cell::Values(values),
        }
    }

    /// Borrowed values of a bag; none of any other cell.
    pub fn values(&self) -> Vec<&[u8]> {
        match self {
            Value::Values(values) => values.iter().map(String::as_bytes).collect(),
            Value::Missing | Value::Text(_) | Value::Number(_) => Vec::new(),
        }
    }

    fn of(kept: Kept<'_>) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match kept {
            Kept::Missing => Value::Missing,
            Kept::Text(bytes) => Value::Text(text(bytes)),
            Kept::Number(number) => Value::Number(number),
            Kept::Values(values) => Value::Values(values.map(text).collect()),
        }
    }
}

impl Line {
    /// The line of an answer; `with_codes` says whether the rows are encoded again to hold their codes.
    pub(super) fn of(answer: &Answer, with_codes: bool) -> Line {
        let bundle = &answer.model.bundle;
        let columns = &bundle.schema.columns;
        let mut codes = if with_codes { codes(&answer.given, &answer.model.bundle) } else { Vec::new() }.into_iter();
        let cells = |cells: &mut dyn Iterator<Item = (usize, Kept<'_>)>| -> IndexMap<String, Value> {
            cells.map(|(column, kept)| (columns[column].clone(), Value::of(kept))).collect()
        };
        let candidates = answer.scored.iter().enumerate().map(|(candidate, scored)| LoggedCandidate {
            given: cells(&mut answer.given.candidate(candidate)),
            row: format!("{:016x}", scored.fingerprint),
            tier: scored.tier,
            probability: scored.probability,
            codes: codes.next(),
        });
        let micros = |time: std::time::Duration| time.as_micros().try_into().unwrap_or(u64::MAX);
        Line {
            format: FORMAT,
            at: answer.at.to_string(),
            id: answer.id.clone(),
            model: answer.model.name().to_owned(),
            budget_us: answer.budget.map(micros),
            took_us: micros(answer.took),
            context: cells(&mut answer.given.context()),
            candidates: candidates.collect(),
        }
    }
}

/// Codes of each candidate's row, as a line holds them.
fn codes(given: &Given, bundle: &crate::model::bundle::Bundle) -> Vec<String> {
    let mut codes = vec![0; bundle.encoder.width()];
    let mut written = Vec::new();
    given.each_row(bundle.schema.columns.len(), Some, |row| {
        // It was scored, so it can be encoded.
        let encoded = bundle.encoder.encode(row, &mut codes);
        written.push(encoded.map_or_else(|_| String::new(), |()| text_of_codes(&codes)));
    });
    written
}

fn text_of_codes(codes: &[u32]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(8 * codes.len());
    codes.iter().for_each(|code| write!(text, "{code:08x}").expect("strings take what is written"));
    text
}

/// Codes of a line's text; `None` when it is damaged.
pub(super) fn codes_of_text(text: &str) -> Option<Vec<u32>> {
    let digits = text.as_bytes().chunks(8);
    digits.map(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).collect()
}
