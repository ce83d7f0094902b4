//! Numbers to numbers, fast: matrix products, layer arithmetic, optimizer steps, sparse gathers.
//!
//! Why a room of its own: this is the only folder with `unsafe` code, and the only one that knows instruction sets.
//! It uses nothing else of this crate, no files, no clocks, no threads (callers lend threads by splitting rows).
//!
//! What every kernel promises:
//! * **The same bits on every instruction set.** A fast body is the plain loop with its order of operations kept;
//!   fused multiply-adds are written out (`mul_add`), and reductions use a fixed number of lanes whatever the registers.
//! * **The same bits for any cut of the work.** One element of a product is one chain over `k`, so scoring one row
//!   gives the bits of scoring a million ([`gemm()`]).
//! * NaN and infinity pass through; nothing is flushed or clamped unless the kernel says so.
//! * Lengths are checked once at the entry. A mismatch is a bug of the caller, so it panics and names both lengths.
//!
//! How it is built: the bodies are safe loops that the compiler vectorizes, compiled once per instruction set by
//! `per_isa!` ([`dispatch`]); only the innermost product ([`mod@gemm`]) is written with intrinsics. `reference.rs` holds
//! the plain truth, and `tests.rs` runs one suite on each instruction set of the machine.
#![allow(unsafe_code)]

pub mod dispatch;
mod dropout;
mod ftrl;
pub mod gemm;
pub mod int8;
mod layers;
pub mod mapped;
mod matrix;
mod norm;
mod optimizers;
mod peak;
pub mod places;
mod probability;
#[cfg(test)]
mod reference;
mod sparse;
mod table;
#[cfg(test)]
mod tests;
pub mod text;
mod vectors;

pub use dispatch::{Isa, IsaError, isa};
pub use dropout::dropout;
pub use ftrl::{FtrlRates, FtrlScratch, FtrlTask, ftrl_learn, ftrl_weight, ftrl_weights};
pub use gemm::{Finish, GemmScratch, PackedMatrix, Precision, gemm, gemm_packed, gemm_sum};
pub use int8::{
    Part, QuantizedFinish, QuantizedMatrix, QuantizedRows, quantized_part, quantized_product, quantized_sums,
};
pub use layers::{
    add_bias, add_bias_relu, cross_backward, cross_backward_first, cross_forward, linear_backward, relu_backward,
    scale_shift,
};
pub use matrix::{Matrix, MatrixMut};
pub use norm::{batch_norm_backward, batch_norm_forward, batch_norm_gradient_sums, batch_norm_moments};
pub use optimizers::{AdamStep, adagrad_rowwise, adam};
pub use peak::{FLOPS_PER_BURST_ITERATION, fma_burst};
pub use probability::{log_loss_with_logits, sigmoid, sigmoid_f64, sigmoids_f64};
pub use sparse::{EMPTY_SLOT, gather_rows, linear_logits, prefetch, scatter_add_rows};
pub use table::Table;
pub use vectors::{add_assign, axpy, column_sums, dot, scale};
