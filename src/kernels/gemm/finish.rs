//! What happens to an element of C after its chain is complete, while its tile is still in the first cache.
//!
//! A layer is a product and a little arithmetic for each element. Done in a pass of its own, the arithmetic reads and
//! writes all of C again, which at 4,096 rows comes from beyond the second cache. Here it costs a few loads in a thousand
//! multiply-adds. The formulas, and so the bits, are those of the separate kernels ([`layers`](super::super::layers)).

use std::ops::Range;

use super::super::dispatch::per_isa;
use super::super::matrix::{Matrix, MatrixMut};
use super::super::vectors::assert_same;
use super::pack::UNIT;
use super::tile::Ask;

/// What to do with each element c of C (rows × columns) once its chain is complete.
///
/// Matrices have the shape of C and contiguous columns; a bias has one value for each column.
#[derive(Debug, Default)]
pub enum Finish<'a> {
    /// c stays.
    #[default]
    None,
    /// c + bias, as [`add_bias`](super::super::add_bias).
    Bias(&'a [f32]),
    /// max(c + bias, 0), as [`add_bias_relu`](super::super::add_bias_relu). NaN stays NaN.
    BiasRelu(&'a [f32]),
    /// A cross layer of DCN v2 (Wang et al. 2021, eq. 1): with u = c + bias, c becomes x0 ⊙ u + x.
    Cross {
        /// One value for each column.
        bias: &'a [f32],
        /// Input of the first cross layer.
        x0: Matrix<'a>,
        /// Input of this layer.
        x: Matrix<'a>,
        /// Receives u, which the backward pass needs; absent when scoring.
        product: Option<MatrixMut<'a>>,
    },
    /// 0 where the output of a ReLU was not above 0, as [`relu_backward`](super::super::relu_backward).
    ReluGate(Matrix<'a>),
}

impl Finish<'_> {
    /// # Panics
    /// When a shape is not that of C.
    pub(super) fn check(&self, rows: usize, columns: usize) {
        let fits = |what: &str, matrix: Matrix<'_>| {
            let shape = (matrix.rows(), matrix.columns());
            assert!(shape == (rows, columns), "gemm ({what}): C is {rows}×{columns}, got {}×{}", shape.0, shape.1);
            assert!(matrix.column_stride() == 1, "gemm ({what}): its columns must be contiguous");
        };
        match self {
            Finish::None => {}
            Finish::Bias(bias) | Finish::BiasRelu(bias) => assert_same("gemm (bias)", columns, bias.len()),
            Finish::Cross { bias, x0, x, product } => {
                assert_same("gemm (bias)", columns, bias.len());
                fits("x0", *x0);
                fits("x", *x);
                if let Some(product) = product {
                    fits("product", product.as_matrix());
                }
            }
            Finish::ReluGate(activated) => fits("activated", *activated),
        }
    }

    /// Writes to `asks` where the matrices that a tile reads or writes at the end begin; returns how many there are.
    pub(super) fn reads(&self, row: usize, column: usize, asks: &mut [Ask]) -> usize {
        let mut count = 0;
        let mut ask = |matrix: Matrix<'_>| {
            asks[count] = Ask { first: matrix.place(row, column), stride: matrix.row_stride() };
            count += 1;
        };
        match self {
            Finish::None | Finish::Bias(_) | Finish::BiasRelu(_) => {}
            Finish::Cross { x0, x, product, .. } => {
                ask(*x0);
                ask(*x);
                if let Some(product) = product {
                    ask(product.as_matrix());
                }
            }
            Finish::ReluGate(activated) => ask(*activated),
        }
        count
    }
}

per_isa! {
    /// Finishes the elements of these rows and columns of C. `c` starts at the first of them.
    #[expect(unreachable_pub, reason = "the macro makes public functions")]
    pub fn finish(
        finish: &mut Finish<'_>, c: &mut [f32], c_stride: usize, rows: Range<usize>, columns: Range<usize>
    ) = finish_body
}

#[inline(always)]
fn finish_body(finish: &mut Finish<'_>, c: &mut [f32], c_stride: usize, rows: Range<usize>, columns: Range<usize>) {
    let here = columns.clone();
    for (row, index) in rows.zip(0..) {
        let c = &mut c[index * c_stride..][..here.len()];
        match finish {
            Finish::None => return,
            Finish::Bias(bias) => map(c, [&bias[here.clone()]], |c, [bias]| c + bias),
            Finish::BiasRelu(bias) => map(c, [&bias[here.clone()]], |c, [bias]| {
                let sum = c + bias;
                // Written so that NaN fails the comparison and stays.
                if sum < 0.0 { 0.0 } else { sum }
            }),
            Finish::Cross { bias, x0, x, product } => {
                map(c, [&bias[here.clone()]], |c, [bias]| c + bias);
                if let Some(product) = product {
                    product.row_mut(row)[here.clone()].copy_from_slice(c);
                }
                map(c, [&x0.row(row)[here.clone()], &x.row(row)[here.clone()]], |u, [x0, x]| x0.mul_add(u, x));
            }
            Finish::ReluGate(activated) => {
                map(c, [&activated.row(row)[here.clone()]], |c, [activated]| if activated <= 0.0 { 0.0 } else { c })
            }
        }
    }
}

/// c = formula(c, inputs), lane by lane: units in registers, then the rest one by one.
#[inline(always)]
fn map<const N: usize>(c: &mut [f32], inputs: [&[f32]; N], formula: impl Fn(f32, [f32; N]) -> f32) {
    let (units, rest) = c.as_chunks_mut::<UNIT>();
    let inputs = inputs.map(|input| input.as_chunks::<UNIT>());
    for (unit, c) in units.iter_mut().enumerate() {
        // Copies, so that the compiler need not wonder whether C is one of its inputs.
        let (old, inputs) = (*c, inputs.map(|(units, _)| units[unit]));
        *c = std::array::from_fn(|lane| formula(old[lane], inputs.map(|input| input[lane])));
    }
    for (lane, c) in rest.iter_mut().enumerate() {
        *c = formula(*c, inputs.map(|(_, rest)| rest[lane]));
    }
}
