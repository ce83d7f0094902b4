//! The stages: what each one does with a log or with prepared rows, and how long it took.

use std::hint::black_box;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use pctr::error::Result;
use pctr::learn::Interrupt;
use pctr::learn::dataset::{BatchBuffer, Dataset, Order};
use pctr::learn::evaluate::evaluate_view;
use pctr::learn::prepare::{PrepareOptions, prepare};
use pctr::learn::score::score;
use pctr::learn::settings::{Evidence, Settings, from_flags};
use pctr::learn::source::{BadRows, Found, Input, MAX_BAD_ROWS, Reading, Refusal, read_rows};
use pctr::learn::trainer::{Task, train};
use pctr::model::Threads;
use pctr::model::bundle::{Bundle, ModelKind, Tier};
use pctr::model::features::{EncoderBuilder, IndexerBuilder};
use pctr::model::row::Cell;
use pctr::model::schema::Schema;

use crate::Failure;

/// Name of the yardstick that stages are measured by.
pub(crate) const BYTE_LOOP: &str = "byte-loop";

/// All stages, in the order of the pipeline: a later one reads what an earlier one leaves on disk.
pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "copy", threaded: false, reads_text: true, leaves_something: false, run: copy },
    Stage { name: BYTE_LOOP, threaded: false, reads_text: true, leaves_something: false, run: byte_loop },
    Stage { name: "parse", threaded: false, reads_text: true, leaves_something: false, run: parse },
    Stage { name: "encode", threaded: false, reads_text: true, leaves_something: false, run: encode },
    Stage { name: "prepare", threaded: true, reads_text: true, leaves_something: true, run: prepare_rows },
    Stage { name: "index", threaded: false, reads_text: false, leaves_something: false, run: index },
    Stage { name: "index-shuffled", threaded: false, reads_text: false, leaves_something: false, run: index_shuffled },
    Stage { name: "ftrl", threaded: true, reads_text: false, leaves_something: true, run: ftrl },
    Stage { name: "dcn", threaded: true, reads_text: false, leaves_something: true, run: dcn },
    Stage { name: "evaluate-ftrl", threaded: true, reads_text: false, leaves_something: false, run: evaluate_ftrl },
    Stage { name: "evaluate-dcn", threaded: true, reads_text: false, leaves_something: false, run: evaluate_dcn },
    Stage { name: "score-ftrl", threaded: true, reads_text: true, leaves_something: false, run: score_ftrl },
    Stage { name: "score-dcn", threaded: true, reads_text: true, leaves_something: false, run: score_dcn },
];

/// One stage.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// Whether more threads change anything.
    pub(crate) threaded: bool,
    pub(crate) reads_text: bool,
    /// Whether later stages read what it writes.
    pub(crate) leaves_something: bool,
    pub(crate) run: fn(&Place, Threads<'_>) -> Result<Work, Failure>,
}

/// What one round did.
pub(crate) struct Work {
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
}

/// The folder of one log and of all that is made of it.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn new(folder: &Path) -> Place {
        Place { folder: folder.to_path_buf() }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log.tsv")
    }

    pub(crate) fn log_bytes(&self) -> std::io::Result<u64> {
        Ok(std::fs::metadata(self.log())?.len())
    }

    fn prepared(&self) -> PathBuf {
        self.folder.join("prepared")
    }

    fn bundle(&self, kind: ModelKind) -> PathBuf {
        self.folder.join(kind.name())
    }
}

