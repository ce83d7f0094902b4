//! Each rung of the budget ladder is unbiased, also on the candidates that the ladder sends to it: known truth, held-out rows.
//!
//! Clicks come from a generator whose probabilities are known, so predictions are held against those and not against the clicks
//! drawn from them: PCOC here is Σ predicted / Σ true, free of the noise of held-out clicks. What is left is the noise of the
//! calibrators, which are fitted on 7,500 clicks: about 1 % as a whole, more in a part of the range.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod workspace;

use std::cell::Cell as Counter;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pctr::model::bundle::Tier;
use pctr::model::row::Cell;
use pctr::predict::LiveModel;
use pctr::predict::budget::Budget;
use pctr::predict::scorer::{Scratch, score};
use workspace::Workspace;

const TRAIN: usize = 80_000;
const VALID: usize = 30_000;
const TEST: usize = 40_000;
/// Candidates of a request.
const CANDIDATES: usize = 50;

/// Milliseconds between two looks at the clock.
const STEP: u64 = 120;

/// Held-out rows, their true probabilities, and a network with its companion.
struct World {
    rows: Vec<Vec<Vec<u8>>>,
    truth: Vec<f64>,
    model: LiveModel,
}

impl World {
    fn new() -> World {
        let workspace = Workspace::new();
        let rows = (TRAIN + VALID + TEST).to_string();
        let generate = ["generate", "--shape", "criteo", "--rows", &rows, "--seed", "11", "-o", "all.tsv"];
        workspace.ok(&[&generate[..], &["--truth", "truth.csv"]].concat());
        let log = workspace.read("all.tsv");
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        workspace.write("train.tsv", lines[..TRAIN].concat());
        workspace.write("valid.tsv", lines[TRAIN..TRAIN + VALID].concat());
        let train = ["train", "--model", "dcn", "--schema", "criteo", "--train", "train.tsv", "--valid", "valid.tsv"];
        workspace.ok(&[&train[..], &["--set", "passes=2", "-o", "bundle"]].concat());
        let cells =
            |line: &&str| line.trim_end_matches('\n').split('\t').map(|cell| cell.as_bytes().to_vec()).collect();
        let truth = workspace.read("truth.csv");
        World {
            rows: lines[TRAIN + VALID..].iter().map(cells).collect(),
            truth: truth.lines().skip(1 + TRAIN + VALID).map(|p| p.parse().unwrap()).collect(),
            model: LiveModel::open(&workspace.path("bundle")).unwrap(),
        }
    }

    /// Requests of rows that agree in a column, which is their context.
    fn requests(&self, column: Option<usize>) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (number, row) in self.rows.iter().enumerate() {
            groups.entry(column.map_or(&[][..], |column| &row[column])).or_default().push(number);
        }
        groups.values().flat_map(|rows| rows.chunks_exact(CANDIDATES).map(<[usize]>::to_vec)).collect()
    }

    /// Scores requests with `budget` ms on a clock that goes on by [`STEP`] ms between two looks, where the model is thought to
    /// take 10 ms a candidate and its companion a step for a request. Returns Σ predicted, Σ true and rows of each tier.
    fn ladder(&self, requests: &[Vec<usize>], column: Option<usize>, budget: u64) -> BTreeMap<Tier, (f64, f64, usize)> {
        let mut sums: BTreeMap<Tier, (f64, f64, usize)> = BTreeMap::new();
        let mut scratch = Scratch::default();
        for request in requests {
            // What steps took on this clock is forgotten again.
            for count in [1, 2, 4, 8, 16, 32, 64].repeat(20) {
                self.model.scorer.costs().record(Tier::Full, count, Duration::from_millis(10 * count as u64));
                self.model.scorer.costs().record(
                    Tier::Cheap,
                    count,
                    Duration::from_millis(STEP) * count as u32 / CANDIDATES as u32,
                );
            }
            let (started, looks) = (Instant::now(), Counter::new(0));
            let clock = || started + Duration::from_millis(STEP * looks.replace(looks.get() + 1));
            let budget = Budget::until(started + Duration::from_millis(budget), &clock);
            let cell = |row: usize, column: usize| (column, cell_of(&self.rows[row][column]));
            let context = column.iter().map(|column| cell(request[0], *column));
            let candidates = request.iter().map(|row| {
                (0..self.rows[*row].len()).filter(|other| Some(*other) != column).map(|column| cell(*row, column))
            });
            let scored = score(&self.model, context, candidates, &budget, &mut scratch).unwrap();
            for (row, scored) in request.iter().zip(scored) {
                let (predicted, truth, rows) = sums.entry(scored.tier).or_default();
                *predicted += scored.probability;
                *truth += self.truth[*row];
                *rows += 1;
            }
        }
        sums
    }
}

fn cell_of(text: &[u8]) -> Cell<'_> {
    if text.is_empty() { Cell::Missing } else { Cell::Text(text) }
}

#[test]
fn every_tier_is_unbiased_as_a_whole_and_where_the_ladder_puts_it() {
    let world = World::new();
    assert_eq!(world.rows.len(), TEST);
    let mut told = Vec::new();
    let mut check = |what: &str, sums: &BTreeMap<Tier, (f64, f64, usize)>, tier: Tier, within: f64| {
        let (predicted, truth, rows) = sums.get(&tier).copied().unwrap_or_default();
        let pcoc = predicted / truth;
        told.push(format!("{what}: {tier} on {rows} rows, PCOC {pcoc:.4} (within {within})"));
        rows >= 3_000 && (pcoc - 1.0).abs() <= within
    };
    let mut fine = true;

    // Every row by one tier.
    let mut scratch = pctr::model::bundle::ScoreScratch::default();
    let bundle = &world.model.bundle;
    let mut codes = vec![0; TEST * bundle.encoder.width()];
    for (row, codes) in world.rows.iter().zip(codes.chunks_exact_mut(bundle.encoder.width())) {
        let cells: Vec<Cell<'_>> = row.iter().map(|text| cell_of(text)).collect();
        bundle.encoder.encode(&cells, codes).unwrap();
    }
    for tier in Tier::ALL {
        let mut probabilities = Vec::new();
        bundle.score_tier(tier, &codes, &mut scratch, &mut probabilities);
        let whole = (probabilities.iter().sum(), world.truth.iter().sum(), TEST);
        fine &= check("all rows", &BTreeMap::from([(tier, whole)]), tier, 0.025);
    }

    // Requests whose candidates share nothing, or their context: after the cheap tier there is time for the model on 16 of 50.
    for column in [None, Some(14), Some(19)] {
        let requests = world.requests(column);
        let part = world.ladder(&requests, column, STEP + 170);
        let what = format!("{} requests that share column {column:?}", requests.len());
        fine &= check(&what, &part, Tier::Full, 0.04);
        fine &= check(&what, &part, Tier::Cheap, 0.04);
        let (best, rest) = (part[&Tier::Full], part[&Tier::Cheap]);
        // A request that begins with estimates off by a little may have one step more or less.
        let most = 16 * requests.len();
        assert!((most - most / 50..=most).contains(&best.2) && best.2 + rest.2 == 50 * requests.len(), "{part:?}");
        assert!(best.1 / best.2 as f64 > 1.5 * (rest.1 / rest.2 as f64), "the best get the model: {part:?}");
    }

    // No time at all.
    fine &= check("too late", &world.ladder(&world.requests(None), None, 0), Tier::BaseRate, 0.04);
    assert!(fine, "biased:\n{}", told.join("\n"));
}
