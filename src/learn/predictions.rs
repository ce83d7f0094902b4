//! A comma-separated file of labels and probabilities → what the metrics take: how programs that know nothing of our bundles
//! are judged by the same judge.

use std::path::Path;

use crate::error::{Error, Result};

/// First line of the file.
const HEADER: &str = "label,p";

/// What happened and what was predicted, one of each for each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labeled {
    /// 1 for a click, 0 for none.
    pub labels: Vec<u8>,
    /// Probabilities of a click, in \[0,1\].
    pub probabilities: Vec<f64>,
}

impl Labeled {
    /// Reads a file with the header `label,p` and one row a line.
    ///
    /// # Errors
    /// Io when it cannot be read; Data when the header is another or there is no row; Row when a value is out of bounds:
    /// one bad row is fatal, because a judge that leaves rows out judges something else.
    pub fn read(path: &Path) -> Result<Labeled> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let file = path.display().to_string();
        let mut lines = text.lines().zip(1_u64..);
        match lines.next() {
            Some((HEADER, _)) => {}
            Some((other, _)) => return Err(Error::data(file, format!("expected the header {HEADER}, got {other:?}"))),
            None => return Err(Error::data(file, format!("expected the header {HEADER}, got an empty file"))),
        }
        let mut all = Labeled::default();
        for (text, line) in lines {
            let wrong = |field: &str, expected: &str| Error::Row {
                file: file.clone(),
                line,
                field: field.into(),
                expected: expected.into(),
                got: format!("{text:?}"),
            };
            let (label, probability) = text.split_once(',').ok_or_else(|| wrong("row", "two cells"))?;
            all.labels.push(match label {
                "0" => 0,
                "1" => 1,
                _ => return Err(wrong("label", "0 or 1")),
            });
            let probability = probability.parse().ok().filter(|p| (0.0..=1.0).contains(p));
            all.probabilities.push(probability.ok_or_else(|| wrong("p", "a number from 0 to 1"))?);
        }
        match all.labels.is_empty() {
            true => Err(Error::data(file, "expected rows, got the header alone")),
            false => Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Labeled> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Labeled::read(file.path())
    }

    #[test]
    fn labels_and_probabilities_keep_their_order() {
        let all = read("label,p\n1,0.25\n0,1e-3\n0,1\n").unwrap();
        assert_eq!(all, Labeled { labels: vec![1, 0, 0], probabilities: vec![0.25, 0.001, 1.0] });
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        for (text, says) in [
            ("", "an empty file"),
            ("p,label\n", "expected the header label,p"),
            ("label,p\n", "the header alone"),
            ("label,p\n1,0.5\n1\n", ":3: row: expected two cells"),
            ("label,p\n2,0.5\n", ":2: label: expected 0 or 1"),
            ("label,p\n1,1.5\n", ":2: p: expected a number from 0 to 1"),
            ("label,p\n1,NaN\n", ":2: p: expected a number from 0 to 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
