use std::collections::{HashMap, HashSet};
use std::io::{Error as IoError, ErrorKind};
use std::sync::LazyLock;

use super::*;
use crate::error::Kind;
use crate::metrics::{Predictions, ranking::Ranking};

/// A generated log, read back.
struct Log {
    text: String,
    truth: Vec<f64>,
    summary: Summary,
}

fn log(shape: Shape, rows: u64, seed: u64) -> Log {
    let (mut text, mut truth) = (Vec::new(), Vec::new());
    let summary =
        generate(shape, rows, seed, &mut text, Some(&mut truth), &mut |_| ControlFlow::Continue(())).expect("memory");
    let truth = String::from_utf8(truth).unwrap();
    let mut lines = truth.lines();
    assert_eq!(lines.next(), Some("p"));
    let truth = lines.map(|line| line.parse().unwrap()).collect();
    Log { text: String::from_utf8(text).unwrap(), truth, summary }
}

impl Log {
    fn rows(&self, separator: char) -> impl Iterator<Item = Vec<&str>> {
        self.text.lines().map(move |line| line.split(separator).collect())
    }

    fn labels(&self, shape: Shape) -> Vec<u8> {
        match shape {
            Shape::Demo | Shape::DemoPriced => self.rows(',').skip(1).map(|row| row[CLICK].parse().unwrap()).collect(),
            Shape::Criteo => self.rows('\t').map(|row| row[0].parse().unwrap()).collect(),
        }
    }
}

/// Four days of the demo log.
static DEMO: LazyLock<Log> = LazyLock::new(|| log(Shape::Demo, 160_000, 5));
static CRITEO: LazyLock<Log> = LazyLock::new(|| log(Shape::Criteo, 60_000, 5));

// Columns of the demo log.
const REQUEST: usize = 0;
const TIMESTAMP: usize = 1;
const CLICK: usize = 2;
const DELAY: usize = 3;
const USER: usize = 4;
const DEVICE: usize = 5;
const INTERESTS: usize = 10;
const SITE: usize = 11;
const APP: usize = 12;
const AD: usize = 16;
const CAMPAIGN: usize = 17;
const HOUR: usize = 19;
const WEEKDAY: usize = 20;
const USER_IMPRESSIONS: usize = 21;

#[test]
fn same_seed_same_bytes_and_a_longer_log_starts_with_a_shorter_one() {
    for shape in [Shape::Demo, Shape::Criteo] {
        let long = log(shape, 9_001, 1);
        for rows in [0, 257, 5_000] {
            let short = log(shape, rows, 1);
            assert_eq!(short.text.lines().count() as u64, rows + u64::from(shape == Shape::Demo));
            assert!(long.text.starts_with(&short.text), "{shape}, {rows} rows");
            assert_eq!(long.truth[..rows as usize], short.truth);
        }
        assert_ne!(long.text, log(shape, 9_001, 2).text);
    }
}

#[test]
fn truth_is_what_the_clicks_were_drawn_with() {
    for (shape, log) in [(Shape::Demo, &DEMO), (Shape::Criteo, &CRITEO)] {
        let labels = log.labels(shape);
        let mut rows: Vec<(f64, u8)> = log.truth.iter().copied().zip(labels.iter().copied()).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (bin, rows) in rows.chunks(rows.len() / 20).enumerate() {
            let expected: f64 = rows.iter().map(|(p, _)| p).sum();
            let variance: f64 = rows.iter().map(|(p, _)| p * (1.0 - p)).sum();
            let clicks: f64 = rows.iter().map(|(_, click)| f64::from(*click)).sum();
            assert!((clicks - expected).abs() < 4.5 * variance.sqrt(), "{shape} {bin}: {clicks}, not {expected}");
        }
        let summary = &log.summary;
        let losses =
            log.truth.iter().zip(&labels).map(|(p, &click)| if click == 1 { -p.ln() } else { -(1.0 - p).ln() });
        let count = labels.len() as f64;
        assert_eq!(summary.rows, labels.len() as u64);
        assert_eq!(summary.clicks, labels.iter().map(|&click| u64::from(click)).sum::<u64>());
        assert!((summary.mean_pctr - log.truth.iter().sum::<f64>() / count).abs() < 1e-9);
        assert!((summary.oracle_log_loss - losses.sum::<f64>() / count).abs() < 1e-9);
        assert!((summary.oracle_log_loss / summary.entropy - 1.0).abs() < 0.03);
    }
}

