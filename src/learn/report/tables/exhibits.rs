//! A sheet of an exhibit → a table.

use super::{minus, thousands};
use crate::learn::report::content::Table;
use crate::learn::report::exhibit::{Entry, Sheet};

/// Numbers as text, with four digits that matter.
pub(in crate::learn::report) fn sheet(sheet: &Sheet) -> Table {
    let cell = |entry: &Entry| match entry {
        Entry::None => "–".into(),
        Entry::Number(number) => number_text(*number),
        Entry::Text(text) => text.clone(),
        Entry::Interval { value, low, high } => {
            format!("{} [{}, {}]", number_text(*value), number_text(*low), number_text(*high))
        }
    };
    Table {
        caption: sheet.caption.clone(),
        columns: sheet.columns.iter().map(|column| (column.name.clone(), column.meaning.clone())).collect(),
        rows: sheet.rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
        marked: None,
    }
}

fn number_text(number: f64) -> String {
    let text = match number.abs() {
        0.0 => return "0".into(),
        size if !(1e-6..1e15).contains(&size) => format!("{number:.2e}"),
        size if number.fract() == 0.0 || size >= 10_000.0 => {
            let sign = if number < 0.0 { "-" } else { "" };
            format!("{sign}{}", thousands(size.round() as u64))
        }
        size => {
            let digits = (3 - size.log10().floor() as i32).clamp(0, 9) as usize;
            format!("{number:.digits$}")
        }
    };
    minus(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_that_matter() {
        let texts = [0.0, 12.0, -1_234_567.0, 0.123_456, 0.000_123_46, -2.5, 1e-9, 98_765.4].map(number_text);
        assert_eq!(texts, ["0", "12", "−1,234,567", "0.1235", "0.0001235", "−2.500", "1.00e−9", "98,765"]);
    }
}
