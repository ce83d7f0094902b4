//! A log whose truth was planted → what the analyses find in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::collisions::Collisions;
use super::contributions::contributions;
use super::importance::Importance;
use super::*;
use crate::learn::dataset::Dataset;
use crate::learn::prepare::{PrepareOptions, prepare};
use crate::learn::settings::{Settings, from_flags};
use crate::learn::source::Input;
use crate::learn::split::{Split, SplitConfig};
use crate::learn::trainer::{Task, train};
use crate::metrics::bootstrap::Estimate;
use crate::model::bundle::{Bundle, Model};
use crate::model::features::hash::uniform;

const SCHEMA: &str = "version = 1\nname = \"planted\"\n[fields]\ntime = { kind = \"time\" }\nclick = { kind = \"label\" }\n\
    strong = { kind = \"categorical\" }\nweak = { kind = \"categorical\" }\nnothing = { kind = \"categorical\" }\n\
    hour = { kind = \"categorical\" }\nnumber = { kind = \"numeric\", bins = \"quantile\" }\n";

/// Sixty rows a minute; each hour has its own click rate, `strong` moves the log-odds by ±1.2, `weak` by ±0.3, `number` by up to 2.
fn write_log(folder: &Path, rows: u64) -> Dataset {
    let mut log = "time,click,strong,weak,nothing,hour,number\n".to_owned();
    for row in 0..rows {
        let draw = |salt: u64| uniform(salt, row);
        let time = 1_700_002_800 + row as i64;
        let hour = time / 3_600;
        let (strong, weak, nothing) = ((draw(1) * 6.0) as u32, (draw(2) * 6.0) as u32, (draw(3) * 40.0) as u32);
        let sign = |value: u32| if value.is_multiple_of(2) { 1.0 } else { -1.0 };
        let of_hour = 2.0 * uniform(9, hour as u64) - 1.0;
        let logit = -2.0 + of_hour + 1.2 * sign(strong) + 0.3 * sign(weak) + 2.0 * draw(4);
        let click = u8::from(draw(5) < 1.0 / (1.0 + f64::exp(-logit)));
        log.push_str(&format!("{time},{click},s{strong},w{weak},n{nothing},h{hour},{}\n", draw(4)));
    }
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let schema = Schema::parse(SCHEMA, "planted").unwrap();
    let inputs = [Input::new(folder.join("log.csv"))];
    let target = folder.join("rows");
    prepare(&inputs, &schema, &target, PrepareOptions::default(), Threads::one(), &mut |_| (), &Interrupt::default())
        .unwrap();
    Dataset::open(&target).unwrap()
}

fn split(dataset: &Dataset) -> Split<'_> {
    SplitConfig::default().split(dataset, "t").unwrap()
}

fn subject(name: &str, kind: ModelKind, flags: &[&str], split: &Split<'_>) -> Subject {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let schema = split.train.dataset().schema();
    let settings = Settings::resolve(kind, &from_flags(&flags).unwrap(), schema, split.train.evidence(), "t").unwrap();
    let task = Task { train: split.train.clone(), valid: split.valid.clone(), settings: settings.clone(), seed: 3 };
    let trained = train(&task, Threads::one(), &mut |_| (), &Interrupt::default()).unwrap();
    Subject { name: name.to_owned(), bundle: trained.bundle, settings, seed: 3 }
}

/// What is not asked for by name is off.
fn nothing() -> AnalysisConfig {
    AnalysisConfig { importance: false, collisions: false, disagreements: 0, age: false, ..AnalysisConfig::default() }
}

