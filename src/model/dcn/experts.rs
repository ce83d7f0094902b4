//! The inside of a low-rank cross layer for one block of rows: x → v = Σᵢ Gᵢ Uᵢ tanh(Cᵢ tanh(Vᵢᵀ x)), and back.
//!
//! Learner and frozen model run the same code on packed weights. Shapes are those of [`super::mixture`].

use super::crew;
use crate::kernels::{self, Finish, GemmScratch, Matrix, MatrixMut, PackedMatrix, Precision};

/// The weights, packed as they are (for [`Experts::forward`]) or transposed (for [`Experts::backward`]).
#[derive(Debug, Clone, Default)]
pub(super) struct Experts {
    down: PackedMatrix,
    cores: Vec<PackedMatrix>,
    up: PackedMatrix,
    gate: PackedMatrix,
}

/// Values between the products, for some rows: of the forward pass, or their gradients.
#[derive(Debug, Clone, Default)]
pub(super) struct Hidden<T = Vec<f32>> {
    /// tanh(Vᵢᵀ x): rows × E·R.
    pub(super) inner: T,
    /// hᵢ = tanh(Cᵢ inner): rows × E·R.
    pub(super) outer: T,
    /// Gᵢ hᵢ: rows × E·R.
    pub(super) mixed: T,
    /// G: rows × E.
    pub(super) gates: T,
}

impl Hidden {
    /// Makes room.
    pub(super) fn fit(&mut self, rows: usize, experts: usize, rank: usize) {
        for wide in [&mut self.inner, &mut self.outer, &mut self.mixed] {
            crew::fit(wide, rows * experts * rank);
        }
        crew::fit(&mut self.gates, rows * experts);
    }

    /// All rows, read only.
    pub(super) fn view(&self) -> Hidden<&[f32]> {
        Hidden { inner: &self.inner, outer: &self.outer, mixed: &self.mixed, gates: &self.gates }
    }

    /// All rows, to be written.
    pub(super) fn view_mut(&mut self) -> Hidden<&mut [f32]> {
        Hidden { inner: &mut self.inner, outer: &mut self.outer, mixed: &mut self.mixed, gates: &mut self.gates }
    }
}

impl Experts {
    /// Packs `[down, core, up, gate]`; `core` has its experts on top of each other.
    pub(super) fn pack(views: [Matrix<'_>; 4], precision: Precision) -> Self {
        let mut experts = Experts::default();
        experts.packings(views, false).into_iter().for_each(|(packed, matrix)| packed.repack(matrix, precision));
        experts
    }

    /// What is to be packed for `[down, core, up, gate]`, as they are or transposed.
    pub(super) fn packings<'a>(
        &'a mut self,
        [down, core, up, gate]: [Matrix<'a>; 4],
        transposed: bool,
    ) -> Vec<(&'a mut PackedMatrix, Matrix<'a>)> {
        let turn = |matrix: Matrix<'a>| if transposed { matrix.t() } else { matrix };
        let rank = core.columns();
        self.cores.resize_with(core.rows() / rank, PackedMatrix::default);
        let cores = self.cores.iter_mut().enumerate();
        let cores = cores.map(|(at, packed)| (packed, turn(core.row_range(at * rank..(at + 1) * rank))));
        [(&mut self.down, turn(down)), (&mut self.up, turn(up)), (&mut self.gate, turn(gate))]
            .into_iter()
            .chain(cores)
            .collect()
    }

    /// `x` (rows × D) → `out` (rows × D), which is v once `finish` has been at it; fills `hidden`.
    pub(super) fn forward(
        &self,
        x: Matrix<'_>,
        hidden: &mut Hidden<&mut [f32]>,
        out: MatrixMut<'_>,
        finish: Finish<'_>,
        scratch: &mut GemmScratch,
    ) {
        let (rows, experts, stacked) = (x.rows(), self.cores.len(), self.down.columns());
        let rank = stacked / experts;
        kernels::gemm_packed(MatrixMut::new(hidden.inner, rows, stacked), x, &self.down, false, Finish::None, scratch);
        tanh_in_place(hidden.inner);
        self.each_core(rows, rank, hidden.inner, hidden.outer, scratch);
        tanh_in_place(hidden.outer);
        kernels::gemm_packed(MatrixMut::new(hidden.gates, rows, experts), x, &self.gate, false, Finish::None, scratch);
        for gates in hidden.gates.chunks_exact_mut(experts) {
            softmax(gates);
        }
        for ((mixed, outer), gate) in
            hidden.mixed.chunks_exact_mut(rank).zip(hidden.outer.chunks_exact(rank)).zip(&*hidden.gates)
        {
            for (mixed, outer) in mixed.iter_mut().zip(outer) {
                *mixed = gate * outer;
            }
        }
        let mixed = Matrix::new(hidden.mixed, rows, stacked);
        kernels::gemm_packed(out, mixed, &self.up, false, finish, scratch);
    }

    /// From ∂v (rows × D): fills `gradient` with gradients before each nonlinearity (`mixed` is scratch) and adds the part
    /// of ∂x that came through the experts and gates to `gradient_x`. `self` holds transposed weights.
    pub(super) fn backward(
        &self,
        gradient_v: Matrix<'_>,
        hidden: Hidden<&[f32]>,
        gradient: &mut Hidden<&mut [f32]>,
        mut gradient_x: MatrixMut<'_>,
        scratch: &mut GemmScratch,
    ) {
        let (rows, experts, stacked) = (gradient_v.rows(), self.cores.len(), self.up.columns());
        let rank = stacked / experts;
        kernels::gemm_packed(
            MatrixMut::new(gradient.mixed, rows, stacked),
            gradient_v,
            &self.up,
            false,
            Finish::None,
            scratch,
        );
        let parts = (gradient.outer.chunks_exact_mut(rank).zip(gradient.mixed.chunks_exact(rank)))
            .zip(hidden.outer.chunks_exact(rank))
            .zip(gradient.gates.iter_mut().zip(hidden.gates));
        for (((gradient_outer, gradient_mixed), outer), (gradient_gate, &gate)) in parts {
            *gradient_gate = kernels::dot(gradient_mixed, outer);
            for ((gradient_outer, &gradient_mixed), &outer) in gradient_outer.iter_mut().zip(gradient_mixed).zip(outer)
            {
                *gradient_outer = gate * gradient_mixed * (1.0 - outer * outer);
            }
        }
        for (gradient, gates) in gradient.gates.chunks_exact_mut(experts).zip(hidden.gates.chunks_exact(experts)) {
            softmax_backward(gradient, gates);
        }
        self.each_core(rows, rank, gradient.outer, gradient.inner, scratch);
        for (gradient, &inner) in gradient.inner.iter_mut().zip(hidden.inner) {
            *gradient *= 1.0 - inner * inner;
        }
        let inner = Matrix::new(gradient.inner, rows, stacked);
        kernels::gemm_packed(gradient_x.reborrow(), inner, &self.down, true, Finish::None, scratch);
        kernels::gemm_packed(
            gradient_x,
            Matrix::new(gradient.gates, rows, experts),
            &self.gate,
            true,
            Finish::None,
            scratch,
        );
    }

    /// Columns of each expert times its core.
    fn each_core(&self, rows: usize, rank: usize, from: &[f32], to: &mut [f32], scratch: &mut GemmScratch) {
        let stacked = rank * self.cores.len();
        let from = Matrix::new(from, rows, stacked);
        for (expert, core) in self.cores.iter().enumerate() {
            let columns = expert * rank..(expert + 1) * rank;
            let target = MatrixMut::with_row_stride(&mut to[columns.start..], rows, rank, stacked);
            kernels::gemm_packed(target, from.column_range(columns), core, false, Finish::None, scratch);
        }
    }
}

/// Logits → shares that add up to 1.
fn softmax(logits: &mut [f32]) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - highest).exp());
    let total: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|logit| *logit /= total);
}

