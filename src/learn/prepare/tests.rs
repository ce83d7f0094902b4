//! Logs through `prepare` and back.

use std::io::Write;
use std::ops::ControlFlow;

use super::*;
use crate::error::Kind;
use crate::learn::dataset::Dataset;
use crate::learn::source::{Found, read_rows};
use crate::model::row::{Cell, targets};

const SCHEMA: &str = "version = 1\nname = \"t\"\n[text]\ndelimiter = \"\\t\"\nheader = false\n[fields]\ny = { kind = \"label\" }\n\
    t = { kind = \"time\" }\nsite = { kind = \"categorical\" }\nprice = { kind = \"numeric\", bins = { quantile = 4 } }\n";

fn schema() -> Schema {
    Schema::parse(SCHEMA, "t").unwrap()
}

fn log(folder: &Path, name: &str, rows: std::ops::Range<usize>) -> Input {
    let path = folder.join(name);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for row in rows {
        writeln!(file, "{}\t{}\ts{}\t{}", row % 4 / 3, 1_000 + row, row % 100, row).unwrap();
    }
    Input::new(path)
}

fn run(inputs: &[Input], target: &Path, options: PrepareOptions) -> Result<Manifest> {
    prepare(inputs, &schema(), target, options, Threads::one(), &mut |_| {}, &Interrupt::default())
}

#[test]
fn rows_of_all_logs_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let inputs = [log(folder.path(), "a.tsv", 0..50_000), log(folder.path(), "b.tsv", 50_000..100_000)];
    let mut seen = Vec::new();
    let manifest = prepare(
        &inputs,
        &schema(),
        &target,
        PrepareOptions::default(),
        Threads::one(),
        &mut |at| seen.push(at),
        &Interrupt::default(),
    );
    let manifest = manifest.unwrap();
    let total = inputs.iter().map(|input| input.bytes().unwrap().unwrap()).sum::<u64>();
    let last = PrepareProgress { bytes: total, total_bytes: Some(total), rows: 100_000 };
    assert_eq!(seen.last(), Some(&last));
    assert!(seen.is_sorted_by_key(|at| (at.bytes, at.rows)));
    assert_eq!((manifest.rows, manifest.clicks, manifest.inputs.len()), (100_000, 25_000, 2));

    let dataset = Dataset::open(&target).unwrap();
    assert_eq!(dataset.manifest(), &manifest);
    let mut codes = [0; 2];
    for row in [0_usize, 1, 49_999, 50_000, 65_536, 99_999] {
        let (site, price) = (format!("s{}", row % 100), row.to_string());
        let cells = [Cell::Missing, Cell::Missing, Cell::Text(site.as_bytes()), Cell::Text(price.as_bytes())];
        dataset.encoder().encode(&cells, &mut codes).unwrap();
        assert_eq!(dataset.codes(row), codes);
        assert_eq!(dataset.time(row), Some(1_000 + row as i64));
    }
    let bins: std::collections::BTreeSet<u32> = (0..dataset.rows()).map(|row| dataset.codes(row)[1]).collect();
    assert_eq!(bins.len(), 4, "bins are learned from all rows");
}

/// Every file of a folder of prepared data.
fn bytes_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// A log with everything that is irregular: quotes, carriage returns, empty lines, missing and wrong cells, too few and too many
/// of them, lines longer than blocks, and no newline at the end.
fn irregular(delimiter: char, rows: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let end = if row + 1 == rows { "" } else { ["\n", "\r\n", "\n\n", "\r\n\n\r\n"][row / 3 % 4] };
        let site = match row % 17 {
            0 => String::new(),
            1 if delimiter != '\t' => format!("\"a{delimiter}\"\"{row}\"\"\n{row}\""),
            2 if delimiter != '\t' => "\"quoted\"".into(),
            3 => "in\"side".into(),
            4 => "é".repeat(1 + row % 200),
            5 => "x".repeat(row % 20),
            _ => format!("s{}", row % 100),
        };
        let price = match row % 23 {
            0 => String::new(),
            1 => format!("{row}.5"),
            2 => "-12".into(),
            3 => format!("{}", row * 1_000_003),
            4 => "dear".into(),
            _ => format!("{}", row % 2_000),
        };
        let (y, time) = (if row % 41 == 40 { 2 } else { row % 4 / 3 }, 1_000 + row);
        let mut cells = vec![y.to_string(), time.to_string(), site, price];
        match row % 61 {
            59 => cells.push("more".into()),
            60 => cells.truncate(2),
            _ => {}
        }
        text.push_str(&cells.join(&delimiter.to_string()));
        text.push_str(end);
    }
    text
}

