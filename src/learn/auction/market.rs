//! A priced log and predictions → the rows that can be replayed, in time order, cut into blocks.

use std::str::FromStr;

use super::log::{Logged, PricedLog};
use super::replay::Market;
use super::report::RowCounts;
use crate::error::{Error, Result, nearest};
use crate::metrics::bootstrap::MOST_BLOCKS;
use crate::model::schema::Schema;

/// Rows of a block where a log has neither time nor group.
const BLOCK_ROWS: usize = 100;
/// Fewer blocks than this make intervals too short to trust.
pub const ENOUGH_BLOCKS: usize = 30;

/// Which rows are resampled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockBy {
    /// By hour when the log covers at least [`ENOUGH_BLOCKS`] of them, else by group, else 100 rows.
    #[default]
    Auto,
    /// Rows of one hour.
    Hour,
    /// Rows of one group of the schema, such as a request or a user.
    Group,
    /// This many consecutive rows.
    Rows(usize),
}

impl FromStr for BlockBy {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match (word, word.parse()) {
            ("auto", _) => Ok(BlockBy::Auto),
            ("hour", _) => Ok(BlockBy::Hour),
            ("group", _) => Ok(BlockBy::Group),
            (_, Ok(rows)) if rows > 0 => Ok(BlockBy::Rows(rows)),
            _ => {
                let hint = nearest(word, ["auto", "hour", "group"]);
                let message = format!("expected auto, hour, group or a number of rows, got {word:?}{hint}");
                Err(Error::config("auction", "blocks", message))
            }
        }
    }
}

impl BlockBy {
    /// Refuses blocks that a log of `schema` cannot have.
    ///
    /// # Errors
    /// Config.
    pub fn check(self, schema: &Schema) -> Result<()> {
        let lacks = match self {
            BlockBy::Hour if schema.time.is_none() => "time",
            BlockBy::Group if schema.group.is_none() => "group",
            _ => return Ok(()),
        };
        let message = format!("schema {} has no field of kind \"{lacks}\"", schema.name);
        Err(Error::config("auction", "blocks", message))
    }
}

/// Rows of the log that can be replayed.
pub(super) struct Selected {
    pub(super) market: Market,
    /// Their positions in the log, in the order of the market.
    pub(super) rows: Vec<usize>,
    pub(super) counts: RowCounts,
    /// What a block is, in words.
    pub(super) blocks_are: String,
}

/// Takes the rows with a price, an outcome (or the truth) and a probability of every model.
///
/// # Errors
/// Data, saying why, when no row is left.
pub(super) fn select(
    log: &PricedLog,
    schema: &Schema,
    probabilities: &[Vec<f64>],
    truth: Option<&[f64]>,
    block_by: BlockBy,
    place: &str,
) -> Result<Selected> {
    let mut counts = RowCounts { rows: log.rows() as u64, ..RowCounts::default() };
    let mut rows = Vec::new();
    for row in 0..log.rows() {
        let predicted = probabilities.iter().map(Vec::as_slice).chain(truth).all(|column| !column[row].is_nan());
        let count = match log.logged[row] {
            Logged::Bad => &mut counts.bad,
            Logged::Lost if truth.is_none() => &mut counts.lost,
            _ if log.price[row].is_nan() => &mut counts.no_price,
            _ if !predicted => &mut counts.not_predicted,
            _ => {
                rows.push(row);
                &mut counts.replayed
            }
        };
        *count += 1;
    }
    if rows.is_empty() {
        let message = format!(
            "no row can be replayed: of {} rows {} are bad, {} were lost, {} have no price and {} no probability of every \
             model",
            counts.rows, counts.bad, counts.lost, counts.no_price, counts.not_predicted
        );
        return Err(Error::data(place, message));
    }
    // A stable sort: rows of one second stay as they stand in the log.
    rows.sort_by_key(|row| log.time[*row]);
    let (block, blocks_are) = blocks(log, schema, &rows, block_by);
    let click = |row: usize| f64::from(u8::from(log.logged[row] == Logged::Click));
    let clicked = |row: usize| match log.logged[row] {
        Logged::Click => Some(true),
        Logged::NoClick => Some(false),
        Logged::Lost | Logged::Bad => None,
    };
    let market = Market {
        price: rows.iter().map(|row| log.price[*row]).collect(),
        clicks: rows.iter().map(|row| truth.map_or_else(|| click(*row), |truth| truth[*row])).collect(),
        clicked: rows.iter().map(|row| clicked(*row)).collect(),
        blocks: block.iter().max().map_or(0, |last| *last as usize + 1),
        block,
    };
    counts.logged_clicks = market.clicks.iter().sum();
    counts.logged_cost = market.price.iter().sum();
    Ok(Selected { market, rows, counts, blocks_are })
}