/// ∂shares → ∂logits: share ⊙ (∂share − Σ share ∂share).
fn softmax_backward(gradient: &mut [f32], shares: &[f32]) {
    let mean: f32 = gradient.iter().zip(shares).map(|(gradient, share)| gradient * share).sum();
    gradient.iter_mut().zip(shares).for_each(|(gradient, share)| *gradient = share * (*gradient - mean));
}

/// tanh, within 2e-7 of the truth, written so that the compiler vectorizes it (the standard library's takes 15 ns a value).
///
/// Up to |x| = 1 it is Lambert's continued fraction, cut at x⁷; beyond, 1 − 2 / (e²ˣ + 1).
fn tanh_in_place(values: &mut [f32]) {
    for value in values {
        let x = *value;
        let square = x * x;
        let near = x * (135_135.0 + square * (17_325.0 + square * (378.0 + square)))
            / (135_135.0 + square * (62_370.0 + square * (3_150.0 + square * 28.0)));
        // 2|x| in powers of two; By 9.5 tanh has rounded to 1.
        let power = x.abs().min(9.5) * (2.0 * std::f32::consts::LOG2_E);
        let whole = power as i32;
        let rest = (power - whole as f32) * std::f32::consts::LN_2;
        let series = 1.0
            + rest
                * (1.0
                    + rest
                        * (1.0 / 2.0
                            + rest
                                * (1.0 / 6.0
                                    + rest
                                        * (1.0 / 24.0
                                            + rest
                                                * (1.0 / 120.0
                                                    + rest
                                                        * (1.0 / 720.0 + rest * (1.0 / 5040.0 + rest / 40320.0)))))));
        let exponential = series * f32::from_bits(((whole + 127) << 23) as u32);
        let far = (1.0 - 2.0 / (exponential + 1.0)).copysign(x);
        // NaN fails the comparison, and `near` hands it on.
        *value = if x.abs() > 1.0 { far } else { near };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_within_two_ten_millionths() {
        let points: Vec<f32> = (-12_000..=12_000).map(|i| i as f32 / 1_000.0).collect();
        let mut got = points.clone();
        tanh_in_place(&mut got);
        for (&x, &got) in points.iter().zip(&got) {
            let expected = f64::from(x).tanh();
            assert!(
                (f64::from(got) - expected).abs() <= 2e-7 * expected.abs().max(1e-3),
                "tanh({x}): {got} for {expected}"
            );
        }
        let mut odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -0.0, 1e-30];
        tanh_in_place(&mut odd);
        assert!(odd[0].is_nan());
        assert_eq!(odd[1..], [1.0, -1.0, 1.0, -0.0, 1e-30]);
    }
}
