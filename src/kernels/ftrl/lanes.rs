//! Eight numbers side by side: the arithmetic of FTRL for one instruction set, the same bits on each.

use super::unscaled_weight;

/// Numbers side by side.
pub(super) const LANES: usize = 8;

/// Eight numbers.
///
/// # Safety
/// Of every function: the processor has what the implementation needs, and slots are within the pairs.
pub(super) trait Lanes: Copy {
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: &[f32; LANES]) -> Self;
    unsafe fn store(self, to: &mut [f32; LANES]);
    /// The first and the second number of each pair.
    unsafe fn gather(pairs: *const [f32; 2], slots: &[u32; LANES]) -> (Self, Self);
    /// Writes the pairs; of a slot that is there twice, the later one stays.
    unsafe fn scatter(first: Self, second: Self, pairs: *mut [f32; 2], slots: &[u32; LANES]);
    unsafe fn sqrt(self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// As the function of this name, lane by lane.
    unsafe fn unscaled_weight(z: Self, root: Self, l1: Self, softening: Self) -> Self;
    /// Lanes 4 to 7 added to 0 to 3, then 2 and 3 to 0 and 1, then 1 to 0.
    unsafe fn sum(self) -> f32;
}

/// Asks for the line of a pair. A hint: any address is fine.
#[inline(always)]
pub(super) fn prefetch(pair: *const [f32; 2]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(pair.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pair;
}

/// Lanes of any processor.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; LANES]);

impl Lanes for Plain {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Plain([x; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        Plain(*from)
    }

    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }

    #[inline(always)]
    unsafe fn gather(pairs: *const [f32; 2], slots: &[u32; LANES]) -> (Self, Self) {
        // SAFETY: the slots are within the pairs.
        let pairs = slots.map(|slot| unsafe { *pairs.add(slot as usize) });
        (Plain(pairs.map(|pair| pair[0])), Plain(pairs.map(|pair| pair[1])))
    }

    #[inline(always)]
    unsafe fn scatter(first: Self, second: Self, pairs: *mut [f32; 2], slots: &[u32; LANES]) {
        for ((slot, first), second) in slots.iter().zip(first.0).zip(second.0) {
            // SAFETY: the slots are within the pairs.
            unsafe { *pairs.add(*slot as usize) = [first, second] };
        }
    }

    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Plain(self.0.map(f32::sqrt))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Plain(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Plain(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Plain(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }

    #[inline(always)]
    unsafe fn unscaled_weight(z: Self, root: Self, l1: Self, softening: Self) -> Self {
        Plain(std::array::from_fn(|lane| unscaled_weight(z.0[lane], root.0[lane], l1.0[lane], softening.0[lane])))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    /// Lanes of a processor with AVX2.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256);

    // Why all of this is sound: the processor has AVX2 and the slots are within the pairs, as the trait demands.
    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: eight numbers are read from an array of eight.
            Avx2(unsafe { _mm256_loadu_ps(from.as_ptr()) })
        }

        #[inline(always)]
        unsafe fn store(self, to: &mut [f32; LANES]) {
            // SAFETY: eight numbers are written to an array of eight.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        unsafe fn gather(pairs: *const [f32; 2], slots: &[u32; LANES]) -> (Self, Self) {
            // SAFETY: the slots are within the pairs; a pair is as large as an f64, which may lie unaligned here.
            unsafe {
                let at = |lane: usize| pairs.add(slots[lane] as usize).cast::<f64>();
                let two = |lane: usize| _mm_castpd_ps(_mm_loadh_pd(_mm_load_sd(at(lane)), at(lane + 1)));
                let four = |lane: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(two(lane)), two(lane + 4));
                // Pairs 0 1 4 5 and 2 3 6 7: shuffles stay within halves of a register.
                let (outer, inner) = (four(0), four(2));
                let first = _mm256_shuffle_ps::<0b10_00_10_00>(outer, inner);
                let second = _mm256_shuffle_ps::<0b11_01_11_01>(outer, inner);
                (Avx2(first), Avx2(second))
            }
        }

        #[inline(always)]
        unsafe fn scatter(first: Self, second: Self, pairs: *mut [f32; 2], slots: &[u32; LANES]) {
            // SAFETY: as for `gather`.
            unsafe {
                let at = |lane: usize| pairs.add(slots[lane] as usize).cast::<f64>();
                let two = |lane: usize, values: __m128| {
                    _mm_storel_pd(at(lane), _mm_castps_pd(values));
                    _mm_storeh_pd(at(lane + 1), _mm_castps_pd(values));
                };
                let (outer, inner) = (_mm256_unpacklo_ps(first.0, second.0), _mm256_unpackhi_ps(first.0, second.0));
                two(0, _mm256_castps256_ps128(outer));
                two(2, _mm256_castps256_ps128(inner));
                two(4, _mm256_extractf128_ps::<1>(outer));
                two(6, _mm256_extractf128_ps::<1>(inner));
            }
        }

        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_sqrt_ps(self.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2.
            Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn unscaled_weight(z: Self, root: Self, l1: Self, softening: Self) -> Self {
            // SAFETY: the processor has AVX2.
            unsafe {
                let sign = _mm256_set1_ps(-0.0);
                let toward = _mm256_or_ps(_mm256_and_ps(z.0, sign), l1.0);
                let u = _mm256_div_ps(_mm256_sub_ps(toward, z.0), _mm256_add_ps(softening.0, root.0));
                let small = _mm256_cmp_ps::<_CMP_LE_OQ>(_mm256_andnot_ps(sign, z.0), l1.0);
                Avx2(_mm256_andnot_ps(small, u))
            }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the processor has AVX2.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }
    }
}