/// One pass over 2²² slots of 39 fields.
const FTRL: [&str; 4] = ["passes=1", "bits=22", "crosses=none", "alpha=0.1"];
/// Embeddings of 8, two low-rank cross layers, a tower of 128-64: what the defaults take for a few thousand clicks. Whatever else the
/// defaults take from the number of rows is named, so that all logs get the same network.
const SMALL_DCN: [&str; 15] = [
    "mode=hash",
    "bits=18",
    "crosses=none",
    "passes=1",
    "embedding_dim=8",
    "embedding_min_count=1",
    "cross_layers=2",
    "cross_rank=32",
    "cross_experts=1",
    "deep=[128,64]",
    "dropout=0",
    "embedding_dropout=0",
    "l2_embedding=1e-5",
    "learning_rate=1e-3",
    "wide=adagrad",
];
/// Rows that calibrate.
const VALID_ROWS: usize = 1_000;
/// Rows of a batch for the models that read batches.
const BATCH_ROWS: usize = 4_096;

fn copy(place: &Place, _: Threads<'_>) -> Result<Work, Failure> {
    let mut copied = vec![0; YARD];
    over_text(place, |text| {
        copied[..text.len()].copy_from_slice(text);
        black_box(&mut copied);
    })
}

fn byte_loop(place: &Place, _: Threads<'_>) -> Result<Work, Failure> {
    over_text(place, |text| {
        let (mut start, mut longest) = (0, 0);
        for (at, byte) in text.iter().enumerate() {
            if *byte == b'\t' || *byte == b'\n' {
                longest = longest.max(at - start);
                start = at + 1;
            }
        }
        black_box(longest);
    })
}

/// Bytes that a yardstick holds at a time: far more than the caches do.
const YARD: usize = 64 << 20;

