//! One request's cells as the scorer took them → the same cells, owned, to be scored again later.
//!
//! The scorer borrows its cells from a request that is gone with its answer. Models that are about to take over are warmed and
//! compared with real requests, and the request log keeps some of them; both keep a [`Given`]. It is three plain lists that are
//! filled again and again, so that keeping one costs a copy and no allocation once they have grown.

use crate::model::row::Cell;

/// The cells of a request: a context and its candidates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Bytes of all values, one after another.
    bytes: Vec<u8>,
    /// Cells of the context, then of each candidate.
    cells: Vec<GivenCell>,
    /// Where the cells of the context and of each candidate end.
    ends: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GivenCell {
    column: u32,
    /// Where its bytes begin; they end where those of the next cell begin.
    start: u32,
    kind: CellKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellKind {
    Missing,
    Text,
    /// Its bytes are those of an f64.
    Number,
    /// Its bytes are values, each behind its length (u32).
    Values,
}

/// A cell of a [`Given`]. Unlike [`Cell`] it needs no list of borrowed values to exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kept<'a> {
    /// Nothing stands there.
    Missing,
    /// Text as it came.
    Text(&'a [u8]),
    /// A number from a typed source.
    Number(f64),
    /// Values of a bag from a typed source.
    Values(KeptValues<'a>),
}

/// Values of a bag, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeptValues<'a>(&'a [u8]);

impl<'a> Iterator for KeptValues<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        self.0 = rest;
        Some(value)
    }
}

impl Given {
    /// Keeps a request: pairs of a position in the schema's columns and a cell, as [`score`](crate::predict::scorer::score)
    /// takes them, and of the candidates the first `most`. What was kept before is forgotten.
    pub fn fill<'c, Candidate>(
        &mut self,
        context: impl Iterator<Item = (usize, Cell<'c>)>,
        candidates: impl Iterator<Item = Candidate>,
        most: usize,
    ) where
        Candidate: Iterator<Item = (usize, Cell<'c>)>,
    {
        self.bytes.clear();
        self.cells.clear();
        self.ends.clear();
        context.for_each(|(column, cell)| self.push(column, cell));
        self.ends.push(self.cells.len() as u32);
        for candidate in candidates.take(most) {
            candidate.for_each(|(column, cell)| self.push(column, cell));
            self.ends.push(self.cells.len() as u32);
        }
    }

    /// Keeps what `other` keeps, in the memory there is.
    pub fn copy_from(&mut self, other: &Given) {
        self.bytes.clone_from(&other.bytes);
        self.cells.clone_from(&other.cells);
        self.ends.clone_from(&other.ends);
    }

    /// Number of candidates.
    pub fn candidates(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// Bytes that it keeps.
    pub fn footprint(&self) -> usize {
        self.bytes.len() + size_of::<GivenCell>() * self.cells.len() + 4 * self.ends.len()
    }

    /// Cells of the context.
    pub fn context(&self) -> impl Iterator<Item = (usize, Kept<'_>)> {
        self.part(0)
    }

    /// A candidate's own cells.
    pub fn candidate(&self, candidate: usize) -> impl Iterator<Item = (usize, Kept<'_>)> {
        self.part(candidate + 1)
    }

    /// Calls `visit` with the row of each candidate: the context's cells with the candidate's own over them, as scoring puts them.
    /// A row has `width` columns, and `place` says which of them a kept column is now, if any.
    pub fn each_row(&self, width: usize, place: impl Fn(usize) -> Option<usize>, mut visit: impl FnMut(&[Cell<'_>])) {
        for candidate in 0..self.candidates() {
            let cells =
                || self.part(0).chain(self.candidate(candidate)).filter_map(|(at, kept)| Some((place(at)?, kept)));
            let lists: Vec<Vec<&[u8]>> = cells()
                .filter_map(|(_, kept)| match kept {
                    Kept::Values(values) => Some(values.collect()),
                    Kept::Missing | Kept::Text(_) | Kept::Number(_) => None,
                })
                .collect();
            let mut lists = lists.iter();
            let mut row = vec![Cell::Missing; width];
            for (column, kept) in cells() {
                row[column] = match kept {
                    Kept::Missing => Cell::Missing,
                    Kept::Text(text) => Cell::Text(text),
                    Kept::Number(number) => Cell::Number(number),
                    Kept::Values(_) => Cell::Values(lists.next().expect("every list was collected")),
                };
            }
            visit(&row);
        }
    }

    fn part(&self, part: usize) -> impl Iterator<Item = (usize, Kept<'_>)> {
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        (start..self.ends[part] as usize).map(|cell| (self.cells[cell].column as usize, self.kept(cell)))
    }

    fn kept(&self, cell: usize) -> Kept<'_> {
        let GivenCell { start, kind, .. } = self.cells[cell];
        let end = self.cells.get(cell + 1).map_or(self.bytes.len(), |next| next.start as usize);
        let bytes = &self.bytes[start as usize..end];
        match kind {
            CellKind::Missing => Kept::Missing,
            CellKind::Text => Kept::Text(bytes),
            CellKind::Number => Kept::Number(f64::from_le_bytes(bytes.try_into().expect("eight bytes were kept"))),
            CellKind::Values => Kept::Values(KeptValues(bytes)),
        }
    }

    fn push(&mut self, column: usize, cell: Cell<'_>) {
        let start = self.bytes.len() as u32;
        let kind = match cell {
            Cell::Missing => CellKind::Missing,
            Cell::Text(text) => {
                self.bytes.extend_from_slice(text);
                CellKind::Text
            }
            Cell::Number(number) => {
                self.bytes.extend_from_slice(&number.to_le_bytes());
                CellKind::Number
            }
            Cell::Values(values) => {
                for value in values {
                    self.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    self.bytes.extend_from_slice(value);
                }
                CellKind::Values
            }
        };
        self.cells.push(GivenCell { column: column as u32, start, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_given() {
        let values: [&[u8]; 3] = [b"wine", b"", b"cars"];
        let context = [(3, Cell::Text(b"news")), (1, Cell::Missing), (7, Cell::Values(&values))];
        let candidates = [vec![(0, Cell::Number(-0.0)), (2, Cell::Text(b""))], vec![], vec![(5, Cell::Text(b"x"))]];
        let mut given = Given::default();
        for _ in 0..2 {
            let own = candidates.iter().map(|candidate| candidate.iter().copied());
            given.fill(context.iter().copied(), own, 2);
            assert_eq!(given.candidates(), 2);
            let kept: Vec<_> = given.context().collect();
            assert_eq!(kept[..2], [(3, Kept::Text(b"news")), (1, Kept::Missing)]);
            let (7, Kept::Values(kept)) = kept[2] else { panic!("{:?}", kept[2]) };
            assert_eq!(kept.collect::<Vec<_>>(), values);
            let first: Vec<_> = given.candidate(0).collect();
            assert!(matches!(first[0], (0, Kept::Number(number)) if number.to_bits() == (-0.0f64).to_bits()));
            assert_eq!(first[1], (2, Kept::Text(b"")));
            assert_eq!(given.candidate(1).count(), 0);
            let mut rows = 0;
            given.each_row(
                3,
                |column| [3, 1, 7, 0].iter().position(|known| *known == column).filter(|at| *at < 3),
                |row| {
                    rows += 1;
                    assert_eq!(row, [Cell::Text(b"news"), Cell::Missing, Cell::Values(&values)]);
                },
            );
            assert_eq!(rows, 2);
        }
    }
}