#[test]
fn every_seed_is_about_equally_hard() {
    for seed in 0..3 {
        for (shape, rows, ctr, loss, area) in [
            (Shape::Demo, 100_000, 0.025..0.035, 0.105..0.125, 0.77..0.83),
            (Shape::Criteo, 30_000, 0.24..0.26, 0.375..0.395, 0.85..0.88),
        ] {
            let log = log(shape, rows, seed);
            let auc = Ranking::new(&Predictions::new(&log.labels(shape), &log.truth, None)).auc().unwrap();
            let (mean, entropy) = (log.summary.mean_pctr, log.summary.entropy);
            assert!(
                ctr.contains(&mean) && loss.contains(&entropy) && area.contains(&auc),
                "{shape} {mean} {entropy} {auc}"
            );
        }
    }
}

#[test]
fn criteo_rows_have_the_original_columns() {
    let mut missing = [0u32; 40];
    let mut values = vec![HashSet::new(); 40];
    for row in CRITEO.rows('\t') {
        assert_eq!(row.len(), 40);
        assert!(matches!(row[0], "0" | "1"));
        for (column, cell) in row.iter().enumerate().skip(1) {
            if cell.is_empty() {
                missing[column] += 1;
            } else if column <= 13 {
                assert!(cell.parse::<i32>().unwrap() >= if column == 2 { -2 } else { 0 });
            } else {
                assert!(
                    cell.len() == 8 && cell.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
                    "{cell}"
                );
                values[column].insert(cell.to_owned());
            }
        }
    }
    let share = |column: usize| f64::from(missing[column]) / 60_000.0;
    assert!((share(1) - 0.45).abs() < 0.01 && (share(12) - 0.77).abs() < 0.01, "I1, I12");
    assert!((share(35) - 0.76).abs() < 0.01 && missing[14] == 0, "C22, C1");
    assert!(values[22].len() == 3 && values[19].len() == 24, "C9, C6");
    assert!(values[14].len() > 1_000 && values[14].len() <= 1_460, "C1: {}", values[14].len());
    assert!(values[16].len() > 15_000, "C3: {}", values[16].len());
}

