//! Tables: gathered sums and rows.

use super::super::{EMPTY_SLOT, gather_rows, linear_logits, prefetch, scatter_add_rows};
use super::{SIZES, assert_close, bits, numbers, on_every_isa};

/// Slots of a small table, some of them empty, many of them twice.
pub(super) fn slots(count: usize, table: usize, seed: u64) -> Vec<u32> {
    let slot = |x: &f32| if *x > 0.9 { EMPTY_SLOT } else { (x.abs() * table as f32) as u32 % table as u32 };
    numbers(count, seed).iter().skip(1).map(slot).collect()
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
        }
    });
    prefetch::<f32>(&[], 7);
}

#[test]
fn linear_logits_do_not_depend_on_neighbors() {
    let weights = numbers(50, 19);
    for width in SIZES {
        let slots = slots(width * 20, 50, width as u64);
        let mut together = vec![9.0; 20];
        linear_logits(&weights, 0.5, &slots, &mut together);
        for (row, &logit) in together.iter().enumerate() {
            let mut alone = [9.0];
            let slots = &slots[row * width..(row + 1) * width];
            linear_logits(&weights, 0.5, slots, &mut alone);
            assert_eq!(alone[0].to_bits(), logit.to_bits());
            let present = slots.iter().filter(|&&slot| slot != EMPTY_SLOT);
            assert_close(logit, 0.5 + present.map(|&slot| f64::from(weights[slot as usize])).sum::<f64>(), 1e-4);
        }
    }
    linear_logits(&weights, 0.5, &[], &mut []);
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_slot_outside_the_table_is_refused() {
    linear_logits(&[0.0; 4], 0.0, &[4], &mut [0.0]);
}
