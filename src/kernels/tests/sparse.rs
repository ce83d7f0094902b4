//! Tables: FTRL, gathered sums and rows.

use super::super::{
    EMPTY_SLOT, FtrlRates, ftrl_logit, ftrl_update, ftrl_weight, gather_rows, gather_sum, prefetch, reference,
    scatter_add_rows,
};
use super::{SIZES, bits, numbers, on_every_isa};

const RATES: FtrlRates = FtrlRates { alpha: 0.1, beta: 1.0, l1: 0.5, l2: 0.25 };

/// Slots of a small table, some of them empty, many of them twice.
fn slots(count: usize, table: usize, seed: u64) -> Vec<u32> {
    let slot = |x: &f32| if *x > 0.9 { EMPTY_SLOT } else { (x.abs() * table as f32) as u32 % table as u32 };
    numbers(count, seed).iter().skip(1).map(slot).collect()
}

#[test]
fn ftrl_follows_the_paper() {
    on_every_isa(|| {
        let table = 50;
        let mut pairs = vec![[0.0f32; 2]; table];
        let mut truth = reference::Ftrl::new(table, &RATES);
        let mut logits = Vec::new();
        for row in 0..2000u64 {
            let slots = slots(SIZES[row as usize % 12], table, row);
            let (got, expected) = (ftrl_logit(&pairs, &slots, &RATES), truth.logit(&slots));
            assert!((f64::from(got) - expected).abs() < 2e-3, "row {row}: {got} {expected}");
            logits.push(got);
            let gradient = if row % 3 == 0 { -0.7 } else { 0.3 };
            ftrl_update(&mut pairs, &slots, gradient, &RATES);
            truth.update(&slots, f64::from(gradient));
        }
        for (pair, (&z, &n)) in pairs.iter().zip(truth.z.iter().zip(&truth.n)) {
            assert!((f64::from(pair[0]) - z).abs() < 1e-2, "{pair:?} {z}");
            assert!((f64::from(pair[1]) / n - 1.0).abs() < 1e-4, "{pair:?} {n}");
        }
        assert!(logits.iter().any(|&logit| logit != 0.0));
        bits(&logits)
    });
}

#[test]
fn ftrl_weights_are_zero_up_to_l1_and_shrink_beyond() {
    assert_eq!(ftrl_weight(0.5, 4.0, &RATES), 0.0);
    assert_eq!(ftrl_weight(-0.5, 4.0, &RATES), 0.0);
    // −(1.5 − 0.5) / ((1 + 2) / 0.1 + 0.25)
    assert!((ftrl_weight(1.5, 4.0, &RATES) + 1.0 / 30.25).abs() < 1e-8);
    assert!((ftrl_weight(-1.5, 4.0, &RATES) - 1.0 / 30.25).abs() < 1e-8);
    assert!(ftrl_weight(f32::NAN, 1.0, &RATES).is_nan());
    let no_penalty = FtrlRates { l1: 0.0, ..RATES };
    assert_eq!(ftrl_weight(0.0, 0.0, &no_penalty), 0.0);
    assert!(ftrl_weight(0.1, 0.0, &no_penalty) < 0.0);
}

#[test]
fn a_slot_that_occurs_twice_is_stepped_twice() {
    let (mut together, mut apart) = (vec![[0.0f32; 2]; 3], vec![[0.0f32; 2]; 3]);
    ftrl_update(&mut together, &[1, EMPTY_SLOT, 1, 2], 0.9, &RATES);
    ftrl_update(&mut apart, &[1], 0.9, &RATES);
    ftrl_update(&mut apart, &[1, 2], 0.9, &RATES);
    assert_eq!(together, apart);
    assert_eq!(together[0], [0.0, 0.0]);
}

#[test]
fn gathered_sums_and_rows() {
    on_every_isa(|| {
        for count in SIZES {
            let table = 40;
            let slots = slots(count, table, count as u64);
            for dim in [0, 1, 3, 16, 17] {
                let values = numbers(table * dim, 18);
                let values = &values[1..];
                let mut rows = vec![9.0; count * dim];
                gather_rows(values, dim, &slots, &mut rows);
                let mut sums = values.to_vec();
                scatter_add_rows(&mut sums, dim, &slots, &rows);
                let mut expected = values.to_vec();
                for (at, &got) in rows.iter().enumerate() {
                    let (slot, column) = (slots[at / dim], at % dim);
                    if slot == EMPTY_SLOT {
                        assert_eq!(got, 0.0);
                    } else {
                        assert_eq!(got, values[slot as usize * dim + column]);
                        expected[slot as usize * dim + column] += got;
                    }
                }
                assert_eq!(bits(&sums), bits(&expected));
            }
            let weights = numbers(table, 19);
            let present = slots.iter().filter(|&&slot| slot != EMPTY_SLOT);
            let expected = present.fold(0.0, |sum, &slot| sum + weights[slot as usize]);
            assert_eq!(gather_sum(&weights, &slots).to_bits(), expected.to_bits());
        }
    });
    prefetch::<f32>(&[], 7);
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_slot_outside_the_table_is_refused() {
    ftrl_logit(&[[0.0; 2]; 4], &[4], &RATES);
}
