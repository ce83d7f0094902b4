//! FTRL against the paper, and what happens at its edges.

use super::super::{EMPTY_SLOT, FtrlRates, FtrlScratch, FtrlTask, ftrl_learn, ftrl_weight, ftrl_weights, reference};
use super::sparse::slots;
use super::{SIZES, bits, numbers, on_every_isa};

const RATES: FtrlRates = FtrlRates { alpha: 0.1, beta: 1.0, l1: 0.5, l2: 0.25 };

/// A table with the spare pair at its end, and a bias.
struct Table {
    pairs: Vec<[f32; 2]>,
    bias: [f32; 2],
    scratch: FtrlScratch,
}

impl Table {
    fn new(slots: usize) -> Self {
        Table { pairs: vec![[0.0; 2]; slots + 1], bias: [0.0; 2], scratch: FtrlScratch::default() }
    }

    fn learn(&mut self, slots: &[u32], labels: &[f32], weights: &[f32], rates: FtrlRates) -> Vec<f32> {
        let mut logits = vec![f32::NAN; labels.len()];
        let task = FtrlTask { pairs: &mut self.pairs, bias: &mut self.bias, slots, labels, weights, rates };
        ftrl_learn(task, &mut self.scratch, &mut logits);
        assert_eq!(self.pairs.last(), Some(&[0.0, 0.0]), "the spare pair stays as it is");
        logits
    }

    /// Bits of everything learned.
    fn bits(&self) -> Vec<u32> {
        bits(&[self.pairs.as_flattened(), &self.bias].concat())
    }
}

#[test]
fn every_row_follows_the_paper() {
    on_every_isa(|| {
        let mut all = Vec::new();
        for (width, rates) in
            SIZES.into_iter().take(14).zip([RATES, FtrlRates { l1: 0.0, l2: 0.0, ..RATES }].into_iter().cycle())
        {
            // The bias is the reference's last slot.
            let (size, rows) = (50, 300);
            let mut table = Table::new(size);
            let mut truth = reference::Ftrl::new(size + 1, &rates);
            let slots = slots(width * rows, size, width as u64);
            let labels: Vec<f32> = (0..rows).map(|row| f32::from(u8::from(row % 3 == 0))).collect();
            let weights: Vec<f32> = (0..rows).map(|row| 0.5 + (row % 4) as f32).collect();
            let logits = table.learn(&slots, &labels, &weights, rates);
            for (row, &got) in logits.iter().enumerate() {
                let row_slots: Vec<u32> =
                    slots[row * width..(row + 1) * width].iter().copied().chain([size as u32]).collect();
                let expected = truth.logit(&row_slots);
                assert!((f64::from(got) - expected).abs() < 2e-3, "width {width}, row {row}: {got} {expected}");
                let p = 1.0 / (1.0 + (-expected).exp());
                truth.update(&row_slots, f64::from(weights[row]) * (p - f64::from(labels[row])));
            }
            table.pairs[size] = table.bias;
            for (pair, (&z, &n)) in table.pairs.iter().zip(truth.z.iter().zip(&truth.n)) {
                assert!((f64::from(pair[0]) - z).abs() < 1e-2, "{pair:?} {z}");
                assert!((f64::from(pair[1]) - n).abs() <= 1e-4 * n, "{pair:?} {n}");
            }
            assert!(logits.iter().any(|&logit| logit != 0.0));
            all.extend([bits(&logits), table.bits()]);
        }
        all
    });
}

#[test]
fn any_cut_of_the_rows_gives_the_same_bits() {
    on_every_isa(|| {
        let (width, rows) = (13, 64);
        let slots = slots(width * rows, 40, 3);
        let labels: Vec<f32> = numbers(rows, 4)[1..].iter().map(|x| f32::from(u8::from(*x > 0.3))).collect();
        let mut whole = Table::new(40);
        let expected = whole.learn(&slots, &labels, &[], RATES);
        let mut cut = Table::new(40);
        let mut logits = Vec::new();
        for (slots, labels) in slots.chunks(width * 7).zip(labels.chunks(7)) {
            logits.extend(cut.learn(slots, labels, &[], RATES));
        }
        assert_eq!((bits(&logits), cut.bits()), (bits(&expected), whole.bits()));
    });
}

