//! Logs → some of their rows, for what is learned before any row is encoded, in bounded time and memory.
//!
//! Logs of up to [`SAMPLE_BYTES`] of text give all their rows. Of larger ones, plain text files give short blocks spread evenly over
//! all of them; what cannot be entered in the middle (packed logs, Parquet, standard input) gives its first rows, and so does
//! everything when only the first rows may be looked at. Which rows these are depends on the logs alone.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use memchr::{memchr, memrchr};

use super::blocks::{BLOCK, Block};
use super::open::{Opened, open};
use super::rows::Rows;
use super::stream::{self, Piece};
use super::text::Scratch;
use super::{Head, Input, Reading, TakeRows};
use crate::error::{Error, Result};
use crate::model::Threads;

/// Text that is read in full, or in part when there is more.
pub const SAMPLE_BYTES: u64 = 1 << 25;
/// Blocks that stand for a larger log.
const SPREAD: u64 = 256;
/// Size of each.
const SPREAD_BYTES: u64 = 1 << 16;

/// What was sampled.
#[derive(Debug)]
pub struct Sampled<T> {
    /// Takers of the rows, in the order of the logs.
    pub takers: Vec<T>,
    /// Rows of the logs for each row sampled, at least 1, as far as sizes tell; exactly 1 when all rows were sampled.
    pub scale: f64,
    /// The logs, to be read from their start. A sample of standard input is kept in memory and read again from there.
    pub inputs: Vec<Input>,
}

/// Samples the rows of `inputs`; only the first ones with `first_rows`. Bad rows are not counted, and where a log is damaged the
/// sample ends: whoever reads all rows will tell.
///
/// # Errors
/// Io when a log cannot be opened; Data when its header lacks columns; Interrupted.
pub fn read_sample<T: TakeRows + Send>(
    inputs: &[Input],
    reading: Reading<'_>,
    first_rows: bool,
    threads: Threads<'_>,
    make: &(dyn Fn() -> T + Sync),
) -> Result<Sampled<T>> {
    let mut inputs = inputs.to_vec();
    let mut sampled = inputs.clone();
    for (input, sampled) in inputs.iter_mut().zip(&mut sampled).filter(|(input, _)| input.is_stdin()) {
        let head = read_head()?;
        sampled.head = Head::Only(head.clone());
        input.head = Head::First(head);
    }
    let (takers, scale) = match plain_sizes(&sampled)? {
        Some(sizes) if !first_rows && sizes.iter().sum::<u64>() > SAMPLE_BYTES => {
            spread(&sampled, &sizes, reading, threads, make)?
        }
        _ => first(&sampled, reading, make)?,
    };
    Ok(Sampled { takers, scale, inputs })
}

/// As much of standard input as a sample may need. It is more than that, so that the sample never reaches the cut.
fn read_head() -> Result<Arc<[u8]>> {
    let mut head = Vec::new();
    let most = SAMPLE_BYTES + (SAMPLE_BYTES >> 2);
    std::io::stdin().lock().take(most).read_to_end(&mut head).map_err(Error::io("-".as_ref(), "read"))?;
    Ok(head.into())
}

/// Sizes of the logs, when all of them are files of plain text.
fn plain_sizes(inputs: &[Input]) -> Result<Option<Vec<u64>>> {
    let size = |input: &Input| match open(input)? {
        Opened::Text(source) if source.is_plain() => input.bytes(),
        _ => Ok(None),
    };
    inputs.iter().map(size).collect()
}

/// Rows from the start of the logs on, by one thread.
fn first<T: TakeRows>(inputs: &[Input], reading: Reading<'_>, make: &dyn Fn() -> T) -> Result<(Vec<T>, f64)> {
    let mut taker = make();
    let mut scratch = Scratch::default();
    let mut left = SAMPLE_BYTES;
    let (mut read, mut whole) = (0, true);
    for input in inputs {
        let (shape, mut stream) = stream::open(input, reading, BLOCK)?;
        let mut bytes_read = 0;
        let mut space = Vec::new();
        // Damage is told by whoever reads all rows.
        while let Ok(Some(mut piece)) = stream.next(space) {
            reading.interrupt.check()?;
            if left == 0 {
                whole = false;
                break;
            }
            bytes_read = piece.bytes_read();
            left = left.saturating_sub(piece.size());
            let _ = piece.rows(&shape, reading, input.name(), &mut scratch, &mut Rows::new(&mut taker))?;
            space = piece.into_space();
        }
        read += bytes_read;
        if left == 0 && !whole {
            break;
        }
    }
    let stored: Option<u64> =
        inputs.iter().map(Input::bytes).collect::<Result<Option<Vec<u64>>>>()?.map(|all| all.iter().sum());
    let scale = match stored {
        Some(stored) if !whole && read > 0 => (stored as f64 / read as f64).max(1.0),
        _ => 1.0,
    };
    Ok((vec![taker], scale))
}

/// Rows of blocks spread over all logs.
fn spread<T: TakeRows + Send>(
    inputs: &[Input],
    sizes: &[u64],
    reading: Reading<'_>,
    threads: Threads<'_>,
    make: &(dyn Fn() -> T + Sync),
) -> Result<(Vec<T>, f64)> {
    let total: u64 = sizes.iter().sum();
    let mut pieces = Vec::new();
    let mut before = 0;
    for (input, size) in inputs.iter().zip(sizes) {
        // The middles of even stretches of all logs that lie in this one.
        let middle = |block: u64| ((2 * block + 1) as u128 * u128::from(total) / (2 * SPREAD) as u128) as u64;
        let here: Vec<u64> = (0..SPREAD).map(middle).filter(|at| (before..before + size).contains(at)).collect();
        if !here.is_empty() {
            let (shape, _) = stream::open(input, reading, BLOCK)?;
            let file = Arc::new(File::open(input.path()).map_err(Error::io(input.path(), "open"))?);
            let shape = Arc::new(shape);
            pieces.extend(here.iter().map(|at| (input, at - before, shape.clone(), file.clone())));
        }
        before += size;
    }
    let takers = threads.map(pieces, |(input, at, shape, file)| {
        reading.interrupt.check()?;
        let mut bytes = vec![0; SPREAD_BYTES as usize];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], at + length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(input.path(), "read")(error)),
            }
        }
        // Whole lines only. In a log with line ends inside of quotes some are no records: these have the wrong columns.
        let start = memchr(b'\n', &bytes[..length]).map_or(length, |newline| newline + 1);
        let end = memrchr(b'\n', &bytes[..length]).map_or(start, |newline| (newline + 1).max(start));
        let mut piece = Piece::Text(Block::of(bytes[start..end].to_vec(), reading.schema.text.delimiter));
        let mut taker = make();
        let _ = piece.rows(&shape, reading, input.name(), &mut Scratch::default(), &mut Rows::new(&mut taker))?;
        Ok((taker, (end - start) as u64))
    });
    let takers: Vec<(T, u64)> = takers.into_iter().collect::<Result<_>>()?;
    let parsed: u64 = takers.iter().map(|(_, bytes)| bytes).sum();
    Ok((takers.into_iter().map(|(taker, _)| taker).collect(), total as f64 / parsed.max(1) as f64))
}
