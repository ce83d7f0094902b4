//! `pctr auction`: prices and predictions in, money out; and clear refusals.

mod workspace;

use serde_json::Value;
use workspace::Workspace;

const SCHEMA: &str = "version = 1\nname = \"small\"\n[fields]\nclick = { kind = \"label\" }\nat = { kind = \"time\" }\n\
                      site = { kind = \"categorical\" }\n";
const PRICES: &str = "version = 1\nname = \"small\"\ncurrency = \"EUR\"\nunit = \"cpm\"\nmarket_price = \"paid\"\n";
/// Out of time order, and one row without a price.
const LOG: &str = "click,at,site,paid,won\n1,30,a,3000,1\n0,10,b,1000,1\n1,20,a,2000,0\n0,50,b,,1\n1,40,a,2500,1\n";

fn small() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("small.toml", SCHEMA);
    workspace.write("prices.toml", PRICES);
    workspace.write("log.csv", LOG);
    workspace.write("p.csv", "p\n0.5\n0.2\n0.1\n0.9\n0.3\n");
    workspace.write("double.csv", "p\n1\n0.4\n0.2\n1\n0.6\n");
    workspace
}

const SMALL: [&str; 10] = [
    "auction",
    "-q",
    "log.csv",
    "--schema",
    "small.toml",
    "--prices",
    "prices.toml",
    "--value-per-click",
    "10",
    "--json",
];

fn json(workspace: &Workspace, arguments: &[&[&str]]) -> Value {
    serde_json::from_str(&workspace.ok(&arguments.concat())).expect("results are JSON")
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {value}"))
}

#[test]
fn a_small_log_by_hand() {
    let workspace = small();
    // In time order prices are 1, 2, 3, 2.5 and bids 2, 1, 5, 3: all but the second row are won.
    let models: &[&str] = &["--model", "as-is=p.csv", "--model", "double.csv"];
    let report = json(&workspace, &[&SMALL, models, &["--budget", "5", "--blocks", "1"]]);
    assert_eq!(number(&report, "/rows/replayed"), 4.0);
    assert_eq!(number(&report, "/rows/no_price"), 1.0);
    let all = &report["scenarios"][0]["outcomes"];
    assert_eq!((all[0]["name"].as_str(), all[1]["name"].as_str()), (Some("as-is"), Some("double")));
    for (path, expected) in
        [("impressions", 3.0), ("clicks", 2.0), ("cost", 6.5), ("win_rate", 0.75), ("surplus", 13.5)]
    {
        assert_eq!(number(all, &format!("/0/{path}/value")), expected, "{path}");
    }
    // Twice the bids win the second row too: a click for 2.
    assert_eq!(number(all, "/1/surplus_difference/value"), 8.0);
    // Spending until 5 are gone: 1 and 3 are paid, 2.5 cannot be.
    let limited = &report["scenarios"][1]["outcomes"];
    assert_eq!((number(limited, "/0/cost/value"), number(limited, "/0/ended_at")), (4.0, 0.75));

    // With a column that says who won, the row that was lost has no known click.
    let report = json(&workspace, &[&SMALL, models, &["--set", "won=won"]]);
    assert_eq!((number(&report, "/rows/replayed"), number(&report, "/rows/lost")), (3.0, 1.0));
    // With the truth it has an expected one.
    workspace.write("truth.csv", "p\n0.5\n0.25\n0.5\n0.5\n0.25\n");
    let report = json(&workspace, &[&SMALL, models, &["--set", "won=won", "--truth", "truth.csv"]]);
    assert_eq!(number(&report, "/rows/replayed"), 4.0);
    assert_eq!(number(&report, "/scenarios/0/outcomes/0/clicks/value"), 1.0);
    // The bid is paid in a first-price auction.
    let report = json(&workspace, &[&SMALL, models, &["--auction", "first"]]);
    assert_eq!(number(&report, "/scenarios/0/outcomes/0/cost/value"), 10.0);
}