/// Runs the analyses; exhibits by kind, and what was told on the way.
fn look(
    folder: &Path,
    subjects: Vec<Subject>,
    split: &Split<'_>,
    config: &AnalysisConfig,
    threads: usize,
) -> Result<(BTreeMap<String, Exhibit>, BTreeSet<String>)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let experiment = Experiment {
        folder,
        config,
        bootstrap: Bootstrap { resamples: 300, confidence: 0.95, seed: 1 },
        block_rows: 0,
        subjects,
        train: split.train.clone(),
        valid: split.valid.clone(),
        test: split.test.clone(),
    };
    let mut told = BTreeSet::new();
    let mut on_progress = |at: Progress<'_>| {
        told.insert(at.what.to_owned());
        assert!(at.rows <= at.total_rows || at.total_rows == 0, "{at:?}");
    };
    let shown = analyze(&experiment, Threads::of(&pool), &mut on_progress, &Interrupt::default())?;
    Ok((shown.into_iter().map(|exhibit| (exhibit.kind.clone(), exhibit)).collect(), told))
}

fn facts<T: serde::de::DeserializeOwned>(exhibits: &BTreeMap<String, Exhibit>, kind: &str) -> T {
    serde_json::from_value(exhibits[kind].facts.clone()).unwrap()
}

fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder.join(ANALYSIS)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn permuting_finds_what_was_planted_and_no_time_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 120_000);
    let split = split(&dataset);
    let groups = [("pair".to_owned(), vec!["strong".to_owned(), "weak".to_owned()])].into_iter().collect();
    let config = AnalysisConfig { importance: true, rows: 20_000, groups, ..nothing() };
    let all = subject("all", ModelKind::Ftrl, &["bits=16"], &split);
    let blind = subject("blind", ModelKind::Ftrl, &["bits=16", "features=[\"weak\",\"hour\"]"], &split);
    let (exhibits, told) = look(folder.path(), vec![all, blind], &split, &config, 1).unwrap();
    let [of_all, of_blind]: [Importance; 2] = facts(&exhibits, "importance");
    let find = |of: &Importance, name: &str| of.fields.iter().find(|unit| unit.name == name).unwrap().clone();

    let ranked: Vec<&str> = of_all.fields.iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(ranked[..3], ["strong", "number", "weak"]);
    for name in ["strong", "number", "weak"] {
        let unit = find(&of_all, name);
        assert!(unit.loss_increase.low.unwrap() > 0.0 && unit.auc_drop.unwrap().low.unwrap() > 0.0, "{unit:?}");
        assert!(unit.sd_over_repeats.unwrap() < 0.5 * unit.loss_increase.value, "{unit:?}");
    }
    let noise = find(&of_all, "nothing");
    assert!(
        noise.used && noise.loss_increase.value.abs() < 0.05 * find(&of_all, "weak").loss_increase.value,
        "{noise:?}"
    );
    // The model leans on the hour, but a field that only tells the time says nothing at a given time.
    let hour = find(&of_all, "hour");
    assert!(
        hour.used && hour.loss_increase.value.abs() < 1e-12 && hour.auc_drop.unwrap().value.abs() < 1e-12,
        "{hour:?}"
    );
    let pair = &of_all.groups[0];
    assert_eq!(pair.fields, ["strong", "weak"]);
    assert!(pair.loss_increase.value > find(&of_all, "strong").loss_increase.value);

    let unseen = find(&of_blind, "strong");
    assert!(
        !unseen.used && unseen.loss_increase == Estimate { value: 0.0, low: Some(0.0), high: Some(0.0) },
        "{unseen:?}"
    );
    assert!(find(&of_blind, "weak").loss_increase.low.unwrap() > 0.0);
    assert_eq!(told, BTreeSet::from(["importance all".to_owned(), "importance blind".to_owned()]));
    assert_eq!(exhibits["importance"].tables.len(), 4);
}