#[test]
fn demo_columns_are_those_of_its_schema() {
    let schema: toml::Table = include_str!("../../../data/schemas/demo.toml").parse().unwrap();
    let fields = schema["fields"].as_table().unwrap();
    let columns: Vec<&str> =
        fields.iter().filter(|(_, field)| field.get("column").is_none()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(DEMO.rows(',').next().unwrap(), columns);
}

#[test]
fn demo_rows_are_in_time_order_and_consistent() {
    let mut before = 0;
    let mut requests: HashMap<&str, (&str, HashSet<&str>)> = HashMap::new();
    for row in DEMO.rows(',').skip(1) {
        assert_eq!(row.len(), 26);
        let time: u64 = row[TIMESTAMP].parse().unwrap();
        assert!(time >= before);
        before = time;
        assert_eq!(row[HOUR].parse::<u64>().unwrap(), time / 3600 % 24);
        // 1 January 1970 was a Thursday.
        assert_eq!(row[WEEKDAY], ["thu", "fri", "sat", "sun", "mon", "tue", "wed"][(time / 86_400 % 7) as usize]);
        assert_ne!(row[SITE].is_empty(), row[APP].is_empty());
        assert_eq!(row[CLICK] == "1", !row[DELAY].is_empty());
        assert!((1..=6).contains(&row[INTERESTS].split('|').filter(|tag| !tag.is_empty()).count()));
        let (user, campaigns) = requests.entry(row[REQUEST]).or_insert_with(|| (row[USER], HashSet::new()));
        assert_eq!(*user, row[USER]);
        assert!(campaigns.insert(row[CAMPAIGN]), "one campaign twice in request {}", row[REQUEST]);
    }
    let shown: Vec<usize> = requests.values().map(|(_, campaigns)| campaigns.len()).collect();
    assert!((1..=4).all(|count| shown.contains(&count)) && shown.iter().all(|&count| count <= 4));
}

#[test]
fn counters_know_the_past_only() {
    // Everything is recounted from the rows before; a click counts from the second after it happened.
    let mut impressions: HashMap<&str, u32> = HashMap::new();
    let mut clicks: HashMap<&str, Vec<u64>> = HashMap::new();
    let rows: Vec<Vec<&str>> = DEMO.rows(',').skip(1).take(60_000).collect();
    let (mut non_zero, mut waiting) = (0, 0);
    for request in rows.chunk_by(|a, b| a[REQUEST] == b[REQUEST]) {
        for row in request {
            let time: u64 = row[TIMESTAMP].parse().unwrap();
            for (id, column) in [(row[USER], USER_IMPRESSIONS), (row[AD], USER_IMPRESSIONS + 2)] {
                assert_eq!(row[column].parse::<u32>().unwrap(), impressions.get(id).copied().unwrap_or(0), "{row:?}");
                let all = clicks.get(id).map_or(&[][..], Vec::as_slice);
                let arrived = all.iter().filter(|&&click| click < time).count();
                assert_eq!(row[column + 1].parse::<usize>().unwrap(), arrived, "{row:?}");
                non_zero += usize::from(arrived > 0);
                waiting += all.len() - arrived;
            }
        }
        for row in request {
            for id in [row[USER], row[AD]] {
                *impressions.entry(id).or_default() += 1;
                if let Ok(delay) = row[DELAY].parse::<u64>() {
                    clicks.entry(id).or_default().push(row[TIMESTAMP].parse::<u64>().unwrap() + delay);
                }
            }
        }
    }
    assert!(non_zero > 10_000 && waiting > 0, "{non_zero} {waiting}");
}

#[test]
fn ads_appear_and_disappear() {
    let rows: Vec<Vec<&str>> = DEMO.rows(',').skip(1).collect();
    let (first_day, last_day) = (&rows[..40_000], &rows[120_000..]);
    let busiest = |rows: &[Vec<&str>]| {
        let mut impressions: HashMap<String, usize> = HashMap::new();
        rows.iter().for_each(|row| *impressions.entry(row[AD].to_owned()).or_default() += 1);
        let mut ads: Vec<(usize, String)> = impressions.into_iter().map(|(ad, count)| (count, ad)).collect();
        ads.sort();
        ads.into_iter().rev().take(200).map(|(_, ad)| ad).collect::<Vec<_>>()
    };
    let absent = |ads: &[String], day: &[Vec<&str>]| {
        let shown: HashSet<&str> = day.iter().map(|row| row[AD]).collect();
        ads.iter().filter(|ad| !shown.contains(ad.as_str())).count()
    };
    let (disappeared, appeared) = (absent(&busiest(first_day), last_day), absent(&busiest(last_day), first_day));
    assert!((15..100).contains(&disappeared) && (15..100).contains(&appeared), "{disappeared} {appeared}");
}

#[test]
fn traffic_and_clicks_follow_the_clock() {
    let mut traffic = [0.0; 24];
    let mut phones = [(0.0, 0.0); 24];
    for (row, p) in DEMO.rows(',').skip(1).zip(&DEMO.truth) {
        let hour: usize = row[HOUR].parse().unwrap();
        traffic[hour] += 1.0;
        if matches!(row[DEVICE], "iphone" | "android-phone") {
            phones[hour].0 += p;
            phones[hour].1 += 1.0;
        }
    }
    assert!(traffic[20] > 4.0 * traffic[3], "{traffic:?}");
    let pctr = phones.map(|(sum, count)| sum / count);
    assert!(pctr[20] > 1.4 * pctr[10], "{pctr:?}");
}

#[test]
fn interests_decide_which_campaigns_are_clicked() {
    // The number of a campaign tells its topic; topics four apart are the two ends of an axis.
    let topics: HashMap<&str, usize> =
        demo::TAGS.iter().enumerate().map(|(tag, name)| (*name, tag / (demo::TAGS.len() / 8))).collect();
    let mut sums = [(0.0, 0.0); 8];
    for (row, p) in DEMO.rows(',').skip(1).zip(&DEMO.truth) {
        let campaign: usize = row[CAMPAIGN].strip_prefix("camp-").unwrap().parse().unwrap();
        let mut tags = row[INTERESTS].split('|').map(|tag| topics[tag]);
        let topic = tags.next().unwrap();
        if tags.all(|other| other == topic) {
            let sum = &mut sums[(campaign + 8 - topic) % 8];
            *sum = (sum.0 + p, sum.1 + 1.0);
        }
    }
    let pctr = sums.map(|(sum, count)| sum / count);
    assert!(pctr[0] > 3.0 * pctr[1] && pctr[1] > 2.0 * pctr[4], "{pctr:?}");
}

#[test]
fn stops_when_asked_and_reports_a_full_disk() {
    let mut seen = Vec::new();
    let stopped = generate(Shape::Criteo, 1 << 40, 1, &mut Vec::new(), None, &mut |rows| {
        seen.push(rows);
        if rows >= 8_192 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(seen, [4_096, 8_192]);

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(IoError::from(ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let go_on = &mut |_| ControlFlow::Continue(());
    let rows = generate(Shape::Demo, 10, 1, &mut Full, None, go_on).unwrap_err();
    assert!(rows.kind() == Kind::Io && rows.to_string().starts_with("rows: cannot write"), "{rows}");
    let truth = generate(Shape::Demo, 10, 1, &mut Vec::new(), Some(&mut Full), go_on).unwrap_err();
    assert!(truth.to_string().starts_with("truth: cannot write"), "{truth}");
}

#[test]
fn shapes_are_named_as_on_the_command_line() {
    for name in Shape::NAMES {
        assert_eq!(name.parse::<Shape>().unwrap().to_string(), name);
    }
    let error = "crite".parse::<Shape>().unwrap_err();
    assert!(error.kind() == Kind::Config && error.to_string().contains("did you mean \"criteo\""), "{error}");
}

/// The committed samples are what the generator writes; `data/README.md` says how to make them again.
#[test]
fn committed_samples_are_what_the_generator_writes() {
    let demo = log(Shape::Demo, 600, 1);
    let truth: String = demo.truth.iter().map(|p| format!("{p:.9}\n")).collect();
    assert!(demo.text == include_str!("../../../data/tiny/demo.csv"), "data/tiny/demo.csv");
    assert!(format!("p\n{truth}") == include_str!("../../../data/tiny/demo.truth.csv"), "data/tiny/demo.truth.csv");
    assert!(log(Shape::Criteo, 400, 1).text == include_str!("../../../data/tiny/criteo.tsv"), "data/tiny/criteo.tsv");
}

#[test]
fn prices_stand_behind_rows_that_are_the_same_without_them() {
    let (plain, priced) = (log(Shape::Demo, 20_000, 5), log(Shape::DemoPriced, 20_000, 5));
    assert_eq!((plain.truth, plain.summary), (priced.truth.clone(), priced.summary));
    assert!(log(Shape::DemoPriced, 5_000, 5).text.len() < priced.text.len());
    assert!(priced.text.starts_with(&log(Shape::DemoPriced, 5_000, 5).text));
    let mut prices = Vec::new();
    for (plain, priced) in plain.text.lines().zip(priced.text.lines()).skip(1) {
        let (row, price) = priced.rsplit_once(',').unwrap();
        assert_eq!(row, plain);
        let floor: f64 = row.rsplit_once(',').unwrap().1.parse().unwrap();
        let price: f64 = price.parse().unwrap();
        assert!(price >= floor && price <= 100.0, "{price} {floor}");
        prices.push(price);
    }
    assert!(priced.text.lines().next().unwrap().ends_with(",bid_floor,market_price"));
    // Others know something of what a click is worth: where clicks are likely, prices are higher.
    let mut rows: Vec<(f64, f64)> = priced.truth.into_iter().zip(prices).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = |rows: &[(f64, f64)]| rows.iter().map(|row| row.1).sum::<f64>() / rows.len() as f64;
    let (low, high) = (mean(&rows[..2_000]), mean(&rows[18_000..]));
    assert!(1.5 * low < high && high < 6.0 * low, "{low} {high}");
}
