//! The product: every element is the chain of the definition, bit for bit, however the work is cut.

mod bf16;
mod finish;

use proptest::prelude::*;

use super::super::reference;
use super::super::{Finish, GemmScratch, Matrix, MatrixMut, PackedMatrix, Precision, gemm, gemm_packed, gemm_sum};
use super::{bits, numbers, on_every_isa};

/// Rows, K, columns. Around tiles of 4, 6 and 14 rows, units of 16, blocks of 140 rows (336 of a transposed A), of 320, 640 and
/// 1,280 steps of k, and of 64 columns.
const SHAPES: [(usize, usize, usize); 25] = [
    (0, 3, 3),
    (3, 0, 3),
    (3, 3, 0),
    (1, 1, 1),
    (2, 3, 7),
    (3, 8, 15),
    (4, 7, 16),
    (5, 9, 17),
    (6, 16, 31),
    (7, 17, 33),
    (8, 15, 63),
    (13, 31, 100),
    (14, 33, 48),
    (15, 63, 47),
    (29, 100, 65),
    (64, 129, 31),
    (141, 40, 18),
    (337, 7, 5),
    (43, 641, 150),
    (1, 624, 400),
    (3, 321, 129),
    (9, 641, 337),
    (100, 330, 30),
    (2, 1_281, 17),
    (5, 1_283, 330),
];

/// What a product is called with: the values, and how they are stored.
struct Case {
    rows: usize,
    depth: usize,
    columns: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Case {
    fn new((rows, depth, columns): (usize, usize, usize)) -> Self {
        let seed = (rows * 1_000_000 + depth * 1_000 + columns) as u64;
        let (a, b) = (numbers(rows * depth, seed), numbers(depth * columns, seed + 1));
        Case { rows, depth, columns, a, b, c: numbers(rows * columns, seed + 2) }
    }

    /// A, stored by rows or by columns, off the alignment by one value.
    fn a(&self, transposed: bool) -> Matrix<'_> {
        match transposed {
            false => Matrix::new(&self.a[1..], self.rows, self.depth),
            true => Matrix::new(&self.a[1..], self.depth, self.rows).t(),
        }
    }

    fn b(&self, transposed: bool) -> Matrix<'_> {
        match transposed {
            false => Matrix::new(&self.b[1..], self.depth, self.columns),
            true => Matrix::new(&self.b[1..], self.columns, self.depth).t(),
        }
    }

    /// C by the definition.
    fn expected(&self, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) -> Vec<f32> {
        let element = |at: usize| {
            let start = if accumulate { self.c[1 + at] } else { 0.0 };
            reference::chain(a, b, at / self.columns, at % self.columns, start)
        };
        (0..self.rows * self.columns).map(element).collect()
    }
}

/// The product alone: in f32, and nothing after it.
fn plain(c: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool, scratch: &mut GemmScratch) {
    gemm(c, a, b, accumulate, Precision::F32, Finish::None, scratch);
}

#[test]
fn every_element_is_the_chain_of_the_definition() {
    on_every_isa(|| {
        let mut scratch = GemmScratch::new();
        for shape in SHAPES {
            let case = Case::new(shape);
            for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)] {
                for accumulate in [false, true] {
                    let (a, b) = (case.a(a_transposed), case.b(b_transposed));
                    let expected = bits(&case.expected(a, b, accumulate));
                    let mut c = case.c.clone();
                    plain(MatrixMut::new(&mut c[1..], case.rows, case.columns), a, b, accumulate, &mut scratch);
                    assert!(bits(&c[1..]) == expected, "gemm {shape:?} {a_transposed} {b_transposed} {accumulate}");
                    let mut c = case.c.clone();
                    let packed = PackedMatrix::pack(b, Precision::F32);
                    let out = MatrixMut::new(&mut c[1..], case.rows, case.columns);
                    gemm_packed(out, a, &packed, accumulate, Finish::None, &mut scratch);
                    assert!(bits(&c[1..]) == expected, "packed {shape:?} {a_transposed} {b_transposed} {accumulate}");
                }
            }
        }
    });
}

#[test]
fn a_sum_of_products_is_one_product_along_all_their_steps() {
    on_every_isa(|| {
        let mut scratch = GemmScratch::new();
        let case = Case::new((43, 300, 170));
        for transposed in [false, true] {
            let (a, b) = (case.a(transposed), case.b(false));
            let cuts = [0..1, 1..129, 129..256, 256..300];
            let packed = cuts.clone().map(|steps| PackedMatrix::pack(b.row_range(steps), Precision::F32));
            let terms: Vec<_> = cuts.into_iter().map(|steps| a.column_range(steps)).zip(&packed).collect();
            let mut c = case.c.clone();
            gemm_sum(MatrixMut::new(&mut c[1..], case.rows, case.columns), &terms, &mut scratch);
            assert!(bits(&c[1..]) == bits(&case.expected(a, b, false)), "transposed {transposed}");
        }
    });
}