#[test]
fn training_without_a_field_finds_what_it_was_worth_and_trains_once() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 40_000);
    let split = split(&dataset);
    let settings = ["bits=16", "crosses=[[\"strong\",\"weak\"]]"];
    let model = || subject("lr", ModelKind::Ftrl, &settings, &split);
    let ablate = Ablate::Named(["strong", "nothing"].map(str::to_owned).to_vec());
    let config = AnalysisConfig { ablate, seeds: vec![3, 4], ..nothing() };
    let (exhibits, told) = look(folder.path(), vec![model()], &split, &config, 1).unwrap();
    let [found]: [ablation::Ablation; 1] = facts(&exhibits, "ablation");
    let [strong, noise] = &found.without[..] else { panic!("{found:?}") };
    assert_eq!((strong.name.as_str(), noise.name.as_str()), ("strong", "nothing"));
    assert!(strong.difference.low.unwrap() > 0.05, "{strong:?}");
    assert!(noise.difference.low.unwrap() <= 0.0 && noise.difference.value.abs() < 0.01, "{noise:?}");
    assert!((strong.log_loss - found.log_loss - strong.difference.value).abs() < 1e-12);
    // The model itself is there already with seed 3; the others were trained.
    assert!(told.contains("lr") && told.contains("lr without strong"), "{told:?}");

    let first = bytes(folder.path());
    let (_, told) = look(folder.path(), vec![model()], &split, &config, 2).unwrap();
    assert!(told.is_empty(), "nothing is trained twice: {told:?}");
    assert_eq!(bytes(folder.path()), first);
}

#[test]
fn more_rows_help_and_what_is_no_longer_asked_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 40_000);
    let split = split(&dataset);
    let config = AnalysisConfig { learning_curve: true, age: true, ..nothing() };
    let model = subject("lr", ModelKind::Ftrl, &["bits=16", "passes=1"], &split);
    let (exhibits, _) = look(folder.path(), vec![model], &split, &config, 1).unwrap();
    let [found]: [learning_curve::LearningCurve; 1] = facts(&exhibits, "learning-curve");
    assert_eq!(found.points.iter().map(|point| point.rows).collect::<Vec<_>>()[4], split.train.rows() as u64);
    assert!(found.points[0].above_most.low.unwrap() > 0.0, "{:?}", found.points);
    assert_eq!(found.points[4].above_most.value, 0.0);
    let gain = found.gain_of_doubling.unwrap();
    assert!(gain.value >= 0.0 && gain.value < found.points[0].above_most.value, "{gain:?}");

    let model = subject("lr", ModelKind::Ftrl, &["bits=16", "passes=1"], &split);
    let (left, _) = look(folder.path(), vec![model], &split, &AnalysisConfig { age: true, ..nothing() }, 1).unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["age"]);
    assert_eq!(bytes(folder.path()).keys().collect::<Vec<_>>(), ["60-age.json"]);
}

#[test]
fn collisions_are_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 40_000);
    let split = split(&dataset);
    let config = AnalysisConfig { collisions: true, collision_cost: true, ..nothing() };
    let small = subject(
        "small",
        ModelKind::Ftrl,
        &["bits=8", "crosses=[[\"strong\",\"nothing\"],[\"weak\",\"nothing\"]]"],
        &split,
    );
    let exact = subject("exact", ModelKind::Ftrl, &["min_count=1"], &split);
    let bundle = small.bundle.clone();
    let (exhibits, _) = look(folder.path(), vec![small, exact], &split, &config, 2).unwrap();
    let [small, exact]: [Collisions; 2] = facts(&exhibits, "collisions");

    // By hand: every value of every span, and the slots of the rows as the model sees them.
    let spans = bundle.indexer.layout().spans.clone();
    let encoder = split.train.dataset().encoder();
    let position = |name: &str| encoder.features().position(|(known, _)| known == name).unwrap();
    let parts: Vec<Vec<usize>> = spans.iter().map(|span| span.name.split('*').map(position).collect()).collect();
    let mut owners: BTreeMap<u32, BTreeSet<(usize, Vec<u32>)>> = BTreeMap::new();
    let mut occurrences: Vec<Vec<u32>> = vec![Vec::new(); spans.len()];
    let mut slots = Vec::new();
    for piece in split.train.pieces() {
        for row in piece.codes.chunks(dataset.width()) {
            bundle.indexer.index(row, &mut slots);
            for (span, slot) in slots.iter().enumerate() {
                let value: Vec<u32> = parts[span].iter().map(|part| row[*part]).collect();
                owners.entry(*slot).or_default().insert((span, value));
                occurrences[span].push(*slot);
            }
        }
    }
    assert_eq!(small.slots, owners.len() as u64);
    for (at, field) in small.fields.iter().enumerate() {
        let values = owners.values().flatten().filter(|(span, _)| *span == at).count() as u64;
        assert_eq!((field.name.as_str(), field.values), (spans[at].name.as_str(), values));
        assert_eq!(field.slots, occurrences[at].iter().collect::<BTreeSet<_>>().len() as u64, "{field:?}");
        let shared = occurrences[at].iter().filter(|slot| owners[slot].len() > 1).count() as f64;
        assert!((field.shared_rows - shared / occurrences[at].len() as f64).abs() < 1e-12, "{field:?}");
    }
    assert_eq!(small.values, owners.values().map(|of| of.len() as u64).sum::<u64>());
    let cross = small.fields.last().unwrap();
    assert!(cross.values == 240 && cross.shared_with_any > 0.5 && cross.shared_within > 0.3, "{cross:?}");
    let cost = small.cost.unwrap();
    assert!((cost.log_loss - cost.log_loss_without - cost.difference.value).abs() < 1e-12);
    assert!(cost.difference.low.unwrap() > 0.0, "500 values in 256 slots cost something: {cost:?}");
    assert!(cross.cost_on_shared_rows.unwrap().value > 0.0);
    assert!(
        exact.cost.is_none()
            && exact.fields.iter().all(|field| field.shared_with_any == 0.0 && field.slots == field.values)
    );
}

