//! Prepared folders as other tests need them, and what holds for every dataset.

use super::*;
use crate::model::features::EncoderBuilder;
use crate::model::row::{Cell, Targets};

pub(crate) const SCHEMA: &str = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\nw = { kind = \"weight\" }\n\
    t = { kind = \"time\" }\ng = { kind = \"group\" }\na = { kind = \"categorical\" }\nb = { kind = \"bag\", max_values = 2 }\n";

/// Targets of a row of [`write`]: every third row is a click.
pub(crate) fn targets_of(row: usize, time: i64) -> Targets {
    Targets { label: u8::from(row.is_multiple_of(3)), weight: row as f32, time, group: row as u64 / 4 }
}

/// Writes `rows` rows whose first code is the row's number plus one; `time` gives each row's time.
pub(crate) fn write(folder: &Path, schema: &str, rows: usize, time: impl Fn(usize) -> i64) -> Manifest {
    let schema = Schema::parse(schema, "t").unwrap();
    let encoder = EncoderBuilder::new(&schema).finish();
    let mut writer = DatasetWriter::new(folder, &schema, &encoder, false);
    let mut encoded = EncodedRows::new(&schema);
    for row in 0..rows {
        let encode = |codes: &mut [u32]| {
            codes[0] = row as u32 + 1;
            Ok::<(), ()>(())
        };
        encoded.push(targets_of(row, time(row)), encode).unwrap();
        if row % 1_000 == 999 || row + 1 == rows {
            writer.append(&encoded).unwrap();
            encoded.clear();
        }
    }
    writer.finish(Vec::new(), None, BadRowsRecord::default()).unwrap()
}

fn opened(rows: usize) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), SCHEMA, rows, |row| row as i64 * 10);
    let dataset = Dataset::open(folder.path()).unwrap();
    (folder, dataset)
}

#[test]
fn what_was_written_is_read() {
    let rows = 2 * BLOCK_ROWS + 17;
    let (_folder, dataset) = opened(rows);
    assert_eq!((dataset.rows(), dataset.width()), (rows, 3));
    assert_eq!(dataset.manifest().clicks, rows.div_ceil(3) as u64);
    for row in [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, rows - 1] {
        assert_eq!(dataset.codes(row), [row as u32 + 1, 0, 0]);
        let expected = targets_of(row, row as i64 * 10);
        assert_eq!((dataset.label(row), dataset.weight(row)), (expected.label, expected.weight));
        assert_eq!((dataset.time(row), dataset.group(row)), (Some(expected.time), Some(expected.group)));
    }
    let pieces: Vec<Piece<'_>> = dataset.pieces(BLOCK_ROWS - 5..rows - 1).collect();
    assert_eq!(pieces.len(), 3);
    assert_eq!((pieces[0].rows.clone(), pieces[2].rows.end), (BLOCK_ROWS - 5..BLOCK_ROWS, rows - 1));
    assert_eq!(pieces[1].codes[0], BLOCK_ROWS as u32 + 1);
    assert_eq!(dataset.pieces(5..5).count(), 0);
}

#[test]
fn columns_are_mapped_not_copied() {
    let (_folder, dataset) = opened(100);
    let piece = dataset.pieces(0..100).next().unwrap();
    assert_eq!(piece.codes.as_ptr().addr() % 64, 0);
    assert_eq!(piece.times.unwrap().as_ptr().addr() % 64, 0);
    let next = Dataset::open(dataset.folder()).unwrap();
    let again = next.pieces(0..100).next().unwrap();
    assert_eq!(piece.codes.as_ptr().addr() % 4096, again.codes.as_ptr().addr() % 4096, "the place in the file");
}

#[test]
fn no_rows_are_no_error() {
    let (_folder, dataset) = opened(0);
    assert_eq!(dataset.rows(), 0);
    assert_eq!(dataset.view().pieces().count(), 0);
    assert!(!dataset.view().batches(8, Order::InOrder).next(&mut BatchBuffer::default()));
}

#[test]
fn damage_is_named() {
    let (folder, dataset) = opened(1000);
    drop(dataset);
    let part = folder.path().join("part-00000.arrow");
    let bytes = std::fs::read(&part).unwrap();
    let open = || Dataset::open(folder.path()).unwrap_err().to_string();

    std::fs::write(&part, &bytes[..bytes.len() - 100]).unwrap();
    assert!(open().contains("bytes"), "{}", open());
    let mut damaged = bytes.clone();
    damaged[bytes.len() - 40..bytes.len() - 6].fill(0xff);
    std::fs::write(&part, &damaged).unwrap();
    assert!(open().contains("is no part of prepared data"), "{}", open());
    std::fs::write(&part, &bytes).unwrap();
    std::fs::write(folder.path().join(ENCODER), b"nonsense").unwrap();
    assert!(open().contains(ENCODER), "{}", open());
    std::fs::write(folder.path().join(MANIFEST), b"{}").unwrap();
    assert!(open().contains("manifest"), "{}", open());
    std::fs::remove_file(folder.path().join(MANIFEST)).unwrap();
    assert!(open().contains("expected prepared data"), "{}", open());
    let missing = Dataset::open(&folder.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), crate::error::Kind::Io);
}