/// The text in large pieces; reading them is not counted.
fn over_text(place: &Place, mut work: impl FnMut(&[u8])) -> Result<Work, Failure> {
    let mut file = std::fs::File::open(place.log())?;
    let mut piece = vec![0; YARD];
    let (mut rows, mut seconds) = (0, 0.0);
    loop {
        let mut length = 0;
        while length < piece.len() {
            match file.read(&mut piece[length..])? {
                0 => break,
                read => length += read,
            }
        }
        if length == 0 {
            return Ok(Work { rows, seconds });
        }
        rows += piece[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let start = Instant::now();
        work(&piece[..length]);
        seconds += start.elapsed().as_secs_f64();
    }
}

fn parse(place: &Place, _: Threads<'_>) -> Result<Work, Failure> {
    over_rows(place, &mut |cells| {
        black_box(cells);
        Ok(())
    })
}

fn encode(place: &Place, _: Threads<'_>) -> Result<Work, Failure> {
    let encoder = EncoderBuilder::new(&schema()?).finish();
    let mut codes = vec![0; encoder.width()];
    over_rows(place, &mut |cells| {
        encoder.encode(cells, &mut codes)?;
        black_box(&mut codes);
        Ok(())
    })
}

fn over_rows(place: &Place, work: &mut dyn FnMut(&[Cell<'_>]) -> Result<(), Refusal>) -> Result<Work, Failure> {
    let (schema, interrupt) = (schema()?, Interrupt::default());
    let mut bad = BadRows::new(MAX_BAD_ROWS)?;
    let reading = Reading { schema: &schema, targets: true, interrupt: &interrupt };
    let start = Instant::now();
    let mut visit = |found: Found<'_>| {
        if let Found::Row { cells, .. } = found {
            work(cells)?;
        }
        Ok(ControlFlow::Continue(()))
    };
    read_rows(&Input::new(place.log()), reading, &mut bad, &mut |_| (), &mut visit)?;
    Ok(Work { rows: bad.rows(), seconds: start.elapsed().as_secs_f64() })
}

fn prepare_rows(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    let inputs = [Input::new(place.log())];
    let start = Instant::now();
    let (schema, options, interrupt) = (schema()?, PrepareOptions::default(), Interrupt::default());
    let manifest = prepare(&inputs, &schema, &place.prepared(), options, threads, &mut |_| (), &interrupt)?;
    Ok(Work { rows: manifest.rows, seconds: start.elapsed().as_secs_f64() })
}

fn index(place: &Place, _: Threads<'_>) -> Result<Work, Failure> {
    batches(place, Order::InOrder)
}

fn index_shuffled(place: &Place, _: Threads<'_>) -> Result<Work, Failure> {
    batches(place, Order::Shuffled { seed: 1, pass: 0 })
}

fn batches(place: &Place, order: Order) -> Result<Work, Failure> {
    let dataset = Dataset::open(&place.prepared())?;
    let settings = settings(ModelKind::Ftrl, &FTRL, &dataset)?;
    let indexer = IndexerBuilder::new(&settings.features, dataset.encoder())?.finish();
    let view = dataset.view();
    let start = Instant::now();
    let (mut batches, mut batch, mut slots) = (view.batches(BATCH_ROWS, order), BatchBuffer::default(), Vec::new());
    while batches.next(&mut batch) {
        indexer.index(&batch.codes, &mut slots);
        black_box(&mut slots);
    }
    Ok(Work { rows: dataset.rows() as u64, seconds: start.elapsed().as_secs_f64() })
}

fn ftrl(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    learn(place, ModelKind::Ftrl, &FTRL, threads)
}

fn dcn(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    learn(place, ModelKind::Dcn, &SMALL_DCN, threads)
}

fn learn(place: &Place, kind: ModelKind, flags: &[&str], threads: Threads<'_>) -> Result<Work, Failure> {
    let dataset = Dataset::open(&place.prepared())?;
    let (all, rows) = (dataset.view(), dataset.rows());
    let task = Task {
        train: all.slice(0..rows - VALID_ROWS),
        valid: all.slice(rows - VALID_ROWS..rows),
        settings: settings(kind, flags, &dataset)?,
        seed: 1,
    };
    let trained = train(&task, threads, &mut |_| (), &Interrupt::default())?;
    trained.bundle.write(&place.bundle(kind))?;
    Ok(Work { rows: trained.record.rows, seconds: trained.record.seconds })
}

fn evaluate_ftrl(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    evaluate(place, ModelKind::Ftrl, threads)
}

fn evaluate_dcn(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    evaluate(place, ModelKind::Dcn, threads)
}

fn evaluate(place: &Place, kind: ModelKind, threads: Threads<'_>) -> Result<Work, Failure> {
    let dataset = Dataset::open(&place.prepared())?;
    let bundle = Bundle::open(&place.bundle(kind))?;
    let start = Instant::now();
    black_box(evaluate_view(&bundle, &dataset.view(), threads, &Interrupt::default())?);
    Ok(Work { rows: dataset.rows() as u64, seconds: start.elapsed().as_secs_f64() })
}

fn score_ftrl(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    score_text(place, ModelKind::Ftrl, threads)
}

fn score_dcn(place: &Place, threads: Threads<'_>) -> Result<Work, Failure> {
    score_text(place, ModelKind::Dcn, threads)
}

/// Text → probabilities as text, which are thrown away.
fn score_text(place: &Place, kind: ModelKind, threads: Threads<'_>) -> Result<Work, Failure> {
    let bundle = Bundle::open(&place.bundle(kind))?;
    let (input, mut bad) = (Input::new(place.log()), BadRows::new(MAX_BAD_ROWS)?);
    let start = Instant::now();
    let mut out = std::io::sink();
    let rows = score((&bundle, Tier::Full), &input, &mut bad, threads, &mut out, &mut |_| (), &Interrupt::default())?;
    Ok(Work { rows, seconds: start.elapsed().as_secs_f64() })
}

fn schema() -> Result<Schema> {
    Schema::resolve("criteo", |_| unreachable!("a preset is no file"))
}

fn settings(kind: ModelKind, flags: &[&str], dataset: &Dataset) -> Result<Settings> {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let clicks = dataset.manifest().clicks as usize;
    let evidence = Evidence { rows: dataset.rows(), clicks };
    Settings::resolve(kind, &from_flags(&flags)?, dataset.schema(), evidence, "bench")
}