#[test]
fn contributions_add_up_and_say_who_pushes() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 20_000);
    let split = split(&dataset);
    let crossed = subject("crossed", ModelKind::Ftrl, &["bits=16", "crosses=[[\"strong\",\"weak\"]]"], &split);
    let plain = subject("plain", ModelKind::Ftrl, &["min_count=2"], &split);
    let deep = subject(
        "deep",
        ModelKind::Dcn,
        &["passes=1", "embedding_dim=4", "cross_layers=1", "cross_rank=0", "deep=[8]", "embedding_min_count=1"],
        &split,
    );
    let logit = |bundle: &Bundle, codes: &[u32]| f64::from(bundle.logits(codes, &mut Default::default())[0]);
    for row in [split.test.ranges()[0].start, split.test.ranges()[0].start + 77] {
        let codes = dataset.codes(row);
        for of in [&crossed, &plain] {
            let found = contributions(&of.bundle, codes);
            let sum: f64 = found.parts.iter().map(|part| part.1).sum();
            let Model::Ftrl(model) = &of.bundle.model else { panic!("a linear model") };
            assert!((found.rest - f64::from(model.bias)).abs() < 1e-5, "exact weights leave the bias");
            assert!((sum + found.rest - logit(&of.bundle, codes)).abs() < 1e-9);
        }
        // The difference of two linear models is the sum of the differences of their parts.
        let [a, b] = [&crossed, &plain].map(|of| contributions(&of.bundle, codes));
        let of =
            |parts: &[(String, f64)], name: &str| parts.iter().find(|part| part.0 == name).map_or(0.0, |part| part.1);
        let differences: f64 = a.parts.iter().map(|(name, part)| part - of(&b.parts, name)).sum();
        assert!((differences + a.rest - b.rest - (a.logit - b.logit)).abs() < 1e-9);
        // A network's part is the logit minus the logit with the field missing, and pushes as the truth does.
        let found = contributions(&deep.bundle, codes);
        let mut missing = codes.to_vec();
        missing[0] = crate::model::features::hash::missing_code(crate::model::features::hash::salt("strong"));
        let expected = logit(&deep.bundle, codes) - logit(&deep.bundle, &missing);
        assert!((of(&found.parts, "strong") - expected).abs() < 1e-6, "{found:?}");
    }
    let config = AnalysisConfig { disagreements: 5, ..nothing() };
    let (exhibits, _) = look(folder.path(), vec![crossed, plain, deep], &split, &config, 1).unwrap();
    let found: Vec<disagreements::Disagreements> = facts(&exhibits, "disagreements");
    assert_eq!(found.len(), 3);
    for pair in &found {
        assert_eq!(pair.examples.len(), 5);
        assert!(pair.examples.windows(2).all(|two| two[0].difference.abs() >= two[1].difference.abs()));
        assert!(pair.examples[0].difference.abs() >= pair.quantiles[2] && pair.quantiles[2] >= pair.quantiles[0]);
        let value = |field: &str| pair.examples[0].parts.iter().find(|part| part.field == field)?.value.clone();
        assert!(value("strong").unwrap().starts_with('s'), "as the log writes it: {:?}", value("strong"));
        let number = pair.examples[0].parts.iter().find(|part| part.field == "number").unwrap();
        assert!(number.value.as_ref().unwrap().contains('x'), "the range of a number: {number:?}");
    }
}

