//! Codes → names that people can read. A hash cannot be undone, but a missing value and the bin of a number can be found again.

use super::encoder::{Encoder, FeatureEncoder, Kind};
use super::hash::{EMPTY_CODE, bin_code, missing_code};

/// Bins of `log_square` that are looked through: numbers from −1,000 to far above 10^40.
const LOG_SQUARE_BINS: [std::ops::RangeInclusive<i64>; 2] = [-1_000..=2, 1_000..=12_000];

impl Encoder {
    /// What a code of the feature at `position` (in the order of [`Encoder::features`]) stands for: `missing`, the range of a
    /// number, such as `2 < x ≤ 7`, or the code of a value as eight hexadecimal digits behind a `#`.
    ///
    /// # Panics
    /// When there is no such feature.
    pub fn value_name(&self, position: usize, code: u32) -> String {
        self.encoders()[position].value_name(code)
    }
}

impl FeatureEncoder {
    fn value_name(&self, code: u32) -> String {
        if code == EMPTY_CODE || code == missing_code(self.salt) {
            return "missing".to_owned();
        }
        let is = |bin: &i64| bin_code(self.salt, *bin) == code;
        let found = match &self.kind {
            Kind::Quantile(edges) => (0..=edges.len() as i64).find(is).map(|bin| {
                let (below, above) = (edges.get((bin - 1) as usize), edges.get(bin as usize));
                match (below.filter(|_| bin > 0), above) {
                    (None, None) => "any number".to_owned(),
                    (None, Some(above)) => format!("x ≤ {}", plain(*above)),
                    (Some(below), None) => format!("x > {}", plain(*below)),
                    (Some(below), Some(above)) => format!("{} < x ≤ {}", plain(*below), plain(*above)),
                }
            }),
            Kind::LogSquare => LOG_SQUARE_BINS.into_iter().flatten().find(is).map(|bin| match bin {
                ..=2 => bin.to_string(),
                _ => {
                    let edge = |bin: i64| ((bin - 1_000) as f64).sqrt().exp().max(2.0);
                    format!("{} ≤ x < {}", plain(edge(bin)), plain(edge(bin + 1)))
                }
            }),
            Kind::Categorical | Kind::Characters(..) | Kind::Bag { .. } => None,
        };
        found.unwrap_or_else(|| format!("#{code:08x}"))
    }
}

/// At most four digits of a number.
fn plain(number: f64) -> String {
    let digits = (3.0 - number.abs().max(1e-9).log10().floor()).clamp(0.0, 9.0);
    let factor = 10_f64.powf(digits);
    format!("{}", (number * factor).round() / factor)
}

#[cfg(test)]
mod tests {
    use crate::model::features::EncoderBuilder;
    use crate::model::row::Cell;
    use crate::model::schema::Schema;

    #[test]
    fn numbers_and_missing_values_are_found_again() {
        let text = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\na = { kind = \"categorical\" }\n\
                    q = { kind = \"numeric\", bins = { quantile = 4 } }\nl = { kind = \"numeric\", bins = \"log_square\" }\n";
        let schema = Schema::parse(text, "t").unwrap();
        let mut builder = EncoderBuilder::new(&schema);
        for number in 0..1000 {
            builder.observe(&[Cell::Missing, Cell::Missing, Cell::Number(f64::from(number)), Cell::Missing]);
        }
        let encoder = builder.finish();
        let names = |a: Cell<'_>, q: Cell<'_>, l: Cell<'_>| {
            let mut codes = [0; 3];
            encoder.encode(&[Cell::Missing, a, q, l], &mut codes).unwrap();
            [0, 1, 2].map(|position| encoder.value_name(position, codes[position]))
        };
        assert_eq!(names(Cell::Missing, Cell::Missing, Cell::Missing), ["missing"; 3]);
        let [value, low, square] = names(Cell::Text(b"x"), Cell::Number(3.0), Cell::Number(100.0));
        assert!(value.starts_with('#') && value.len() == 9, "{value}");
        assert!(low.starts_with("x ≤ 24") || low.starts_with("x ≤ 25"), "{low}");
        let (from, to) = square.split_once(" ≤ x < ").unwrap();
        assert!(from.parse::<f64>().unwrap() <= 100.0 && 100.0 < to.parse::<f64>().unwrap(), "{square}");
        let [_, high, plain] = names(Cell::Missing, Cell::Number(5000.0), Cell::Number(-3.0));
        assert!(high.starts_with("x > 74") || high.starts_with("x > 75"), "{high}");
        assert_eq!(plain, "-3");
    }
}