#[test]
fn the_same_bytes_by_any_number_of_threads_and_size_of_blocks() {
    let folder = tempfile::tempdir().unwrap();
    for (name, delimiter) in [("\\t", '\t'), (",", ',')] {
        let schema = Schema::parse(&SCHEMA.replace("\\t", name), "t").unwrap();
        let text = irregular(delimiter, 3_000);
        let path = folder.path().join("log");
        std::fs::write(&path, &text).unwrap();
        let run = |threads: Threads<'_>, block: usize| {
            let target = folder.path().join("out");
            let options = PrepareOptions { max_bad_rows: 0.5, ..PrepareOptions::default() };
            let inputs = [Input::new(&path)];
            let interrupt = Interrupt::default();
            let manifest =
                prepare_in_blocks(&inputs, &schema, &target, options, threads, &mut |_| {}, &interrupt, block).unwrap();
            assert!(manifest.bad_rows.count > 200 && manifest.bad_rows.by_expectation.len() > 2, "{manifest:?}");
            bytes_of(&target)
        };
        let expected = run(Threads::one(), BLOCK);
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for block in [1, 100, 1_000, 4_096, text.len() - 1, text.len(), text.len() + 1, BLOCK] {
                assert!(run(Threads::of(&pool), block) == expected, "{threads} threads, blocks of {block} bytes");
            }
        }
    }
}

/// The way of the columns gives what the way of single rows gives: codes, targets, bad rows with their lines and reasons.
#[test]
fn blocks_are_encoded_as_rows_are() {
    let folder = tempfile::tempdir().unwrap();
    for (name, delimiter) in [("\\t", '\t'), (",", ',')] {
        let schema = Schema::parse(&SCHEMA.replace("\\t", name), "t").unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, irregular(delimiter, 2_000)).unwrap();
        let target = folder.path().join("out");
        let options = PrepareOptions { max_bad_rows: 0.5, ..PrepareOptions::default() };
        let (inputs, interrupt) = ([Input::new(&path)], Interrupt::default());
        let manifest = prepare(&inputs, &schema, &target, options, Threads::one(), &mut |_| {}, &interrupt).unwrap();
        let dataset = Dataset::open(&target).unwrap();

        let mut bad = BadRows::new(0.5).unwrap();
        let reading = Reading { schema: &schema, targets: true, interrupt: &interrupt };
        let (mut row, mut codes) = (0, vec![0; dataset.width()]);
        read_rows(&inputs[0], reading, &mut bad, &mut |_| {}, &mut |found| {
            let Found::Row { cells, .. } = found else { return Ok(ControlFlow::Continue(())) };
            let targets = targets(&schema, cells)?;
            dataset.encoder().encode(cells, &mut codes)?;
            assert_eq!(dataset.codes(row), codes, "row {row}");
            assert_eq!((dataset.label(row), dataset.time(row)), (targets.label, Some(targets.time)));
            row += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!((row, bad.record()), (dataset.rows(), &manifest.bad_rows));
    }
}

#[test]
fn large_logs_teach_by_a_sample() {
    let folder = tempfile::tempdir().unwrap();
    // More than is read in full; prices fall row by row, so that the first rows are not like all.
    let path = folder.path().join("large.tsv");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let (rows, filler) = (100_000, "z".repeat(400));
    for row in 0..rows {
        writeln!(file, "{}\t{}\t{filler}\t{}", row % 4 / 3, 1_000 + row, rows - row).unwrap();
    }
    file.flush().unwrap();
    let interrupt = Interrupt::default();
    let schema = schema();
    let reading = Reading { schema: &schema, targets: true, interrupt: &interrupt };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let bins = |encoder: &Encoder| {
        let mut seen = std::collections::BTreeMap::new();
        for price in (0..rows).step_by(100) {
            let (mut codes, price) = ([0; 2], price.to_string());
            let cells = [Cell::Missing, Cell::Missing, Cell::Missing, Cell::Text(price.as_bytes())];
            encoder.encode(&cells, &mut codes).unwrap();
            *seen.entry(codes[1]).or_insert(0) += 1;
        }
        seen.into_values().collect::<Vec<usize>>()
    };
    let learn = |input: &Path, learn_from, threads| {
        learn_encoder(&[Input::new(input)], reading, learn_from, threads).unwrap().0
    };
    let spread = learn(&path, None, Threads::one());
    assert_eq!(spread, learn(&path, None, Threads::of(&pool)));
    assert!(bins(&spread).iter().all(|count| (230..270).contains(count)), "{:?}", bins(&spread));
    // The first tenth of the rows holds only the highest prices; a share is one of the rows sampled, so it ends earlier.
    for (amount, below) in [(Amount::Rows(10_000), 926), (Amount::Share(0.1), 939)] {
        let first = learn(&path, Some(amount), Threads::of(&pool));
        assert_eq!(bins(&first).iter().max(), Some(&below), "{:?}", bins(&first));
    }
    // A packed log gives its first rows.
    let packed = folder.path().join("large.tsv.zst");
    std::fs::write(&packed, zstd::encode_all(std::fs::File::open(&path).unwrap(), 1).unwrap()).unwrap();
    let first = learn(&packed, None, Threads::one());
    assert!(bins(&first)[0..].iter().max() > Some(&300), "{:?}", bins(&first));
}

#[test]
fn same_rows_same_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let all = [log(folder.path(), "all.tsv", 0..3_000)];
    let halves = [log(folder.path(), "a.tsv", 0..1_000), log(folder.path(), "b.tsv", 1_000..3_000)];
    let one = run(&all, &folder.path().join("one"), PrepareOptions::default()).unwrap();
    let two = run(&halves, &folder.path().join("two"), PrepareOptions::default()).unwrap();
    assert_eq!(one.data_fingerprint, two.data_fingerprint);
    let other = [log(folder.path(), "c.tsv", 0..2_999)];
    let other = run(&other, &folder.path().join("other"), PrepareOptions::default()).unwrap();
    assert_ne!(one.data_fingerprint, other.data_fingerprint);
}