#[test]
fn everything_is_the_same_at_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 20_000);
    let split = split(&dataset);
    let subjects = || {
        let linear = subject("lr", ModelKind::Ftrl, &["bits=12"], &split);
        let deep = subject("dcn", ModelKind::Dcn, &["passes=1", "embedding_dim=4", "deep=[8]"], &split);
        vec![subject("base", ModelKind::BaseRate, &[], &split), linear, deep]
    };
    let config = AnalysisConfig {
        rows: 2_000,
        ablate: Ablate::Word("groups".into()),
        learning_curve: true,
        shares: vec![0.25, 0.5, 1.0],
        collision_cost: true,
        ..AnalysisConfig::default()
    };
    let runs = [1, 3].map(|threads| {
        let out = folder.path().join(threads.to_string());
        let (exhibits, _) = look(&out, subjects(), &split, &config, threads).unwrap();
        assert_eq!(exhibits.len(), 6, "base rates are passed over");
        bytes(&out)
    });
    assert_eq!(runs[0].len(), 6);
    assert!(runs[0] == runs[1]);
    let text = String::from_utf8(runs[0]["10-importance.json"].clone()).unwrap();
    let exhibit: Exhibit = serde_json::from_str(&text).unwrap();
    assert!(
        exhibit.charts[0].series.len() == 2
            && exhibit.tables.len() == 4
            && !text.contains("null,\n      null,\n      null")
    );
}

#[test]
fn what_cannot_be_looked_into_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write_log(folder.path(), 20_000);
    let split = split(&dataset);
    let model = || subject("lr", ModelKind::Ftrl, &["bits=12"], &split);
    let error = |split: &Split<'_>, config: &AnalysisConfig| {
        look(folder.path(), vec![model()], split, config, 1).unwrap_err().to_string()
    };
    let untrained = Split { train: View::new(&dataset, Vec::new()), ..split.clone() };
    let curve = AnalysisConfig { learning_curve: true, ..nothing() };
    assert!(error(&untrained, &curve).contains("need the training rows"), "{}", error(&untrained, &curve));
    let ablate = AnalysisConfig { ablate: Ablate::Named(vec!["strng".into()]), ..nothing() };
    assert!(error(&split, &ablate).contains("did you mean \"strong\"?"), "{}", error(&split, &ablate));
    let models = AnalysisConfig { models: vec!["dcn".into()], ..nothing() };
    assert!(error(&split, &models).contains("there is no model \"dcn\""));
    assert!(!folder.path().join(ANALYSIS).exists(), "nothing was begun");

    let other = tempfile::tempdir().unwrap();
    let foreign =
        crate::learn::dataset::tests::write(other.path(), crate::learn::dataset::tests::SCHEMA, 100, |row| row as i64);
    assert_eq!(foreign.rows, 100);
    let foreign = Dataset::open(other.path()).unwrap();
    let rows = Split { train: foreign.view(), valid: foreign.view(), test: foreign.view() };
    let message = look(folder.path(), vec![model()], &rows, &nothing(), 1).unwrap_err().to_string();
    assert!(message.contains("expected data of schema planted"), "{message}");
}