#[test]
fn files_and_table_hold_the_same_figures() {
    let workspace = small();
    let arguments = [&SMALL[..9], &["--model", "p.csv", "-o", "out.json", "-o", "out.csv"]].concat();
    let shown = workspace.ok(&arguments);
    for text in ["4 of 5 rows", "1 without a price", "surplus", "13.50", "EUR", "second price"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let report: Value = serde_json::from_str(&workspace.read("out.json")).unwrap();
    let csv = workspace.read("out.csv");
    let [header, row] = [0, 1].map(|line| csv.lines().nth(line).unwrap().split(',').collect::<Vec<_>>());
    let at = header.iter().position(|name| *name == "surplus").unwrap();
    assert_eq!(row[at].parse::<f64>().unwrap(), number(&report, "/scenarios/0/outcomes/0/surplus/value"));
}

#[test]
fn mistakes_are_told_before_any_work() {
    let workspace = small();
    let refused = |code: i32, base: &[&str], more: &[&str], expected: &str| {
        let before = workspace.names();
        let message = workspace.fails(code, &[base, more].concat());
        assert!(message.contains(expected), "expected {expected:?}: {message}");
        assert_eq!(workspace.names(), before);
    };
    let model: &[&str] = &["--model", "p.csv", "-o", "never.json"];
    let with = |more: &[&'static str]| [model, more].concat();
    workspace.write("unpriced.csv", LOG.replace(",paid,", ",price_paid,"));
    let mut unpriced = SMALL;
    unpriced[2] = "unpriced.csv";
    refused(3, &unpriced, model, "unpriced.csv:1: the header lacks the column \"paid\"");
    refused(3, &SMALL, &with(&["--set", "won=has_won"]), "lacks the column \"has_won\"");
    refused(2, &SMALL, &with(&["--set", "unit=cpc"]), "cpc");
    refused(2, &SMALL, &with(&["--budget", "0"]), "budget");
    refused(2, &SMALL, &with(&["--shading", "0.5"]), "second-price");
    refused(2, &SMALL, &with(&["--blocks", "group"]), "no field of kind \"group\"");
    refused(2, &SMALL, &with(&["-o", "out.txt"]), ".json or .csv");
    refused(2, &SMALL, &with(&["--model", "p.csv"]), "\"p\" twice");
    refused(4, &SMALL, &["--model", "nothing.csv"], "nothing.csv");
    refused(2, &SMALL, &[], "--model");
    let no_schema: Vec<&str> =
        SMALL.iter().copied().filter(|word| !["--schema", "small.toml"].contains(word)).collect();
    refused(2, &no_schema, model, "no model is a bundle");
    workspace.write("short.csv", "p\n0.5\n0.2\n");
    refused(3, &SMALL, &["--model", "short.csv"], "expected 5 probabilities, one for each row of the log, got 2");
    workspace.write("wrong.csv", "p\n0.5\n0.2\n0.1\n12\n0.3\n");
    refused(
        3,
        &SMALL,
        &["--model", "wrong.csv"],
        "wrong.csv:5: p: expected a probability from 0 to 1, or NaN, got \"12\"",
    );
    workspace.write("nan.csv", "p\nNaN\nNaN\nNaN\nNaN\nNaN\n");
    refused(3, &SMALL, &["--model", "nan.csv"], "no row can be replayed");
    workspace.write("log.csv", LOG.replace("1000", "free"));
    refused(3, &SMALL, &with(&["--max-bad-rows", "0"]), "paid: expected a finite price of at least 0, got \"free\"");
}

#[test]
fn a_bundle_that_saw_the_price_is_refused() {
    let workspace = small();
    workspace.write("leaky.toml", format!("{SCHEMA}paid = {{ kind = \"numeric\" }}\n"));
    workspace.ok(&[
        "train",
        "-q",
        "--model",
        "base-rate",
        "--schema",
        "leaky.toml",
        "--train",
        "log.csv",
        "-o",
        "leaky",
    ]);
    let message = workspace.fails(2, &[&SMALL[..], &["--model", "leaky"]].concat());
    assert!(message.contains("paid") && message.contains("no bidder knows it"), "{message}");
}

#[test]
fn better_models_earn_more_on_a_generated_log() {
    let workspace = Workspace::new();
    workspace.ok(&[
        "generate",
        "-q",
        "--shape",
        "demo-priced",
        "--rows",
        "90000",
        "--seed",
        "7",
        "--truth",
        "truth.csv",
        "-o",
        "all.csv",
    ]);
    let cut = |from: &str, head: &str, tail: &str| {
        let text = workspace.read(from);
        let lines: Vec<&str> = text.lines().collect();
        workspace.write(head, lines[..=50_000].join("\n"));
        workspace.write(tail, [&lines[..1], &lines[50_001..]].concat().join("\n"));
    };
    cut("all.csv", "train.csv", "later.csv");
    cut("truth.csv", "unused.csv", "later.truth.csv");
    for model in ["base-rate", "ftrl"] {
        workspace.ok(&["train", "-q", "--model", model, "--schema", "demo", "--train", "train.csv", "-o", model]);
    }
    workspace.ok(&["score", "-q", "ftrl", "later.csv", "-o", "scores.csv"]);
    let scores = workspace.read("scores.csv");
    let doubled = |text: &str| {
        let doubled: Vec<String> =
            text.lines().skip(1).map(|p| (2.0 * p.parse::<f64>().unwrap()).min(1.0).to_string()).collect();
        format!("p\n{}\n", doubled.join("\n"))
    };
    workspace.write("doubled.csv", doubled(&scores));
    workspace.write("doubled.truth.csv", doubled(&workspace.read("later.truth.csv")));
    let models: &[&str] = &[
        "--model",
        "base-rate",
        "--model",
        "ftrl",
        "--model",
        "scores.csv",
        "--model",
        "doubled.csv",
        "--model",
        "truth=later.truth.csv",
        "--model",
        "doubled-truth=doubled.truth.csv",
    ];
    let command: &[&str] = &["auction", "-q", "later.csv", "--prices", "demo", "--value-per-click", "0.10", "--json"];
    let expected = json(&workspace, &[command, models, &["--truth", "later.truth.csv", "--budget", "20"]]);
    let [base, ftrl, scores, doubled, truth, doubled_truth] = [0, 1, 2, 3, 4, 5];
    let surplus = |report: &Value, scenario: usize, model: usize| {
        number(report, &format!("/scenarios/{scenario}/outcomes/{model}/surplus/value"))
    };
    for scenario in 0..3 {
        let of = |model| surplus(&expected, scenario, model);
        assert!(of(base) < of(ftrl) && of(ftrl) < of(truth), "{scenario}: {} {} {}", of(base), of(ftrl), of(truth));
        // A bundle bids what its own scores bid.
        assert_eq!(of(ftrl), of(scores));
    }
    // Without a budget nothing earns more than bidding what an impression is worth. (Twice the bid of a *weak* model may: what
    // others pay more for is clicked more, and such a model does not know it.)
    let best = surplus(&expected, 0, truth);
    assert!(surplus(&expected, 0, doubled_truth) < best && surplus(&expected, 0, doubled) < best);
    // Pacing buys the better impressions of the whole log with the same money.
    assert!(surplus(&expected, 2, ftrl) > surplus(&expected, 1, ftrl));
    for model in [base, ftrl, truth] {
        assert!(number(&expected, &format!("/scenarios/2/outcomes/{model}/cost/value")) > 19.0);
    }

    let logged = json(&workspace, &[command, models]);
    let difference = number(&logged, &format!("/scenarios/0/outcomes/{truth}/surplus_difference/low"));
    assert!(difference > 0.0, "the truth earns more than the base rate: {difference}");
    let overbid = |model: usize| number(&logged, &format!("/scenarios/0/outcomes/{model}/overbid/cost/value"));
    let cost = |model: usize| number(&logged, &format!("/scenarios/0/outcomes/{model}/cost/value"));
    assert!(overbid(doubled) > 0.3 * cost(doubled), "{} of {}", overbid(doubled), cost(doubled));
    assert!(overbid(ftrl) < 0.2 * cost(ftrl), "{} of {}", overbid(ftrl), cost(ftrl));
    // The same bytes at any number of threads.
    let bytes = |threads: &str| workspace.ok(&[command, models, &["--threads", threads, "--rounds", "100"]].concat());
    assert_eq!(bytes("1"), bytes("3"));
}
