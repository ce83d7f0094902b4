//! Codes of frequent values → their names, as the logs write them.
//!
//! Prepared rows do not keep names. The first rows of the logs hold almost all frequent values, so reading stops when every code
//! has its name, at the latest after [`ROWS`] rows of a log; a code that was not found is called by its number.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use crate::error::Result;
use crate::learn::Interrupt;
use crate::learn::dataset::Dataset;
use crate::learn::source::{BadRows, Found, Input, Reading, Refusal, read_rows};
use crate::model::row::{Cell, number};
use crate::model::schema::{Feature, FeatureKind};

/// Rows of a log that are looked through.
const ROWS: u64 = 200_000;
/// Longest name, in characters.
const LONGEST: usize = 40;

/// One wanted feature: its place in the schema, that of its first code, and its codes.
pub(crate) struct Wanted {
    pub(crate) feature: usize,
    pub(crate) place: usize,
    pub(crate) codes: Vec<u32>,
}

/// What a code was seen to stand for.
enum Seen {
    Value(String),
    /// The least and the greatest number of a bin.
    Numbers(f64, f64),
}

/// A code's name, and the least number of its bin where it is one.
pub(crate) type Name = (String, Option<f64>);

/// Names of the wanted codes, in their order, with the least number of a bin where the feature is numeric. Numbers need all
/// rows that are looked through, so that their ends are right.
pub(crate) fn names(wanted: &[Wanted], dataset: &Dataset, interrupt: &Interrupt) -> Result<Vec<Vec<Name>>> {
    let mut seen: Vec<HashMap<u32, Option<Seen>>> =
        wanted.iter().map(|wanted| wanted.codes.iter().map(|code| (*code, None)).collect()).collect();
    let schema = dataset.schema();
    let has_numbers =
        wanted.iter().any(|wanted| matches!(schema.features[wanted.feature].kind, FeatureKind::Numeric { .. }));
    let mut unnamed: usize = wanted.iter().map(|wanted| wanted.codes.len()).sum();
    for input in &dataset.manifest().inputs {
        if unnamed == 0 && !has_numbers || !Path::new(&input.path).is_file() {
            continue;
        }
        let reading = Reading { schema, targets: false, interrupt };
        let mut codes = vec![0; dataset.width()];
        let mut rows = 0;
        let visit = &mut |found: Found<'_>| -> Result<ControlFlow<()>, Refusal> {
            rows += 1;
            if rows > ROWS || unnamed == 0 && !has_numbers {
                return Ok(ControlFlow::Break(()));
            }
            let Found::Row { cells, .. } = found else { return Ok(ControlFlow::Continue(())) };
            dataset.encoder().encode(cells, &mut codes)?;
            for (wanted, seen) in wanted.iter().zip(&mut seen) {
                if let Some(of_code) = seen.get_mut(&codes[wanted.place]) {
                    let feature = &schema.features[wanted.feature];
                    unnamed -= usize::from(of_code.is_none());
                    look(feature, cells[feature.column], of_code);
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        // A log that changed since it was prepared gives fewer names, and no error: names are for people.
        let read = read_rows(&Input::new(&input.path), reading, &mut BadRows::new(1.0)?, &mut |_| {}, visit);
        if let Err(error) = read
            && error.kind() == crate::error::Kind::Interrupted
        {
            return Err(error);
        }
    }
    let name = |code: &u32, seen: &Option<Seen>| match seen {
        Some(Seen::Value(value)) => (value.clone(), None),
        Some(Seen::Numbers(low, high)) if low == high => (short(*low), Some(*low)),
        Some(Seen::Numbers(low, high)) => (format!("{} to {}", short(*low), short(*high)), Some(*low)),
        None => (format!("#{code:08x}"), None),
    };
    let of_feature = |(wanted, seen): (&Wanted, &HashMap<u32, Option<Seen>>)| {
        wanted.codes.iter().map(|code| name(code, &seen[code])).collect()
    };
    Ok(wanted.iter().zip(&seen).map(of_feature).collect())
}

fn look(feature: &Feature, cell: Cell<'_>, seen: &mut Option<Seen>) {
    match (&feature.kind, seen) {
        (FeatureKind::Numeric { .. }, seen) => {
            let Some(value) = number(cell) else { return };
            let (low, high) = match seen {
                Some(Seen::Numbers(low, high)) => (low.min(value), high.max(value)),
                _ => (value, value),
            };
            *seen = Some(Seen::Numbers(low, high));
        }
        (_, Some(_)) => {}
        (FeatureKind::Categorical { characters }, seen) => {
            *seen = Some(Seen::Value(text(cell, characters.clone(), None)))
        }
        (FeatureKind::Bag { separator, .. }, seen) => *seen = Some(Seen::Value(text(cell, None, Some(*separator)))),
    }
}

fn text(cell: Cell<'_>, characters: Option<std::ops::Range<usize>>, separator: Option<u8>) -> String {
    let bytes = match cell {
        Cell::Text(text) => {
            let part = characters.and_then(|range| text.get(range)).unwrap_or(text);
            separator.map_or(part, |separator| {
                part.split(|byte| *byte == separator).find(|value| !value.is_empty()).unwrap_or(part)
            })
        }
        Cell::Values(values) => values.first().copied().unwrap_or_default(),
        Cell::Number(number) => return number.to_string(),
        Cell::Missing => return "missing".into(),
    };
    let text = String::from_utf8_lossy(bytes);
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match plain.chars().count() > LONGEST {
        true => plain.chars().take(LONGEST - 1).chain(['…']).collect(),
        false => plain,
    }
}

/// A number with at most four digits that matter.
fn short(number: f64) -> String {
    let digits = (3 - number.abs().max(1e-9).log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