#[test]
fn all_rows_at_once_are_each_row_alone_and_any_split() {
    on_every_isa(|| {
        let mut scratch = GemmScratch::new();
        for shape in SHAPES {
            let case = Case::new(shape);
            let (a, b) = (case.a(false), case.b(false));
            let packed = PackedMatrix::pack(b, Precision::F32);
            let (rows, columns) = (case.rows, case.columns);
            let mut whole = vec![0.0; rows * columns];
            plain(MatrixMut::new(&mut whole, rows, columns), a, b, false, &mut scratch);
            for pieces in [rows, 2, 3, 5] {
                let mut split = vec![0.0; rows * columns];
                let mut rest = MatrixMut::new(&mut split, rows, columns);
                for piece in 0..pieces {
                    let (start, end) = (rows * piece / pieces, rows * (piece + 1) / pieces);
                    let (above, below) = rest.split_rows_at(end - start);
                    gemm_packed(above, a.row_range(start..end), &packed, false, Finish::None, &mut scratch);
                    rest = below;
                }
                assert!(bits(&split) == bits(&whole), "{shape:?} in {pieces} pieces of rows");
            }
            // The same for columns, written into some columns of C.
            let mut split = vec![0.0; rows * columns];
            for (start, end) in [(0, columns / 3), (columns / 3, columns)] {
                if rows > 0 {
                    let out = MatrixMut::with_row_stride(&mut split[start..], rows, end - start, columns);
                    plain(out, a, b.column_range(start..end), false, &mut scratch);
                }
            }
            assert!(bits(&split) == bits(&whole), "{shape:?} in two pieces of columns");
        }
    });
}

#[test]
fn rows_with_gaps_are_left_alone_between() {
    on_every_isa(|| {
        let (rows, depth, columns, stride) = (17, 20, 21, 30);
        let (a, b) = (numbers(rows * stride, 1), numbers(depth * 2 * columns, 2));
        let a = Matrix::with_row_stride(&a, rows, depth, stride);
        let b = Matrix::with_strides(&b, depth, columns, 2 * columns, 2);
        let mut c = vec![7.0; rows * stride];
        let out = MatrixMut::with_row_stride(&mut c, rows, columns, stride);
        plain(out, a, b, false, &mut GemmScratch::new());
        for (at, &value) in c.iter().enumerate() {
            let (i, j) = (at / stride, at % stride);
            let expected = if j < columns { reference::chain(a, b, i, j, 0.0) } else { 7.0 };
            assert_eq!(value.to_bits(), expected.to_bits(), "({i}, {j})");
        }
    });
}

#[test]
fn not_a_number_reaches_its_row_and_column_only() {
    on_every_isa(|| {
        let (rows, depth, columns) = (20, 30, 40);
        let (mut a, mut b) = (vec![1.0; rows * depth], vec![1.0; depth * columns]);
        a[3 * depth + 5] = f32::NAN;
        b[7 * columns + 39] = f32::INFINITY;
        let mut c = vec![0.0; rows * columns];
        let (a, b) = (Matrix::new(&a, rows, depth), Matrix::new(&b, depth, columns));
        plain(MatrixMut::new(&mut c, rows, columns), a, b, false, &mut GemmScratch::new());
        for (at, value) in c.iter().enumerate() {
            let (i, j) = (at / columns, at % columns);
            match (i == 3, j == 39) {
                (true, _) => assert!(value.is_nan()),
                (false, true) => assert_eq!(*value, f32::INFINITY),
                (false, false) => assert_eq!(*value, depth as f32),
            }
        }
    });
}

#[test]
fn a_repacked_matrix_forgets_the_one_before() {
    on_every_isa(|| {
        let (first, second) = (Case::new((5, 50, 70)), Case::new((5, 9, 17)));
        let mut packed = PackedMatrix::pack(first.b(false), Precision::F32);
        packed.repack(second.b(true), Precision::F32);
        assert_eq!((packed.rows(), packed.columns()), (9, 17));
        let mut c = vec![0.0; 5 * 17];
        gemm_packed(
            MatrixMut::new(&mut c, 5, 17),
            second.a(false),
            &packed,
            false,
            Finish::None,
            &mut GemmScratch::new(),
        );
        assert_eq!(bits(&c), bits(&second.expected(second.a(false), second.b(true), false)));
    });
}

#[test]
#[should_panic(expected = "gemm: C is 2×2, A is 2×3, B is 4×2")]
fn shapes_that_do_not_fit_are_named() {
    let values = [0.0; 12];
    let (a, b) = (Matrix::new(&values[..6], 2, 3), Matrix::new(&values[..8], 4, 2));
    plain(MatrixMut::new(&mut [0.0; 4], 2, 2), a, b, false, &mut GemmScratch::new());
}

#[test]
#[should_panic(expected = "leaves a slice of 5 values")]
fn a_view_that_leaves_its_slice_is_refused() {
    Matrix::with_row_stride(&[0.0; 5], 2, 3, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against f64, within the bound of a chain of K roundings.
    #[test]
    fn near_the_product_in_f64(rows in 0usize..40, depth in 0usize..400, columns in 0usize..70) {
        let case = Case::new((rows, depth, columns));
        let (a, b) = (case.a(true), case.b(false));
        let mut c = vec![0.0; rows * columns];
        plain(MatrixMut::new(&mut c, rows, columns), a, b, false, &mut GemmScratch::new());
        for (at, &value) in c.iter().enumerate() {
            let (exact, size) = reference::product(a, b, at / columns, at % columns);
            let bound = depth as f64 * f64::from(f32::EPSILON) / 2.0 * size;
            prop_assert!((f64::from(value) - exact).abs() <= bound, "{} {} {}", value, exact, bound);
        }
    }
}
