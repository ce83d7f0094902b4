//! A split → how many test rows equal a row that was learned from.
//!
//! A test row that is a copy of a training row rewards a model for memory. But equal rows are normal too: two impressions of
//! one ad at one place look the same to a model whose fields are few, and a number is only known by its bin. So two counts are
//! kept. *Same values*: label and codes are equal; says how repetitive the log is, and is never an error by itself. *Copies*:
//! weight, time and group are equal too, where rows have a time or a group; above a share of the test rows
//! ([`super::recipe::LeakageConfig`]) they are an error. A split by time between two different times has no copies by
//! construction; a split by chance and files that stand apart can have them.
//!
//! Rows are compared by 128-bit fingerprints: 16 bytes of a hash table for each test row, one pass over the others.

use std::collections::HashMap;

use super::record::Duplicates;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::dataset::{Piece, View};
use crate::learn::split::Split;
use crate::model::features::hash::Fingerprint;

/// Copies that are borne without being asked for: logs repeat rows, and a second is long on a busy site.
pub const MOST_COPIES: f64 = 0.01;

/// Counts test rows that equal a training or validation row.
///
/// # Errors
/// Interrupted.
pub fn count(split: &Split<'_>, interrupt: &Interrupt) -> Result<Duplicates> {
    let dataset = split.test.dataset();
    let marked = dataset.has_time() || dataset.has_group();
    let mut same_values = Seen::of(&split.test, Key::Values);
    let mut copies = marked.then(|| Seen::of(&split.test, Key::Everything));
    for view in [&split.train, &split.valid] {
        for piece in view.pieces() {
            interrupt.check()?;
            same_values.look_for(&piece);
            if let Some(copies) = &mut copies {
                copies.look_for(&piece);
            }
        }
    }
    Ok(Duplicates { same_values: same_values.found(), copies: copies.map(|copies| copies.found()) })
}

/// Refuses a split whose test rows are copies above `limit` (a share; `None` takes [`MOST_COPIES`]). `place` is named in errors.
///
/// # Errors
/// Config.
pub fn check(duplicates: Duplicates, test_rows: usize, limit: Option<f64>, place: &str) -> Result<()> {
    let (count, allowed, what) = match (duplicates.copies, limit) {
        (Some(copies), limit) => (copies, limit.unwrap_or(MOST_COPIES), "label, values, weight, time and group"),
        (None, Some(limit)) => {
            (duplicates.same_values, limit, "label and values (the schema has neither time nor group)")
        }
        (None, None) => return Ok(()),
    };
    if count as f64 <= allowed * test_rows as f64 {
        return Ok(());
    }
    let message = format!(
        "leakage: {count} of {test_rows} test rows ({:.1} %) are also training or validation rows, with the same {what}; \
         expected at most {:.1} %. Split by time, or remove repeated rows; leakage.max_duplicates sets the limit",
        100.0 * count as f64 / test_rows as f64,
        100.0 * allowed
    );
    Err(Error::config(place, "split", message))
}

/// What of a row is compared.
#[derive(Clone, Copy)]
enum Key {
    Values,
    Everything,
}

/// Test rows by what they hold, and which of them were found elsewhere.
struct Seen {
    key: Key,
    /// Test rows of this kind, and whether another part has one.
    rows: HashMap<Fingerprint, (u64, bool)>,
    bytes: Vec<u8>,
}

impl Seen {
    fn of(test: &View<'_>, key: Key) -> Seen {
        let mut seen = Seen { key, rows: HashMap::with_capacity(test.rows()), bytes: Vec::new() };
        for piece in test.pieces() {
            for row in 0..piece.rows.len() {
                let fingerprint = seen.fingerprint(&piece, row);
                seen.rows.entry(fingerprint).or_insert((0, false)).0 += 1;
            }
        }
        seen
    }

    fn look_for(&mut self, piece: &Piece<'_>) {
        for row in 0..piece.rows.len() {
            let fingerprint = self.fingerprint(piece, row);
            if let Some((_, found)) = self.rows.get_mut(&fingerprint) {
                *found = true;
            }
        }
    }

    fn found(&self) -> u64 {
        self.rows.values().filter(|(_, found)| *found).map(|(rows, _)| *rows).sum()
    }

    fn fingerprint(&mut self, piece: &Piece<'_>, row: usize) -> Fingerprint {
        let width = piece.codes.len() / piece.rows.len().max(1);
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.push(piece.labels[row]);
        bytes.extend_from_slice(bytemuck::cast_slice(&piece.codes[row * width..(row + 1) * width]));
        if let Key::Everything = self.key {
            bytes.extend(piece.weights.iter().flat_map(|weights| weights[row].to_le_bytes()));
            bytes.extend(piece.times.iter().flat_map(|times| times[row].to_le_bytes()));
            bytes.extend(piece.groups.iter().flat_map(|groups| groups[row].to_le_bytes()));
        }
        Fingerprint::of(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::dataset::Dataset;
    use crate::learn::dataset::tests::{SCHEMA, write};

    #[test]
    fn copies_and_rows_of_the_same_kind_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), SCHEMA, 400, |row| row as i64);
        let dataset = Dataset::open(folder.path()).unwrap();
        let part = |range: std::ops::Range<usize>| View::new(&dataset, std::iter::once(range).collect());
        let split = |train, valid, test| Split { train: part(train), valid: part(valid), test: part(test) };
        let apart = count(&split(0..200, 200..300, 300..400), &Interrupt::default()).unwrap();
        assert_eq!(apart.copies, Some(0), "every row has a time of its own");
        let overlapping = split(0..200, 200..310, 280..380);
        let found = count(&overlapping, &Interrupt::default()).unwrap();
        assert_eq!(found.copies, Some(30));
        assert!(found.same_values >= 30 && found.same_values <= 100);

        let error = check(found, 100, None, "recipe.toml").unwrap_err().to_string();
        assert!(error.contains("30 of 100 test rows (30.0 %)") && error.contains("at most 1.0 %"), "{error}");
        assert!(check(found, 100, Some(0.3), "recipe.toml").is_ok());
        let unmarked = Duplicates { same_values: 60, copies: None };
        assert!(check(unmarked, 100, None, "r").is_ok(), "equal rows may be other impressions");
        let error = check(unmarked, 100, Some(0.5), "r").unwrap_err().to_string();
        assert!(error.contains("neither time nor group"), "{error}");
    }
}
