//! Models with a table: slots of impressions to logits and rows of embeddings, and the way back.
//!
//! Tables are far larger than the cache, so time is spent waiting for memory. Each kernel asks for lines some rows before
//! it needs them (a hint that costs nothing when wrong).

use super::vectors::assert_same;

/// The slot of a value that is not there. Every kernel skips it.
pub const EMPTY_SLOT: u32 = u32::MAX;

/// bias + Σ of `weights` at the slots of each row (`logits.len()` rows of equal width): logits of a frozen linear model.
///
/// Position i of a row is added to lane i mod 4, in order, and then the lanes as (0 + 1) + (2 + 3): the bits of a row
/// depend on that row alone.
///
/// # Panics
/// When a slot is outside the table, or `slots` is not a whole number of rows.
pub fn linear_logits(weights: &[f32], bias: f32, slots: &[u32], logits: &mut [f32]) {
    let width = slots.len() / logits.len().max(1);
    assert_same("linear_logits", slots.len(), logits.len() * width);
    let weight = |slot: u32| if slot == EMPTY_SLOT { 0.0 } else { weights[slot as usize] };
    for (row, logit) in logits.iter_mut().enumerate() {
        if let Some(ahead) = slots.get((row + ROWS_AHEAD) * width..(row + ROWS_AHEAD + 1) * width) {
            ahead.iter().for_each(|&slot| prefetch(weights, slot as usize));
        }
        let (fours, rest) = slots[row * width..(row + 1) * width].as_chunks::<4>();
        let mut lanes = [0.0f32; 4];
        for four in fours {
            lanes.iter_mut().zip(four).for_each(|(lane, &slot)| *lane += weight(slot));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, &slot)| *lane += weight(slot));
        *logit = bias + ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3]));
    }
}

/// Rows of an embedding table, `dim` values each, one after another into `out` (slots × dim). An empty slot gives zeros.
///
/// # Panics
/// When a slot is outside the table, or `out` does not hold slots × dim values.
pub fn gather_rows(table: &[f32], dim: usize, slots: &[u32], out: &mut [f32]) {
    assert_same("gather_rows", out.len(), slots.len() * dim);
    if dim == 0 {
        return;
    }
    for (row, (&slot, out)) in slots.iter().zip(out.chunks_exact_mut(dim)).enumerate() {
        if let Some(&ahead) = slots.get(row + ROWS_AHEAD) {
            prefetch_row(table, dim, ahead);
        }
        if slot == EMPTY_SLOT {
            out.fill(0.0);
        } else {
            out.copy_from_slice(&table[slot as usize * dim..][..dim]);
        }
    }
}

/// The backward pass of [`gather_rows`]: adds each row of `grad` (slots × dim) to the row of its slot, in order.
///
/// # Panics
/// When a slot is outside the table, or `grad` does not hold slots × dim values.
pub fn scatter_add_rows(table: &mut [f32], dim: usize, slots: &[u32], grad: &[f32]) {
    assert_same("scatter_add_rows", grad.len(), slots.len() * dim);
    if dim == 0 {
        return;
    }
    for (row, (&slot, grad)) in slots.iter().zip(grad.chunks_exact(dim)).enumerate() {
        if let Some(&ahead) = slots.get(row + ROWS_AHEAD) {
            prefetch_row(table, dim, ahead);
        }
        if slot != EMPTY_SLOT {
            for (value, &grad) in table[slot as usize * dim..][..dim].iter_mut().zip(grad) {
                *value += grad;
            }
        }
    }
}

/// Asks for the line of `data[index]`. A hint: any index is fine, and nothing happens on other processors.
#[inline(always)]
pub fn prefetch<T>(data: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if index < data.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the index is inside; a prefetch reads nothing that the program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().add(index).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, index);
}

/// Rows between the one asked for and the one used.
const ROWS_AHEAD: usize = 8;

/// Asks for every line of a row.
#[inline(always)]
fn prefetch_row(table: &[f32], dim: usize, slot: u32) {
    if slot != EMPTY_SLOT {
        for value in (0..dim).step_by(16) {
            prefetch(table, slot as usize * dim + value);
        }
    }
}