#[test]
fn a_slot_that_occurs_twice_counts_twice_and_steps_once() {
    on_every_isa(|| {
        let (mut twice, mut once) = (Table::new(30), Table::new(30));
        twice.learn(&[1, EMPTY_SLOT, 1, 2, 9, 9, 9, 9, 9, 1], &[1.0], &[], RATES);
        once.learn(&[1, 2, 9], &[1.0], &[], RATES);
        assert_eq!(twice.bits(), once.bits());
        let doubled = twice.learn(&[1, 1], &[0.0], &[], RATES)[0];
        let (weight, bias) = (ftrl_weight(once.pairs[1][0], once.pairs[1][1], &RATES), once.bias);
        let expected = 2.0 * weight + ftrl_weight(bias[0], bias[1], &RATES);
        assert!((doubled - expected).abs() < 1e-6, "{doubled} {expected}");
    });
}

#[test]
fn rows_of_empty_slots_teach_the_bias_alone() {
    on_every_isa(|| {
        let mut table = Table::new(4);
        table.learn(&[EMPTY_SLOT; 40], &[1.0; 4], &[], RATES);
        assert!(table.pairs.iter().all(|pair| *pair == [0.0; 2]) && table.bias[1] > 0.0);
        let mut no_slots = Table::new(4);
        no_slots.learn(&[], &[1.0; 4], &[], RATES);
        assert_eq!(no_slots.bits(), table.bits());
        assert!(Table::new(0).learn(&[], &[], &[], RATES).is_empty());
    });
}

#[test]
fn not_a_number_reaches_what_its_rows_touch() {
    on_every_isa(|| {
        let mut table = Table::new(20);
        let logits = table.learn(&[3, 4, 5, 6], &[f32::NAN, 1.0], &[], RATES);
        assert!(logits[0] == 0.0 && logits[1].is_nan(), "{logits:?}");
        let broken: Vec<usize> = (0..20).filter(|&slot| table.pairs[slot][0].is_nan()).collect();
        assert_eq!(broken, [3, 4, 5, 6], "the bias has carried it to the second row");
        let mut weighted = Table::new(20);
        weighted.learn(&[7], &[1.0], &[f32::INFINITY], RATES);
        assert!(!weighted.pairs[7][0].is_finite() && weighted.pairs[8] == [0.0; 2]);
    });
}

#[test]
fn weights_are_zero_up_to_l1_and_shrink_beyond() {
    assert_eq!(ftrl_weight(0.5, 4.0, &RATES), 0.0);
    assert_eq!(ftrl_weight(-0.5, 4.0, &RATES), 0.0);
    // −(1.5 − 0.5) / ((1 + 2) / 0.1 + 0.25)
    assert!((ftrl_weight(1.5, 4.0, &RATES) + 1.0 / 30.25).abs() < 1e-8);
    assert!((ftrl_weight(-1.5, 4.0, &RATES) - 1.0 / 30.25).abs() < 1e-8);
    assert!(ftrl_weight(f32::NAN, 1.0, &RATES).is_nan());
    let no_penalty = FtrlRates { l1: 0.0, ..RATES };
    assert_eq!(ftrl_weight(0.0, 0.0, &no_penalty), 0.0);
    assert!(ftrl_weight(0.1, 0.0, &no_penalty) < 0.0);
    on_every_isa(|| {
        let pairs: Vec<[f32; 2]> =
            numbers(101, 5).chunks_exact(2).map(|pair| [3.0 * pair[0], 9.0 * pair[1].abs()]).collect();
        let mut weights = vec![0.0; pairs.len()];
        ftrl_weights(&pairs, &RATES, &mut weights);
        let alone: Vec<f32> = pairs.iter().map(|[z, n]| ftrl_weight(*z, *n, &RATES)).collect();
        assert_eq!(bits(&weights), bits(&alone));
        bits(&weights)
    });
}

#[test]
#[should_panic(expected = "outside the table of 4")]
fn a_slot_outside_the_table_is_refused() {
    Table::new(4).learn(&[1, 4], &[1.0], &[], RATES);
}
