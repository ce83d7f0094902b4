//! Bundles that earlier versions wrote → the probabilities they gave then.
//!
//! `format-N/` holds bundles as the last version with that format wrote them, some rows, and what `pctr score` of that version
//! wrote for them.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use pctr::learn::Interrupt;
use pctr::learn::score::score;
use pctr::learn::source::{BadRows, Input};
use pctr::model::Threads;
use pctr::model::bundle::{Bundle, Tier};

/// What `pctr score` writes.
fn scored(bundle: &Bundle, tier: Tier, rows: &Path) -> String {
    let (mut out, mut bad) = (Vec::new(), BadRows::new(0.0).unwrap());
    let input = Input::new(rows);
    score((bundle, tier), &input, &mut bad, Threads::one(), &mut out, &mut |_| {}, &Interrupt::default()).unwrap();
    String::from_utf8(out).unwrap()
}

fn numbers(scores: &str) -> Vec<f64> {
    scores.lines().skip(1).map(|p| p.parse().unwrap()).collect()
}

/// The network scores in 8 bits, whose first layers have read x₀ over other ranges since: its logits may move by what 8 bits
/// move them.
#[test]
fn bundles_of_format_1_score_as_they_did_and_have_a_base_rate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/format-1");
    for kind in ["ftrl", "dcn"] {
        let bundle = Bundle::open(&folder.join(kind)).unwrap();
        let expected = std::fs::read_to_string(folder.join(format!("{kind}.csv"))).unwrap();
        let got = scored(&bundle, Tier::Full, &folder.join("rows.csv"));
        match kind {
            "ftrl" => assert_eq!(got, expected),
            _ => {
                let (got, expected) = (numbers(&got), numbers(&expected));
                assert_eq!((got.len(), expected.len()), (40, 40));
                assert!(
                    got.iter().zip(&expected).all(|(got, expected)| (got / expected - 1.0).abs() < 0.01),
                    "{got:?}"
                );
            }
        }
        assert_eq!(bundle.tiers().collect::<Vec<_>>(), [Tier::Full, Tier::BaseRate]);
        let message = bundle.check_tier(Tier::Cheap).unwrap_err().to_string();
        assert!(message.contains("no cheap tier, only full and base-rate"), "{message}");
        let rate = bundle.manifest.profile.clicks as f64 / bundle.manifest.profile.rows as f64;
        let base_rate = numbers(&scored(&bundle, Tier::BaseRate, &folder.join("rows.csv")));
        assert_eq!(base_rate.len(), 40);
        assert!(base_rate.iter().all(|p| *p == base_rate[0] && (p / rate - 1.0).abs() < 0.01), "{base_rate:?}");
    }
}