/// A block number for each of `rows`, from 0 in the order of first rows, at most [`MOST_BLOCKS`] of them; and their name.
fn blocks(log: &PricedLog, schema: &Schema, rows: &[usize], block_by: BlockBy) -> (Vec<u32>, String) {
    let hours = || rows.iter().map(|row| log.time[*row].div_euclid(3600) as u64).collect::<Vec<u64>>();
    let groups = || rows.iter().map(|row| log.group[*row]).collect::<Vec<u64>>();
    let runs = |size: usize| (0..rows.len() as u64).map(|position| position / size as u64).collect::<Vec<u64>>();
    let (ids, name) = match block_by {
        BlockBy::Hour => (hours(), "hour".to_owned()),
        BlockBy::Group => (groups(), "group".to_owned()),
        BlockBy::Rows(size) => (runs(size), format!("{size} rows")),
        BlockBy::Auto => {
            let hours = schema.time.map(|_| hours()).unwrap_or_default();
            // Rows are in time order.
            let count = hours.chunk_by(|a, b| a == b).count();
            match schema.group {
                _ if count >= ENOUGH_BLOCKS => (hours, "hour".to_owned()),
                Some(_) => (groups(), "group".to_owned()),
                None => (runs(BLOCK_ROWS), format!("{BLOCK_ROWS} rows")),
            }
        }
    };
    let (block, blocks) = numbered(&ids);
    if blocks <= MOST_BLOCKS {
        return (block, name);
    }
    let together = blocks.div_ceil(MOST_BLOCKS) as u32;
    (block.into_iter().map(|number| number / together).collect(), format!("{name}, {together} neighbors together"))
}

/// Any ids → numbers from 0 in the order in which ids first appear, and how many there are.
fn numbered(ids: &[u64]) -> (Vec<u32>, usize) {
    let mut order: Vec<(u64, u32)> = ids.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut firsts: Vec<u32> = order.chunk_by(|a, b| a.0 == b.0).map(|same| same[0].1).collect();
    firsts.sort_unstable();
    let mut numbers = vec![0; ids.len()];
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let number = firsts.partition_point(|first| *first < same[0].1) as u32;
        same.iter().for_each(|(_, position)| numbers[*position as usize] = number);
    }
    (numbers, firsts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_numbered_by_their_first_row() {
        assert_eq!(numbered(&[9, 9, 3, 9, 7, 3]), (vec![0, 0, 1, 0, 2, 1], 3));
        assert_eq!(numbered(&[]), (vec![], 0));
    }

    #[test]
    fn words_for_blocks() {
        assert_eq!("hour".parse::<BlockBy>().unwrap(), BlockBy::Hour);
        assert_eq!("250".parse::<BlockBy>().unwrap(), BlockBy::Rows(250));
        let error = "houra".parse::<BlockBy>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"hour\"?"), "{error}");
        assert!("0".parse::<BlockBy>().is_err());
    }

    fn log() -> PricedLog {
        PricedLog {
            price: vec![2.0, f64::NAN, 1.0, 3.0, 1.0, 5.0],
            logged: vec![Logged::Click, Logged::NoClick, Logged::Lost, Logged::NoClick, Logged::NoClick, Logged::Bad],
            time: vec![7300, 1, 2, 3, 3, 0],
            group: vec![5, 5, 6, 6, 5, 0],
        }
    }

    #[test]
    fn rows_that_cannot_be_replayed_are_counted_by_reason() {
        let schema = Schema::resolve("demo", |_| unreachable!()).unwrap();
        let probabilities = [vec![0.5; 6], vec![0.5, 0.5, 0.5, 0.5, f64::NAN, 0.5]];
        let logged = select(&log(), &schema, &probabilities, None, BlockBy::Hour, "log").unwrap();
        assert_eq!(logged.rows, [3, 0], "in time order");
        let counts = logged.counts;
        assert_eq!((counts.bad, counts.lost, counts.no_price, counts.not_predicted, counts.replayed), (1, 1, 1, 1, 2));
        assert_eq!((counts.logged_clicks, counts.logged_cost), (1.0, 5.0));
        assert_eq!((logged.market.block, logged.market.blocks), (vec![0, 1], 2));
        // With the truth, a row that was lost can be replayed too.
        let truth = vec![0.25; 6];
        let expected = select(&log(), &schema, &probabilities, Some(&truth), BlockBy::Group, "log").unwrap();
        assert_eq!(expected.rows, [2, 3, 0]);
        assert_eq!(expected.market.clicks, [0.25; 3]);
        assert_eq!(expected.market.clicked, [None, Some(false), Some(true)]);
        assert_eq!(expected.market.block, [0, 0, 1]);
        let nothing = [vec![f64::NAN; 6]];
        let error = select(&log(), &schema, &nothing, None, BlockBy::Auto, "log").err().unwrap().to_string();
        assert!(error.contains("no row can be replayed") && error.contains("1 were lost"), "{error}");
    }
}
