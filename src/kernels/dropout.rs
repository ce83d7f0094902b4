//! Dropout without a stored mask: element i is kept or not by a hash of (seed, counter + i).
//!
//! The backward pass calls the same function with the same seed and counter on the gradient. Threads that take
//! different rows pass different counters and agree with one thread that takes all.

use super::dispatch::per_isa;

per_isa! {
    /// Sets each value to 0 with probability 1 − keep_probability, and scales the others by 1 / keep_probability.
    ///
    /// The choice for element i depends only on `seed` and `counter + i` (wrapping). A keep_probability of 1 or more
    /// changes nothing; one of 0 or less sets all to 0. A dropped NaN becomes 0.
    pub fn dropout(values: &mut [f32], keep_probability: f32, seed: u64, counter: u64) = dropout_body
}

#[inline(always)]
fn dropout_body(values: &mut [f32], keep_probability: f32, seed: u64, counter: u64) {
    if keep_probability >= 1.0 {
        return;
    }
    // `as` saturates: a negative or NaN probability keeps nothing.
    let threshold = (f64::from(keep_probability) * 4_294_967_296.0) as u32;
    let scale = 1.0 / keep_probability;
    let mut counter = counter;
    let mut rest = values;
    // The upper half of the counter goes into the key, so that the loop below has 32-bit numbers only.
    while !rest.is_empty() {
        let low = counter as u32;
        let until_carry = (1u64 << 32) - u64::from(low);
        let length = usize::try_from(until_carry).map_or(rest.len(), |until| until.min(rest.len()));
        let (segment, later) = rest.split_at_mut(length);
        let key = splitmix64(seed ^ splitmix64(counter >> 32));
        drop_segment(segment, low, key, threshold, scale);
        counter = counter.wrapping_add(length as u64);
        rest = later;
    }
}

#[inline(always)]
fn drop_segment(values: &mut [f32], low: u32, key: u64, threshold: u32, scale: f32) {
    let (key0, key1) = (key as u32, (key >> 32) as u32);
    for (value, index) in values.iter_mut().zip(0u32..) {
        let hash = mix32(mix32(low.wrapping_add(index).wrapping_add(key0)) ^ key1);
        *value = if hash < threshold { *value * scale } else { 0.0 };
    }
}

/// A bijection of 32 bits that flips each output bit with probability close to 1/2 for each input bit (the constants of
/// Wellons' hash prospector, "lowbias32").
#[inline(always)]
fn mix32(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The output function of the SplitMix64 generator (Steele, Lea and Flood 2014).
#[inline(always)]
fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
