use proptest::prelude::*;

use super::*;

const SECOND: Bidding = Bidding { auction: Auction::Second, value_per_click: 10.0, shading: 1.0 };

/// A market of one block for each row; clicks are known where they are 0 or 1.
fn market(rows: &[(f64, f64)]) -> Market {
    let known = |clicks: f64| [(0.0, false), (1.0, true)].into_iter().find(|of| of.0 == clicks).map(|of| of.1);
    Market {
        price: rows.iter().map(|row| row.0).collect(),
        clicks: rows.iter().map(|row| row.1).collect(),
        clicked: rows.iter().map(|row| known(row.1)).collect(),
        block: (0..rows.len() as u32).collect(),
        blocks: rows.len(),
    }
}

fn surplus(total: &Tally, bidding: &Bidding) -> f64 {
    bidding.value_per_click * total.clicks - total.cost
}

/// Uniform numbers in [0, 1), the same every time.
fn uniforms(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A market whose clicks are the true probabilities, and these.
fn known_truth(rows: usize, seed: u64) -> (Market, Vec<f64>) {
    let mut uniform = uniforms(seed);
    let mut truth = Vec::with_capacity(rows);
    let mut of = Vec::with_capacity(rows);
    let mut clicked = Vec::with_capacity(rows);
    for _ in 0..rows {
        let p = 0.02 + 0.3 * uniform() * uniform();
        of.push((20.0 * p * uniform() + 0.01, p));
        clicked.push(Some(uniform() < p));
        truth.push(p);
    }
    let mut market = market(&of);
    market.clicked = clicked;
    market.block = (0..rows as u32).map(|row| row / 10).collect();
    market.blocks = rows.div_ceil(10);
    (market, truth)
}

#[test]
fn a_small_auction_by_hand() {
    // Bids are 10 p: 2, 5, 1, 4, 3.
    let probabilities = [0.2, 0.5, 0.1, 0.4, 0.3];
    let market = market(&[(1.0, 0.0), (3.0, 1.0), (2.0, 1.0), (4.0, 0.0), (2.5, 1.0)]);
    let all = replay(&market, &probabilities, None, &SECOND, Spending::Unlimited);
    // The third is lost at 1 against 2; the fourth is won at a tie.
    let total = all.total();
    assert_eq!((total.impressions, total.clicks, total.cost), (4.0, 2.0, 10.5));
    assert_eq!(surplus(&total, &SECOND), 9.5);
    assert_eq!((all.ended, all.multiplier), (None, 1.0));
    assert_eq!(all.blocks[1], Tally { impressions: 1.0, clicks: 1.0, cost: 3.0, ..Tally::default() });

    // 1 + 3 = 4 of 7 are spent when 4 is asked for: the campaign ends, though 2.5 could still be paid.
    let limited = replay(&market, &probabilities, None, &SECOND, Spending::UntilGone(7.0));
    assert_eq!((limited.total().impressions, limited.total().cost, limited.ended), (2.0, 4.0, Some(3)));
    let exact = replay(&market, &probabilities, None, &SECOND, Spending::UntilGone(8.0));
    assert_eq!((exact.total().cost, exact.ended), (8.0, Some(4)));

    // In a first-price auction at four fifths of the value the bids are 1.6, 4, 0.8, 3.2, 2.4, and are paid.
    let first = Bidding { auction: Auction::First, shading: 0.8, ..SECOND };
    let total = replay(&market, &probabilities, None, &first, Spending::Unlimited).total();
    assert_eq!((total.impressions, total.clicks), (2.0, 1.0));
    assert!((total.cost - 5.6).abs() < 1e-12);
}

#[test]
fn over_bid_money_by_hand() {
    // Bids 6, 6, 6; calibrated ones 2, 4, 8.
    let market = market(&[(3.0, 0.0), (3.0, 1.0), (5.0, 1.0)]);
    let replayed = replay(&market, &[0.6; 3], Some(&[0.2, 0.4, 0.8]), &SECOND, Spending::Unlimited);
    let total = replayed.total();
    assert_eq!((total.impressions, total.cost), (3.0, 11.0));
    // Only the first would not have been bought.
    assert_eq!((total.overbid_impressions, total.overbid_clicks, total.overbid_cost), (1.0, 0.0, 3.0));
}

#[test]
fn pacing_spends_the_budget_over_the_whole_log() {
    let (market, truth) = known_truth(50_000, 3);
    let all = replay(&market, &truth, None, &SECOND, Spending::Unlimited).total();
    for share in [0.02, 0.1, 0.3, 0.7] {
        let budget = share * all.cost;
        let gone = replay(&market, &truth, None, &SECOND, Spending::UntilGone(budget));
        let paced = replay(&market, &truth, None, &SECOND, Spending::Paced(budget));
        let (early, late) = (gone.total(), paced.total());
        let ended = gone.ended.unwrap() as f64 / 50_000.0;
        assert!((ended - share).abs() < 0.03, "without pacing {share} of the money is gone after {ended} of the rows");
        assert!(late.cost <= budget && late.cost > 0.97 * budget, "{share}: {} of {budget}", late.cost);
        assert!(paced.ended.is_none_or(|row| row > 47_500), "{share}: ended at {:?}", paced.ended);
        assert!(paced.multiplier < 1.0);
        // The same money buys the better impressions of the whole log.
        assert!(surplus(&late, &SECOND) > surplus(&early, &SECOND) * 1.02, "{share}");
    }
    // More money than can be spent changes nothing.
    assert_eq!(replay(&market, &truth, None, &SECOND, Spending::Paced(3.0 * all.cost)).total(), all);
}

#[test]
fn calibrated_curves_know_nothing_of_a_rows_own_click() {
    let (market, truth) = known_truth(40_000, 5);
    for scale in [0.5, 1.0, 2.0] {
        let scaled: Vec<f64> = truth.iter().map(|p| (scale * p).min(1.0)).collect();
        let calibrated = cross_fitted(&market, &scaled).unwrap();
        let off = |column: &[f64]| column.iter().zip(&truth).map(|(a, b)| (a - b).abs()).sum::<f64>() / 40_000.0;
        assert!(off(&calibrated) < 0.01, "{scale}: {}", off(&calibrated));
        // Another click in one row moves the curves of the other folds only.
        let mut other = market.clone();
        other.clicked[7] = other.clicked[7].map(|clicked| !clicked);
        let moved = cross_fitted(&other, &scaled).unwrap();
        assert_eq!(moved[7], calibrated[7]);
        assert_ne!(moved, calibrated);
    }
    let few = market_of_clicks(24, 1_000);
    assert!(cross_fitted(&few, &vec![0.1; 1_000]).is_none());
    let enough = market_of_clicks(110, 1_000);
    assert!(cross_fitted(&enough, &vec![0.1; 1_000]).is_some_and(|of| of.iter().all(|p| (0.05..0.15).contains(p))));
    assert_eq!(cross_fitted(&Market::default(), &[]), Some(Vec::new()), "nothing to calibrate");
}

/// `clicks` of `rows` rows clicked, spread evenly.
fn market_of_clicks(clicks: usize, rows: usize) -> Market {
    let clicked = |row: usize| (row + 1) * clicks / rows > row * clicks / rows;
    market(&(0..rows).map(|row| (1.0, f64::from(u8::from(clicked(row))))).collect::<Vec<_>>())
}

#[test]
fn what_is_lost_by_over_bidding_is_what_calibration_gains() {
    // Of a model that only bids too much, in a second-price auction: not buying those impressions is all that changes.
    let (market, truth) = known_truth(40_000, 9);
    let doubled: Vec<f64> = truth.iter().map(|p| (2.0 * p).min(1.0)).collect();
    let calibrated = cross_fitted(&market, &doubled).unwrap();
    let total = replay(&market, &doubled, Some(&calibrated), &SECOND, Spending::Unlimited).total();
    let better = replay(&market, &calibrated, None, &SECOND, Spending::Unlimited).total();
    let lost = total.overbid_cost - SECOND.value_per_click * total.overbid_clicks;
    let gain = surplus(&better, &SECOND) - surplus(&total, &SECOND);
    assert!(lost > 0.1 * surplus(&total, &SECOND), "{lost}");
    assert!((lost / gain - 1.0).abs() < 0.02, "{lost} {gain}");
    // The truth itself loses next to nothing.
    let calibrated = cross_fitted(&market, &truth).unwrap();
    let total = replay(&market, &truth, Some(&calibrated), &SECOND, Spending::Unlimited).total();
    let of_truth = total.overbid_cost - SECOND.value_per_click * total.overbid_clicks;
    assert!(of_truth.abs() < 0.05 * lost, "{of_truth} {lost}");
}

/// The report on a market in memory.
fn judged(market: &Market, bidders: &[(&str, Vec<f64>)], budget: Option<f64>, threads: usize) -> AuctionReport {
    let input = Input::new("log.csv");
    let schema = Schema::resolve("demo", |_| unreachable!()).unwrap();
    let prices = PriceSchema::resolve("demo", &[], |_| unreachable!()).unwrap();
    let bootstrap = Bootstrap { resamples: 200, confidence: 0.95, seed: 1 };
    let task = Task {
        input: &input,
        schema: &schema,
        prices: &prices,
        candidates: &[],
        truth: None,
        bidding: SECOND,
        budget,
        blocks: BlockBy::Auto,
        bootstrap,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut last = (0, 1);
    let mut progress = |stage: Stage<'_>| {
        if let Stage::Replaying(done, of) = stage {
            last = (done, of);
        }
    };
    let judged = judge::judge(market, bidders, &task, Threads::of(&pool), &mut progress, &Interrupt::default())
        .expect("not interrupted");
    assert_eq!(last.0, last.1, "all work was told of");
    AuctionReport {
        log: "log.csv".into(),
        currency: "USD".into(),
        bidding: SECOND,
        budget,
        clicks: Clicks::Logged,
        resampling: Resampling { by: "10 rows".into(), blocks: market.blocks, bootstrap },
        rows: RowCounts { replayed: market.rows() as u64, ..RowCounts::default() },
        models: judged.0,
        scenarios: judged.1,
    }
}

#[test]
fn reports_add_up_and_are_the_same_at_any_number_of_threads() {
    let (market, truth) = known_truth(20_000, 11);
    let mut uniform = uniforms(1);
    let noisy: Vec<f64> = truth.iter().map(|p| (p * (0.4 + 1.2 * uniform())).min(1.0)).collect();
    let bidders = [("noisy", noisy), ("truth", truth.clone()), ("same", truth)];
    let report = judged(&market, &bidders, Some(500.0), 1);
    assert_eq!(report, judged(&market, &bidders, Some(500.0), 3));
    assert_eq!(report.scenarios.len(), 3);
    for scenario in &report.scenarios {
        for outcome in &scenario.outcomes {
            let Outcome { impressions, clicks, cost, surplus, win_rate, .. } = outcome;
            assert!((surplus.value - (10.0 * clicks.value - cost.value)).abs() < 1e-6);
            assert!((win_rate.value - impressions.value / 20_000.0).abs() < 1e-12);
            assert!((outcome.cpm.unwrap().value - 1000.0 * cost.value / impressions.value).abs() < 1e-9);
            assert!((outcome.ecpc.unwrap().value - cost.value / clicks.value).abs() < 1e-9);
            assert!(surplus.low.unwrap() < surplus.value && surplus.value < surplus.high.unwrap());
            assert!((outcome.spent[SPEND_POINTS - 1] - cost.value).abs() < 1e-6 && outcome.spent.is_sorted());
            assert_eq!(outcome.recalibration_gain.is_some(), scenario.spending == Spending::Unlimited);
        }
        let [noisy, truth, same] = &scenario.outcomes[..] else { panic!("three models") };
        assert_eq!(noisy.surplus_difference, None);
        assert_eq!(truth.surplus_difference, same.surplus_difference);
        assert!((truth.surplus_difference.unwrap().value - (truth.surplus.value - noisy.surplus.value)).abs() < 1e-9);
    }
    let unlimited = &report.scenarios[0].outcomes;
    let difference = unlimited[1].surplus_difference.unwrap();
    assert!(difference.low.unwrap() > 0.0, "the truth earns more: {difference:?}");
    // The pairing takes out what is common to both.
    let width = |of: &Estimate| of.high.unwrap() - of.low.unwrap();
    assert!(width(&difference) < width(&unlimited[1].surplus));
    assert!(report.models[1].log_loss_difference.unwrap().high.unwrap() < 0.0);

    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<AuctionReport>(&text).unwrap(), report);
    let [money, spending] = &report.drawings()[..] else { panic!("two pictures") };
    assert_eq!((money.series.len(), money.series[0].points.len()), (3, 3), "a color a way to spend, a line a model");
    assert_eq!(money.series[0].points[1].y, unlimited[1].surplus.value);
    assert!(spending.series.iter().all(|series| series.points.len() == SPEND_POINTS + 1));
    let csv = report.csv();
    let width = csv.lines().next().unwrap().split(',').count();
    assert_eq!(csv.lines().count(), 10);
    assert!(csv.lines().skip(1).filter(|line| !line.contains('"')).all(|line| line.split(',').count() == width));
    assert!(report.verdicts()[0].contains("truth earns more than noisy: +"), "{:?}", report.verdicts());
    let itself = judged(&market, &[bidders[1].clone(), bidders[2].clone()], None, 1);
    assert!(itself.verdicts()[0].contains("same earns what truth does"), "{:?}", itself.verdicts());
}

