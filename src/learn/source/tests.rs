//! Every format, and everything that can be wrong with a log.

use std::io::Write;

use super::*;
use crate::error::Kind;
use crate::model::row::{number, targets};

const CSV: &str = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\nsite = { kind = \"categorical\" }\n\
    age = { kind = \"numeric\" }\nnote = { kind = \"ignore\" }\n";

fn schema(delimiter: &str, header: bool) -> Schema {
    let text = format!("{CSV}[text]\ndelimiter = \"{delimiter}\"\nheader = {header}\n");
    Schema::parse(&text, "t").unwrap()
}

/// What a log gives: its rows as text, and the count of the bad ones.
struct Given {
    rows: Vec<(u64, Vec<String>)>,
    bad_lines: Vec<u64>,
    bad: BadRows,
    record: InputRecord,
}

impl Given {
    fn cells(&self) -> Vec<Vec<&str>> {
        self.rows.iter().map(|(_, cells)| cells.iter().map(String::as_str).collect()).collect()
    }
}

fn read_file(path: &Path, schema: &Schema, needs_targets: bool, max_share: f64) -> Result<Given> {
    let mut bad = BadRows::new(max_share)?;
    let (mut rows, mut bad_lines) = (Vec::new(), Vec::new());
    let interrupt = Interrupt::default();
    let reading = Reading { schema, targets: needs_targets, interrupt: &interrupt };
    let record = read_rows(&Input::new(path), reading, &mut bad, &mut |_| {}, &mut |found| {
        match found {
            Found::Bad { line } => bad_lines.push(line),
            Found::Row { line, cells } => {
                if needs_targets {
                    targets(schema, cells)?;
                }
                if let Some(age) = schema.column("age")
                    && cells[age] != Cell::Missing
                {
                    number(cells[age]).ok_or_else(|| CellError::new("age", "a finite number", cells[age]))?;
                }
                let shown = cells.iter().map(|cell| match cell {
                    Cell::Missing => "∅".to_owned(),
                    Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Cell::Number(number) => format!("#{number}"),
                    Cell::Values(values) => {
                        values.iter().map(|value| String::from_utf8_lossy(value)).collect::<Vec<_>>().join("+")
                    }
                });
                rows.push((line, shown.collect()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    bad.finish("t")?;
    Ok(Given { rows, bad_lines, bad, record })
}

fn read_bytes(bytes: &[u8], schema: &Schema) -> Result<Given> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read_file(file.path(), schema, true, 0.5)
}

#[test]
fn headers_map_columns_by_name() {
    let given =
        read_bytes(b"\xef\xbb\xbfage,extra,y,site\r\n3,?,1,a\r\n,,0,\r\n\r\n7,x,0,b", &schema(",", true)).unwrap();
    assert_eq!(given.cells(), [["1", "a", "3", "∅"], ["0", "∅", "∅", "∅"], ["0", "b", "7", "∅"]]);
    assert_eq!(given.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 5]);
    let error = read_bytes(b"y,sites,age\n1,a,2\n", &schema(",", true)).err().unwrap();
    assert!(error.to_string().contains("lacks the column \"site\"; did you mean \"sites\"?"), "{error}");
    let error = read_bytes(b"y,site,age,site\n1,a,2,b\n", &schema(",", true)).err().unwrap();
    assert!(error.to_string().contains("each column once"), "{error}");
}

#[test]
fn quotes_by_rfc_4180() {
    let log = b"y,site,age\n1,\"a,\"\"b\"\"\nc\",3\n0,plain,4\n1,\"\",5\n0,in\"side,6\n";
    let given = read_bytes(log, &schema(",", true)).unwrap();
    assert_eq!(
        given.cells(),
        [["1", "a,\"b\"\nc", "3", "∅"], ["0", "plain", "4", "∅"], ["1", "∅", "5", "∅"], ["0", "in\"side", "6", "∅"]]
    );
    assert_eq!(given.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 5, 6]);
    let tabs = read_bytes(b"1\t\"a\t3\tx\n0\tb\"\t4\ty\n", &schema("\\t", false)).unwrap();
    assert_eq!(tabs.cells(), [["1", "\"a", "3", "x"], ["0", "b\"", "4", "y"]], "a quote between tabs is a character");
}

#[test]
fn broken_quotes_lose_their_line_only() {
    let given = read_bytes(b"y,site,age\n1,\"a\"b,3\n1,c,3\n0,\"open,4\n0,d,5\n", &schema(",", true)).unwrap();
    assert_eq!(given.cells(), [["1", "c", "3", "∅"], ["0", "d", "5", "∅"]]);
    assert_eq!(given.bad_lines, [2, 4]);

    // The same where the open quote swallows more than a block.
    let mut log = b"y,site,age\n0,\"open,4\n".to_vec();
    for _ in 0..200_000 {
        log.extend_from_slice(b"0,dddddd,5\n");
    }
    let given = read_bytes(&log, &schema(",", true)).unwrap();
    assert_eq!((given.rows.len(), given.bad_lines), (200_000, vec![2]));
    assert_eq!(given.rows.last().unwrap().0, 200_002);
}

#[test]
fn bad_rows_are_counted_and_good_ones_kept() {
    let log = b"1\ta\t3\tx\n1\ta\t3\n1\ta\t3\tx\ty\n2\ta\t3\tx\n\ta\t3\tx\n1\ta\tNaN\tx\n1\ta\tthree\tx\n0\tb\t\tx\n1\tc\t1e5\t\n0\tc\t-1\t\n0\tc\t-1\t\n0\tc\t-1\t";
    let given = read_bytes(log, &schema("\\t", false)).unwrap();
    assert_eq!(given.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 8, 9, 10, 11, 12]);
    assert_eq!(given.bad_lines, [2, 3]);
    let record = given.bad.record();
    assert_eq!((given.bad.rows(), record.count), (12, 6));
    let counts: Vec<(&str, u64)> =
        record.by_expectation.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(counts, [("a finite number", 2), ("label 0 or 1", 2), ("the log's number of columns", 2)]);
    assert!(record.examples[0].ends_with(":2: row: expected 4 columns, got 3"), "{:?}", record.examples);
    assert!(record.examples[2].ends_with(":4: y: expected label 0 or 1, got \"2\""), "{:?}", record.examples);
}

#[test]
fn lines_without_end_are_one_bad_row() {
    let mut log = b"1\ta\t3\tx\n1\t".to_vec();
    log.resize(log.len() + 10_000_000, b'z');
    log.extend_from_slice(b"\t3\tx\n0\tb\t4\ty\n");
    let given = read_bytes(&log, &schema("\\t", false)).unwrap();
    assert_eq!(given.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
    let example = &given.bad.record().examples[0];
    assert!(example.contains(":2: row: expected a line of at most 1 MiB, got 10000006 bytes"), "{example}");

    let mut header = b"y,".to_vec();
    header.resize(5_000_000, b'z');
    let error = read_bytes(&header, &schema(",", true)).err().unwrap().to_string();
    assert!(error.contains("a line that does not end"), "{error}");
}

#[test]
fn blocks_keep_every_row() {
    let mut log = String::from("y,site,age\n");
    for row in 0..300_000 {
        let quote = if row % 1000 == 0 { "\"" } else { "" };
        log.push_str(&format!("{},{quote}s{row}{quote},{row}\n", row % 2));
    }
    let given = read_bytes(log.as_bytes(), &schema(",", true)).unwrap();
    assert_eq!(given.rows.len(), 300_000);
    for (row, (line, cells)) in given.rows.iter().enumerate() {
        assert_eq!((*line, cells[1].as_str()), (row as u64 + 2, format!("s{row}").as_str()));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_logs_read_as_plain_ones() {
    let mut log = String::new();
    for row in 0..50_000_u64 {
        log.push_str(&format!("{}\tsite{}\t{row}\tx\n", row % 2, row.wrapping_mul(2_654_435_761) % 9_973));
    }
    let plain = read_bytes(log.as_bytes(), &schema("\\t", false)).unwrap();
    assert_eq!(plain.record.bytes, log.len() as u64);
    assert_eq!(plain.record.fingerprint, crate::model::features::hash::Fingerprint::of(log.as_bytes()));
    let (head, tail) = log.as_bytes().split_at(log.len() / 2);
    let two_members = [gzip(head), gzip(tail)].concat();
    // As the `zstd` command writes it: with a checksum.
    let mut zst = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zst.include_checksum(true).unwrap();
    zst.write_all(log.as_bytes()).unwrap();
    let zst = zst.finish().unwrap();
    for packed in [gzip(log.as_bytes()), two_members, zst] {
        let given = read_bytes(&packed, &schema("\\t", false)).unwrap();
        assert_eq!(given.rows, plain.rows);
        assert_eq!(given.record.bytes, packed.len() as u64);
        let error = read_bytes(&packed[..packed.len() * 2 / 3], &schema("\\t", false)).err().unwrap();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("cut short"), "{error}");
        let mut damaged = packed.clone();
        let at = damaged.len() / 2;
        damaged[at..at + 50].fill(0x55);
        assert_eq!(read_bytes(&damaged, &schema("\\t", false)).err().unwrap().kind(), Kind::Data);
    }
}

#[test]
fn what_is_no_log_is_said() {
    let tabs = schema("\\t", false);
    let message = |bytes: &[u8]| read_bytes(bytes, &tabs).err().unwrap().to_string();
    assert!(message(b"").contains("empty file"));
    assert!(message(b"PK\x03\x04rest").contains("a zip archive"));
    assert!(message(b"BZh91AY").contains("a bzip2 file"));
    assert!(message(b"PAR1 but not Parquet").contains("Parquet file is damaged"));
    assert!(message(b"\x1f\x8bnonsense").contains("gzip"));
    assert!(message(b"\n\n\n").contains("expected rows"));
    assert!(message(b"x\n").contains("expected a usable row"), "{}", message(b"x\n"));
    assert!(read_bytes(b"y,site,age\n", &schema(",", true)).err().unwrap().to_string().contains("expected rows"));
    let folder = tempfile::tempdir().unwrap();
    let error = read_file(folder.path(), &tabs, true, 0.5).err().unwrap();
    assert!(error.kind() == Kind::Io && error.to_string().contains("folder"), "{error}");
    let error = read_file(&folder.path().join("missing.tsv"), &tabs, true, 0.5).err().unwrap();
    assert!(error.kind() == Kind::Io && error.to_string().contains("missing.tsv"), "{error}");
}

#[test]
fn scoring_needs_features_only() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a\t3\tx\nb\t4\tx\n").unwrap();
    let given = read_file(file.path(), &schema("\\t", false), false, 0.0).unwrap();
    assert_eq!(given.cells(), [["∅", "a", "3", "x"], ["∅", "b", "4", "x"]]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"age,site\n3,a\n").unwrap();
    let given = read_file(file.path(), &schema(",", true), false, 0.0).unwrap();
    assert_eq!(given.cells(), [["∅", "a", "3", "∅"]]);
    assert!(read_file(file.path(), &schema(",", true), true, 0.0).is_err());
}

#[test]
fn interruption_and_refusal_stop_reading() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&b"1\ta\t3\tx\n".repeat(1000)).unwrap();
    let schema = schema("\\t", false);
    let interrupt = Interrupt::default();
    let reading = Reading { schema: &schema, targets: true, interrupt: &interrupt };
    let mut seen = 0;
    let mut visit = |_: Found<'_>| {
        seen += 1;
        Ok(if seen == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    read_rows(&Input::new(file.path()), reading, &mut BadRows::new(0.0).unwrap(), &mut |_| {}, &mut visit).unwrap();
    assert_eq!(seen, 10);
    interrupt.set();
    let mut visit = |_: Found<'_>| Ok(ControlFlow::Continue(()));
    let stopped =
        read_rows(&Input::new(file.path()), reading, &mut BadRows::new(0.0).unwrap(), &mut |_| {}, &mut visit);
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
}

mod parquet_logs {
    use std::sync::Arc;

    use ::parquet::arrow::ArrowWriter;
    use ::parquet::file::properties::WriterProperties;
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::types::Int32Type;
    use arrow_array::{
        ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMillisecondArray,
    };

    use super::*;

    const TYPED: &str = "version = 1\nname = \"t\"\n[fields]\ny = { kind = \"label\" }\nt = { kind = \"time\" }\n\
        site = { kind = \"categorical\" }\nuser = { kind = \"categorical\" }\nage = { kind = \"numeric\" }\n\
        tags = { kind = \"bag\" }\nsize = { kind = \"categorical\" }\n";

    fn write(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
        let batch = batch.unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let small_groups = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), Some(small_groups)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn columns() -> Vec<(&'static str, ArrayRef)> {
        let mut tags = ListBuilder::new(StringBuilder::new());
        tags.append_value([Some("p"), None, Some("q")]);
        tags.append_null();
        tags.append_value([Some("r")]);
        let sizes: DictionaryArray<Int32Type> = vec![Some("big"), None, Some("big")].into_iter().collect();
        vec![
            ("tags", Arc::new(tags.finish())),
            ("y", Arc::new(BooleanArray::from(vec![true, false, true]))),
            ("t", Arc::new(TimestampMillisecondArray::from(vec![1_500, 2_000, -1]))),
            ("age", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(2.0)]))),
            ("site", Arc::new(StringArray::from(vec![Some("a"), Some(""), None]))),
            ("unknown", Arc::new(StringArray::from(vec!["x", "y", "z"]))),
            ("user", Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(7)]))),
            ("size", Arc::new(sizes)),
        ]
    }

    #[test]
    fn types_become_cells() {
        let schema = Schema::parse(TYPED, "t").unwrap();
        let file = write(columns());
        let given = read_file(file.path(), &schema, true, 0.0).unwrap();
        let expected = [
            ["#1", "#1", "a", "9223372036854775807", "#1.5", "p+q", "big"],
            ["#0", "#2", "∅", "∅", "∅", "∅", "∅"],
            ["#1", "#-1", "∅", "7", "#2", "r", "big"],
        ];
        // The reader may cut batches at row groups, and digits are chosen by batch.
        let cells = given.cells();
        for (row, expected) in cells.iter().zip(&expected) {
            let row: Vec<&str> = row.iter().map(|cell| if *cell == "#7" { "7" } else { *cell }).collect();
            assert_eq!(row, expected);
        }
        assert_eq!(cells.len(), 3);
        assert_eq!(given.record.bytes, file.as_file().metadata().unwrap().len());
    }

    #[test]
    fn columns_and_types_are_checked() {
        let schema = Schema::parse(TYPED, "t").unwrap();
        let mut lacking = columns();
        lacking.retain(|(name, _)| *name != "site");
        let error = read_file(write(lacking).path(), &schema, true, 0.0).err().unwrap().to_string();
        assert!(error.contains("lacks the column \"site\"") && error.contains("got tags, y"), "{error}");

        let mut wrong = columns();
        wrong[4].1 = Arc::new(arrow_array::Date32Array::from(vec![1, 2, 3]));
        let error = read_file(write(wrong).path(), &schema, true, 0.0).err().unwrap().to_string();
        assert!(error.contains("site: expected text") && error.contains("Date32"), "{error}");

        let file = write(columns());
        let bytes = std::fs::read(file.path()).unwrap();
        for cut in [bytes.len() / 2, bytes.len() - 3, 10] {
            let error = read_bytes(&bytes[..cut], &schema).err().unwrap();
            assert_eq!(error.kind(), Kind::Data, "{error}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_bad_rows() {
        let schema = Schema::parse(TYPED, "t").unwrap();
        let mut rows = columns();
        rows[3].1 = Arc::new(Float64Array::from(vec![f64::NAN, 1.0, 2.0]));
        let given = read_file(write(rows).path(), &schema, true, 0.5).unwrap();
        assert_eq!((given.rows.len(), given.bad.record().count), (2, 1));
    }
}
