//! A log with prices → columns: what a bid had to reach, and what came of it.
//!
//! Positions are those of the log, bad rows included, because line n of a prediction file belongs to row n of the log.

use std::ops::ControlFlow;

use super::prices::PriceSchema;
use crate::error::{Error, Result};
use crate::learn::Interrupt;
use crate::learn::source::{BadRows, Found, Input, Progress, Reading, Refusal, read_rows};
use crate::model::row::{Cell, CellError, number, targets};
use crate::model::schema::Schema;

/// What the log knows about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// Nothing that can be used.
    Bad,
    /// The logging bidder lost: nobody knows whether there would have been a click.
    Lost,
    /// Shown, not clicked.
    NoClick,
    /// Shown and clicked.
    Click,
}

/// A log, column by column; all of one length. Memory: 25 bytes a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PricedLog {
    /// What a bid must reach, in currency for one impression; NaN where it is not known.
    pub price: Vec<f64>,
    /// What happened.
    pub logged: Vec<Logged>,
    /// Seconds since 1970; 0 in a log without time.
    pub time: Vec<i64>,
    /// Hash of the group; 0 in a log without groups.
    pub group: Vec<u64>,
}

impl PricedLog {
    /// Reads a log of `schema` with `prices`. Bad rows are counted in `bad` and keep their position; one that is bad only for
    /// its price (no number of at least 0) still counts as usable when predictions are matched by number.
    ///
    /// # Errors
    /// Config when the log cannot hold such columns; those of [`read_rows`], among them Data when a price column is missing
    /// from the header, before any row is read.
    pub fn read(
        input: &Input,
        schema: &Schema,
        prices: &PriceSchema,
        bad: &mut BadRows,
        progress: &mut dyn FnMut(Progress),
        interrupt: &Interrupt,
    ) -> Result<PricedLog> {
        let (schema, columns) = prices.reading(schema)?;
        let mut log = PricedLog::default();
        let mut visit = |found: Found<'_>| -> Result<ControlFlow<()>, Refusal> {
            log.push_bad();
            let Found::Row { cells, .. } = found else { return Ok(ControlFlow::Continue(())) };
            let won = match columns.won.map(|column| (column, number(cells[column]))) {
                None | Some((_, Some(1.0))) => true,
                Some((_, Some(0.0))) => false,
                Some((column, _)) => {
                    return Err(CellError::new(&schema.columns[column], "won 0 or 1", cells[column]).into());
                }
            };
            let targets = match won {
                true => targets(&schema, cells)?,
                // A lost row has no click to tell of, and its label may be empty.
                false => {
                    let mut cells = cells.to_vec();
                    cells[schema.label] = Cell::Text(b"0");
                    targets(&schema, &cells)?
                }
            };
            let logged = match (won, targets.label) {
                (false, _) => Logged::Lost,
                (true, 0) => Logged::NoClick,
                (true, _) => Logged::Click,
            };
            log.fill_last(f64::NAN, logged, targets.time, targets.group);
            let price_in = |column: Option<usize>| match column.map(|column| (column, cells[column])) {
                None | Some((_, Cell::Missing)) => Ok(None),
                Some((column, cell)) => match number(cell) {
                    Some(price) if price >= 0.0 => Ok(Some(prices.unit.for_one(price))),
                    _ => Err(CellError::new(&schema.columns[column], "a finite price of at least 0", cell)),
                },
            };
            let (market_price, floor) = (price_in(columns.market_price)?, price_in(columns.floor)?);
            let price = match (columns.market_price.is_some(), market_price, floor) {
                (true, Some(price), floor) => price.max(floor.unwrap_or(0.0)),
                (true, None, _) => f64::NAN,
                (false, _, floor) => floor.unwrap_or(f64::NAN),
            };
            log.fill_last(price, logged, targets.time, targets.group);
            Ok(ControlFlow::Continue(()))
        };
        let reading = Reading { schema: &schema, targets: true, interrupt };
        read_rows(input, reading, bad, progress, &mut visit)?;
        bad.finish(input.name())?;
        if log.price.iter().all(|price| price.is_nan()) {
            let column = prices.market_price.as_deref().or(prices.floor.as_deref()).unwrap_or_default();
            let message = format!("expected rows with a price in {column:?}, got none");
            return Err(Error::data(input.name(), message));
        }
        Ok(log)
    }

    /// Looks whether a log has the columns of its prices; reads its beginning only.
    ///
    /// # Errors
    /// Config when the log cannot hold such columns; io when it cannot be read; data when a column is missing.
    pub fn check(input: &Input, schema: &Schema, prices: &PriceSchema) -> Result<()> {
        let (schema, _) = prices.reading(schema)?;
        let reading = Reading { schema: &schema, targets: true, interrupt: &Interrupt::default() };
        let mut first = |_: Found<'_>| Ok(ControlFlow::Break(()));
        read_rows(input, reading, &mut BadRows::new(1.0)?, &mut |_| (), &mut first).map(|_| ())
    }

    /// Number of rows, bad ones included.
    pub fn rows(&self) -> usize {
        self.price.len()
    }

    /// Every row begins as a bad one, so that none is ever skipped.
    fn push_bad(&mut self) {
        self.price.push(f64::NAN);
        self.logged.push(Logged::Bad);
        self.time.push(0);
        self.group.push(0);
    }

    fn fill_last(&mut self, price: f64, logged: Logged, time: i64, group: u64) {
        let last = self.price.len() - 1;
        self.price[last] = price;
        self.logged[last] = logged;
        self.time[last] = time;
        self.group[last] = group;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "version = 1\nname = \"x\"\n[fields]\ny = { kind = \"label\" }\nt = { kind = \"time\" }\n\
                          a = { kind = \"categorical\" }\n";
    const PRICES: &str = "version = 1\nname = \"x\"\ncurrency = \"EUR\"\nunit = \"cpm\"\nmarket_price = \"m\"\n\
                          floor = \"f\"\nwon = \"w\"\n";

    fn read(text: &str) -> Result<PricedLog> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        std::fs::write(&path, text).unwrap();
        let schema = Schema::parse(SCHEMA, "x.toml").unwrap();
        let prices = PriceSchema::parse(PRICES, &[], "p.toml").unwrap();
        let mut bad = BadRows::new(0.5).unwrap();
        PricedLog::read(&Input::new(path), &schema, &prices, &mut bad, &mut |_| (), &Interrupt::default())
    }

    #[test]
    fn rows_keep_their_place_whatever_they_hold() {
        let log = read(
            "y,t,a,m,f,w\n1,10,x,2000,500,1\n0,11,x,300,500,1\n,12,x,,500,0\n1,13,x,-1,0,1\n0,14,x,1,0,7\n0,15,x,4,,1\n",
        );
        let log = log.unwrap();
        assert_eq!(log.price[..2], [2.0, 0.5], "the floor must be reached too");
        assert!(log.price[2].is_nan() && log.price[3].is_nan() && log.price[4].is_nan());
        assert_eq!(log.price[5], 0.004);
        use Logged::{Bad, Click, Lost, NoClick};
        assert_eq!(log.logged, [Click, NoClick, Lost, Click, Bad, NoClick]);
        assert_eq!(log.time, [10, 11, 12, 13, 0, 15]);
    }

    #[test]
    fn a_log_without_prices_is_refused() {
        let missing = read("y,t,a,f,w\n1,10,x,500,1\n").unwrap_err().to_string();
        assert!(missing.contains("lacks the column \"m\""), "{missing}");
        let empty = read("y,t,a,m,f,w\n1,10,x,,500,1\n").unwrap_err().to_string();
        assert!(empty.contains("expected rows with a price in \"m\", got none"), "{empty}");
    }
}