#[test]
fn a_model_that_never_wins_has_no_price_of_a_click() {
    let market = market_of_clicks(10, 100);
    let report = judged(&market, &[("shy", vec![0.01; 100])], None, 1);
    let outcome = &report.scenarios[0].outcomes[0];
    assert_eq!((outcome.impressions.value, outcome.cpm, outcome.ecpc), (0.0, None, None));
    assert_eq!(outcome.overbid, None, "ten clicks are too few to calibrate on");
    assert!(report.csv().contains(",,"));
}

#[test]
fn settings_out_of_bounds_are_named() {
    let input = Input::new("log.csv");
    let schema = Schema::resolve("demo", |_| unreachable!()).unwrap();
    let prices = PriceSchema::resolve("demo", &[], |_| unreachable!()).unwrap();
    let candidate = |name: &str| Candidate { name: name.into(), source: Source::Text("p.csv".into()) };
    let message = |change: &dyn Fn(&mut Task<'_>), names: &[&str]| {
        let candidates: Vec<Candidate> = names.iter().map(|name| candidate(name)).collect();
        let mut task = Task {
            input: &input,
            schema: &schema,
            prices: &prices,
            candidates: &candidates,
            truth: None,
            bidding: SECOND,
            budget: None,
            blocks: BlockBy::Auto,
            bootstrap: Bootstrap { resamples: 100, confidence: 0.95, seed: 1 },
        };
        change(&mut task);
        task.check().map_err(|error| error.to_string())
    };
    assert_eq!(message(&|_| (), &["a", "b"]), Ok(()));
    type Case<'a> = (&'a dyn Fn(&mut Task<'_>), &'a [&'a str], &'a str);
    let cases: [Case<'_>; 8] = [
        (&|task| task.bidding.value_per_click = 0.0, &["a"], "value_per_click"),
        (&|task| task.bidding.shading = 0.9, &["a"], "second-price"),
        (&|task| task.bidding.shading = f64::NAN, &["a"], "shading"),
        (&|task| task.budget = Some(-1.0), &["a"], "budget"),
        (&|task| task.bootstrap.resamples = 0, &["a"], "rounds"),
        (&|task| task.bootstrap.confidence = 1.0, &["a"], "confidence"),
        (&|_| (), &[], "at least one model"),
        (&|_| (), &["a", "a"], "\"a\" twice"),
    ];
    for (change, names, expected) in cases {
        let error = message(change, names).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

fn auctions() -> impl Strategy<Value = (Vec<(f64, f64)>, Vec<f64>)> {
    let row = (0.0..3.0_f64, prop::bool::ANY, 0.0..0.4_f64);
    prop::collection::vec(row, 1..200).prop_map(|rows| {
        let of = rows.iter().map(|(price, click, _)| (*price, f64::from(u8::from(*click)))).collect();
        (of, rows.iter().map(|row| row.2).collect())
    })
}

proptest! {
    #[test]
    fn more_money_buys_all_that_less_did((rows, probabilities) in auctions(), less in 0.0..40.0_f64, more in 0.0..40.0_f64) {
        let market = market(&rows);
        for auction in [Auction::Second, Auction::First] {
            let bidding = Bidding { auction, ..SECOND };
            let spend = |budget: f64| replay(&market, &probabilities, None, &bidding, Spending::UntilGone(budget));
            let (small, great) = (spend(less), spend(less + more));
            for (small, great) in small.blocks.iter().zip(&great.blocks) {
                prop_assert!(small.impressions <= great.impressions);
            }
            prop_assert!(small.total().cost <= less + 1e-9);
            prop_assert!(great.total().cost <= less + more + 1e-9);
        }
    }

    #[test]
    fn pacing_never_spends_more_than_there_is_and_never_bids_more((rows, probabilities) in auctions(), budget in 0.01..40.0_f64) {
        let market = market(&rows);
        for auction in [Auction::Second, Auction::First] {
            let bidding = Bidding { auction, ..SECOND };
            let paced = replay(&market, &probabilities, None, &bidding, Spending::Paced(budget));
            let all = replay(&market, &probabilities, None, &bidding, Spending::Unlimited);
            prop_assert!(paced.total().cost <= budget + 1e-9);
            prop_assert!(paced.multiplier <= 1.0);
            for (paced, all) in paced.blocks.iter().zip(&all.blocks) {
                prop_assert!(paced.impressions <= all.impressions && paced.cost <= all.cost + 1e-12);
            }
        }
    }

    #[test]
    fn the_truth_earns_more_than_any_multiple_of_it(seed in 0..1_000_u64, scale in 0.1..4.0_f64) {
        let (market, truth) = known_truth(300, seed);
        let scaled: Vec<f64> = truth.iter().map(|p| (scale * p).min(1.0)).collect();
        let [of_truth, of_scaled] = [&truth, &scaled]
            .map(|bids| surplus(&replay(&market, bids, None, &SECOND, Spending::Unlimited).total(), &SECOND));
        prop_assert!(of_truth >= of_scaled - 1e-9, "{of_truth} {of_scaled}");
    }
}