#[test]
fn validation_rows_take_the_training_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let train = folder.path().join("train");
    run(&[log(folder.path(), "a.tsv", 0..2_000)], &train, PrepareOptions::default()).unwrap();
    let encoder = Dataset::open(&train).unwrap().encoder().clone();
    let options = PrepareOptions { encoder: Some(encoder.clone()), ..Default::default() };
    let valid = folder.path().join("valid");
    run(&[log(folder.path(), "b.tsv", 0..10)], &valid, options.clone()).unwrap();
    assert_eq!(Dataset::open(&valid).unwrap().encoder(), &encoder);

    let other = Schema::parse(&SCHEMA.replace("site", "page"), "t").unwrap();
    let inputs = [log(folder.path(), "b.tsv", 0..10)];
    let refused = prepare(&inputs, &other, &valid, options, Threads::one(), &mut |_| {}, &Interrupt::default());
    assert_eq!(refused.unwrap_err().kind(), Kind::Config);
}

#[test]
fn failures_leave_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let good = [log(folder.path(), "a.tsv", 0..500)];
    let first = run(&good, &target, PrepareOptions::default()).unwrap();
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = names();

    let bad = folder.path().join("a.tsv.bad");
    std::fs::write(&bad, "1\t5\ts\t3\nx\t5\ts\t3\nx\t5\ts\t3\n1\t5\ts\t3\n").unwrap();
    let error = run(&[Input::new(&bad)], &target, PrepareOptions::default()).unwrap_err();
    assert!(error.kind() == Kind::Data && error.to_string().contains("max_bad_rows"), "{error}");
    let packed = folder.path().join("cut.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&std::fs::read(good[0].path()).unwrap()).unwrap();
    let bytes = gzip.finish().unwrap();
    std::fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    let error = run(&[Input::new(&packed)], &target, PrepareOptions::default()).unwrap_err();
    assert!(error.kind() == Kind::Data && error.to_string().contains("cut short"), "{error}");
    assert_eq!(run(&[], &target, PrepareOptions::default()).unwrap_err().kind(), Kind::Config);
    let stopped = Interrupt::default();
    stopped.set();
    let error = prepare(&good, &schema(), &target, PrepareOptions::default(), Threads::one(), &mut |_| {}, &stopped)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);

    assert_eq!(names(), before + 2, "only the two logs of this test are new");
    assert_eq!(Dataset::open(&target).unwrap().manifest(), &first);
    let second = run(&[log(folder.path(), "b.tsv", 0..700)], &target, PrepareOptions::default()).unwrap();
    assert_eq!(Dataset::open(&target).unwrap().manifest(), &second, "a good run replaces it");
}

#[test]
fn bad_rows_stand_in_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tsv");
    let mut text = "1\t5\ts\t3\n".repeat(300);
    text.push_str("1\t5\ts\tnan\n1\tnoon\ts\t3\n");
    std::fs::write(&path, text).unwrap();
    let manifest = run(&[Input::new(&path)], &folder.path().join("out"), PrepareOptions::default()).unwrap();
    assert_eq!((manifest.rows, manifest.bad_rows.count), (300, 2));
    assert!(manifest.bad_rows.examples[1].ends_with("a.tsv:302: t: expected seconds since 1970, got \"noon\""));
}

/// The real rows stand outside the repository; without them there is nothing to check.
#[test]
fn criteo_rows() {
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/criteo80k.tsv.zst");
    if !log.exists() {
        let _ = writeln!(std::io::stderr(), "skipped: {} is not there", log.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out");
    let schema = Schema::parse(crate::model::schema::PRESETS[0].1, "criteo").unwrap();
    let options = PrepareOptions::default();
    let started = std::time::Instant::now();
    let manifest =
        prepare(&[Input::new(log)], &schema, &target, options, Threads::one(), &mut |_| {}, &Interrupt::default())
            .unwrap();
    eprintln!("{:.0} rows/s", manifest.rows as f64 / started.elapsed().as_secs_f64());
    assert_eq!((manifest.rows, manifest.width, manifest.bad_rows.count), (80_000, 39, 0));
    let share = manifest.clicks as f64 / manifest.rows as f64;
    assert!((share - 0.2245).abs() < 5e-5, "{share}");
}