#[test]
fn rows_that_cannot_be_encoded_leave_no_trace() {
    let schema = Schema::parse(SCHEMA, "t").unwrap();
    let encoder = EncoderBuilder::new(&schema).finish();
    let folder = tempfile::tempdir().unwrap();
    let mut writer = DatasetWriter::new(folder.path(), &schema, &encoder, false);
    let mut rows = EncodedRows::new(&schema);
    assert_eq!(rows.push(targets_of(0, 0), |_| Err("no")), Err("no"));
    let cells = [Cell::Text(b"1"), Cell::Missing, Cell::Missing, Cell::Missing, Cell::Text(b"x"), Cell::Text(b"p|q")];
    rows.push(targets_of(0, 0), |codes| encoder.encode(&cells, codes)).unwrap();
    writer.append(&rows).unwrap();
    writer.finish(Vec::new(), None, BadRowsRecord::default()).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    assert_eq!(dataset.rows(), 1);
    assert!(dataset.codes(0).iter().all(|code| *code != 0));
}

#[test]
fn rows_are_taken_out() {
    let schema = Schema::parse(SCHEMA, "t").unwrap();
    for removed in [vec![], vec![0], vec![9], vec![0, 1, 2], vec![3, 5, 9], (0..10).collect()] {
        let mut rows = EncodedRows::new(&schema);
        let fill = |row: usize| {
            move |codes: &mut [u32]| {
                codes.fill(row as u32);
                Ok::<(), ()>(())
            }
        };
        for row in 0..10 {
            rows.push(targets_of(row, row as i64), fill(row)).unwrap();
        }
        rows.remove(&removed);
        let kept: Vec<usize> = (0..10).filter(|row| !removed.contains(row)).collect();
        assert_eq!(rows.rows(), kept.len());
        assert!(rows.codes.chunks(3).zip(&kept).all(|(codes, row)| codes == [*row as u32; 3]));
        assert!(rows.labels.iter().zip(&kept).all(|(label, row)| *label == targets_of(*row, 0).label));
        assert_eq!(rows.times, kept.iter().map(|row| *row as i64).collect::<Vec<_>>());
        assert_eq!(rows.weights.len() + rows.groups.len(), 2 * kept.len());
    }
}

fn order(view: &View<'_>, batch_rows: usize, order: Order) -> Vec<usize> {
    let mut batches = view.batches(batch_rows, order);
    let mut batch = BatchBuffer::default();
    let mut rows = Vec::new();
    while batches.next(&mut batch) {
        let first_codes = batch.codes.chunks_exact(3).map(|codes| codes[0] as usize - 1);
        assert!(first_codes.eq(batch.rows.iter().copied()), "codes belong to their rows");
        assert!(batch.rows.iter().zip(&batch.labels).all(|(row, label)| (row % 3 == 0) == (*label == 1.0)));
        assert!(batch.rows.iter().zip(batch.weights().unwrap()).all(|(row, weight)| *row as f32 == *weight));
        rows.extend_from_slice(&batch.rows);
    }
    rows
}

#[test]
fn every_order_visits_every_row_once() {
    let rows = 3 * BLOCK_ROWS + 1000;
    let (_folder, dataset) = opened(rows);
    let view = View::new(&dataset, vec![10..20, 20..20, 30..BLOCK_ROWS * 2 + 3, rows - 7..rows]);
    let expected: Vec<usize> = view.ranges().iter().cloned().flatten().collect();
    assert_eq!(view.rows(), expected.len());
    assert_eq!(order(&view, 777, Order::InOrder), expected);
    let shuffled = order(&view, 777, Order::Shuffled { seed: 7, pass: 0 });
    let mut sorted = shuffled.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let stay = shuffled.iter().zip(&expected).filter(|(a, b)| a == b).count();
    assert!(stay < 20, "{stay} rows kept their place");
    assert_eq!(order(&view, 64, Order::Shuffled { seed: 7, pass: 0 }), shuffled, "batch size does not matter");
    assert_ne!(order(&view, 777, Order::Shuffled { seed: 7, pass: 1 }), shuffled);
    assert_ne!(order(&view, 777, Order::Shuffled { seed: 8, pass: 0 }), shuffled);
}

#[test]
fn slices_are_positions() {
    let (_folder, dataset) = opened(1000);
    let view = View::new(&dataset, vec![0..10, 100..200, 500..1000]);
    let all: Vec<usize> = view.ranges().iter().cloned().flatten().collect();
    for positions in [0..0, 0..5, 5..15, 9..10, 10..11, 105..300, 0..610, 609..610, 610..610] {
        let slice = view.slice(positions.clone());
        assert_eq!(slice.ranges().iter().cloned().flatten().collect::<Vec<_>>(), all[positions]);
    }
    assert_eq!(view.labels().len(), 610);
    assert_eq!(view.times().unwrap()[10], 1000);
    assert_eq!(view.groups().unwrap()[110], 125);
    assert_eq!(view.slice(8..12).labels(), [0, 1, 0, 0], "rows 8, 9, 100, 101");
}
