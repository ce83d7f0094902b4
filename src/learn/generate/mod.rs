//! A seed → an ad click log whose true click probabilities are known.
//!
//! ```text
//! seed ─▶ world (who exists, what they like) ─▶ impressions in time order ─▶ true pCTR ─▶ click ─▶ one line of text
//! ```
//!
//! With the truth beside the rows, a report can say how far each model is from the best possible log loss instead of only
//! which one is ahead. The rows depend on the shape and the seed alone: a longer run starts with the very rows of a
//! shorter one, and because all arithmetic is our own (see `arithmetic`) the bytes are the same on every machine.
//! Memory does not grow with the number of rows.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result, nearest};

mod arithmetic;
mod criteo;
mod demo;
mod draw;
mod text;
mod truth;

#[cfg(test)]
mod tests;

use text::Text;
use truth::{Outcome, Tally};

/// Columns of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// An auction log as `data/schemas/demo.toml` describes it: comma-separated, with a header, CTR about 3 %.
    Demo,
    /// The same rows, with the price of each impression behind them, as `data/schemas/demo.prices.toml` describes it.
    DemoPriced,
    /// The 40 columns of the Criteo display advertising logs: tab-separated, no header, CTR about 25 %.
    Criteo,
}

impl Shape {
    /// Every shape, as the command line names it.
    pub const NAMES: [&'static str; 3] = ["demo", "demo-priced", "criteo"];
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "demo" => Ok(Shape::Demo),
            "demo-priced" => Ok(Shape::DemoPriced),
            "criteo" => Ok(Shape::Criteo),
            _ => Err(Error::config(
                "generate",
                "shape",
                format!("expected demo, demo-priced or criteo, got {word:?}{}", nearest(word, Shape::NAMES)),
            )),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Shape::Demo => "demo",
            Shape::DemoPriced => "demo-priced",
            Shape::Criteo => "criteo",
        })
    }
}

/// What was written, and the best that any model can do on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Rows written, without the header.
    pub rows: u64,
    /// Rows with a click.
    pub clicks: u64,
    /// Mean of the true click probabilities.
    pub mean_pctr: f64,
    /// Mean log loss of the true probabilities on the clicks as drawn, nats a row.
    pub oracle_log_loss: f64,
    /// Mean entropy of the true probabilities, nats a row: what `oracle_log_loss` is in expectation.
    pub entropy: f64,
}

/// Writes `rows` rows of `shape` to `out`, and to `truth` a header `p` and one true click probability a row.
///
/// A probability has nine decimals, and the click was drawn with exactly that number. Both writers get large pieces, so
/// they need no buffer of their own. `on_progress` gets the number of rows written so far, about 4,000 rows apart.
///
/// # Errors
/// [`Error::Io`] with the path `rows` or `truth` when a writer fails; [`Error::Interrupted`] when `on_progress` breaks.
pub fn generate(
    shape: Shape,
    rows: u64,
    seed: u64,
    out: &mut dyn Write,
    mut truth: Option<&mut dyn Write>,
    on_progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Summary> {
    let mut source = Source::new(shape, seed);
    let mut block = Block::default();
    let mut truth_text = Text::default();
    let mut tally = Tally::default();
    source.header(&mut block.text);
    truth_text.bytes(b"p\n");
    loop {
        let wanted = (rows - tally.rows()).min(BLOCK_ROWS) as usize;
        source.fill(wanted, &mut block);
        for outcome in &block.outcomes {
            tally.add(outcome);
        }
        out.write_all(block.text.as_bytes()).map_err(write_error("rows"))?;
        if let Some(truth) = truth.as_deref_mut() {
            for outcome in &block.outcomes {
                truth_text.fraction(outcome.billionths);
                truth_text.byte(b'\n');
            }
            truth.write_all(truth_text.as_bytes()).map_err(write_error("truth"))?;
            truth_text.clear();
        }
        block.clear();
        if on_progress(tally.rows()).is_break() {
            return Err(Error::Interrupted);
        }
        if tally.rows() == rows {
            break;
        }
    }
    out.flush().map_err(write_error("rows"))?;
    if let Some(truth) = truth {
        truth.flush().map_err(write_error("truth"))?;
    }
    Ok(tally.summary())
}

/// Rows between two writes.
const BLOCK_ROWS: u64 = 4096;

/// A generator of one shape.
enum Source {
    Demo(Box<demo::Demo>),
    Criteo(Box<criteo::Criteo>),
}

impl Source {
    fn new(shape: Shape, seed: u64) -> Self {
        match shape {
            Shape::Demo => Source::Demo(Box::new(demo::Demo::new(seed, false))),
            Shape::DemoPriced => Source::Demo(Box::new(demo::Demo::new(seed, true))),
            Shape::Criteo => Source::Criteo(Box::new(criteo::Criteo::new(seed))),
        }
    }

    fn header(&self, text: &mut Text) {
        match self {
            Source::Demo(demo) => demo.header(text),
            Source::Criteo(_) => (),
        }
    }

    /// Appends the next `rows` rows.
    fn fill(&mut self, rows: usize, block: &mut Block) {
        match self {
            Source::Demo(demo) => demo.fill(rows, block),
            Source::Criteo(criteo) => criteo.fill(rows, block),
        }
    }
}

/// Rows that wait to be written: their lines and their truth.
#[derive(Default)]
struct Block {
    text: Text,
    outcomes: Vec<Outcome>,
}

impl Block {
    fn clear(&mut self) {
        self.text.clear();
        self.outcomes.clear();
    }
}

/// The writers came from the caller, so their role stands in place of their path.
fn write_error(role: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { path: PathBuf::from(role), action: "write", source }
}
