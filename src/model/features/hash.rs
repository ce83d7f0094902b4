//! Bytes → stable hashes: the identity of values, files and settings.
//!
//! The algorithm (XXH3 with a 64-bit seed) and its use here are part of the formats: the same bytes give the same code
//! on every machine and in every version that reads [`VERSION`]. Golden vectors below hold it.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

/// Version of everything in this file; bundles and prepared data carry it.
pub const VERSION: u32 = 1;

/// Code of "no value at this position".
pub const EMPTY_CODE: u32 = 0;

/// A 128-bit identity of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Identity of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Fingerprint(xxh3_128(bytes))
    }

    /// Identity of a stream of bytes, fed piece by piece.
    pub fn stream() -> FingerprintStream {
        FingerprintStream(xxhash_rust::xxh3::Xxh3::new())
    }
}

/// Takes bytes piece by piece and ends as the [`Fingerprint`] of all of them.
pub struct FingerprintStream(xxhash_rust::xxh3::Xxh3);

impl FingerprintStream {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Identity of all bytes so far.
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.digest128())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Fingerprint).map_err(serde::de::Error::custom)
    }
}

/// Salt of a feature, from its name.
pub fn salt(feature: &str) -> u64 {
    xxh3_64(feature.as_bytes())
}

/// Code of one value of the feature with this salt.
#[inline]
pub fn value_code(salt: u64, value: &[u8]) -> u32 {
    fold(xxh3_64_with_seed(value, salt))
}

/// [`value_code`] of one feature, with what its salt decides worked out once. Keys of up to 16 bytes, which is nearly all of
/// them, are hashed in place by the formulas of XXH3 for short inputs (its specification, 2021, "small inputs").
#[derive(Debug, Clone)]
pub struct KeyHasher {
    salt: u64,
    /// Masks for 1 to 3, 4 to 8, and 9 to 16 bytes (the first and the last 8).
    masks: [u64; 4],
}

/// The first words of XXH3's secret.
const SECRET: [u64; 7] = [
    0xbe4b_a423_396c_feb8,
    0x1cad_21f7_2c81_017c,
    0xdb97_9083_e96d_d4de,
    0x1f67_b3b7_a4a4_4072,
    0x78e5_c0cc_4ee6_79cb,
    0x2172_ffcc_7dd0_5a82,
    0x8e24_43f7_7446_08b8,
];
const PRIME_MX1: u64 = 0x1656_6791_9e37_79f9;
const PRIME_MX2: u64 = 0x9fb2_1c65_1e98_df25;
const PRIME64_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME64_3: u64 = 0x1656_67b1_9e37_79f9;

impl KeyHasher {
    /// A hasher of values of the feature with this salt.
    pub fn new(salt: u64) -> Self {
        let first = SECRET[0];
        let masks = [
            u64::from(first as u32 ^ (first >> 32) as u32).wrapping_add(salt),
            (SECRET[1] ^ SECRET[2]).wrapping_sub(salt ^ u64::from((salt as u32).swap_bytes()) << 32),
            (SECRET[3] ^ SECRET[4]).wrapping_add(salt),
            (SECRET[5] ^ SECRET[6]).wrapping_sub(salt),
        ];
        KeyHasher { salt, masks }
    }

    /// [`value_code`] of `value`.
    #[inline(always)]
    pub fn value_code(&self, value: &[u8]) -> u32 {
        fold(match value.len() {
            4..=8 => {
                let first = word32(value.first_chunk());
                let last = word32(value.last_chunk());
                let mut hash = (u64::from(last) | u64::from(first) << 32) ^ self.masks[1];
                hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
                hash = hash.wrapping_mul(PRIME_MX2);
                hash ^= (hash >> 35).wrapping_add(value.len() as u64);
                hash = hash.wrapping_mul(PRIME_MX2);
                hash ^ hash >> 28
            }
            9..=16 => {
                let low = word64(value.first_chunk()) ^ self.masks[2];
                let high = word64(value.last_chunk()) ^ self.masks[3];
                let product = u128::from(low) * u128::from(high);
                let sum = (value.len() as u64)
                    .wrapping_add(low.swap_bytes())
                    .wrapping_add(high)
                    .wrapping_add(product as u64 ^ (product >> 64) as u64);
                let hash = (sum ^ sum >> 37).wrapping_mul(PRIME_MX1);
                hash ^ hash >> 32
            }
            length @ 1..=3 => {
                let [first, middle, last] = [value[0], value[length >> 1], value[length - 1]].map(u64::from);
                let mut hash = (first << 16 | middle << 24 | last | (length as u64) << 8) ^ self.masks[0];
                hash = (hash ^ hash >> 33).wrapping_mul(PRIME64_2);
                hash = (hash ^ hash >> 29).wrapping_mul(PRIME64_3);
                hash ^ hash >> 32
            }
            _ => xxh3_64_with_seed(value, self.salt),
        })
    }

    /// What [`word_codes`](crate::kernels::text::word_codes) needs to give the [`value_code`] of values of 4 to 8 bytes.
    pub fn word_mask(&self) -> u64 {
        self.masks[1]
    }
}

#[inline]
fn word32(bytes: Option<&[u8; 4]>) -> u32 {
    u32::from_le_bytes(*bytes.expect("the length was matched"))
}

#[inline]
fn word64(bytes: Option<&[u8; 8]>) -> u64 {
    u64::from_le_bytes(*bytes.expect("the length was matched"))
}

/// Code of a number's bin.
#[inline]
pub fn bin_code(salt: u64, bin: i64) -> u32 {
    fold(mix(salt ^ mix(bin as u64 ^ 0x0062_696e)))
}

/// Code of a missing value.
#[inline]
pub fn missing_code(salt: u64) -> u32 {
    fold(mix(salt ^ 0x006d_6973_7369_6e67))
}

/// Code of a cross, from the codes of its parts so far and the next part.
#[inline]
pub fn cross_code(so_far: u32, next: u32) -> u32 {
    fold(mix(((so_far as u64) << 32 | next as u64) ^ 0x0063_726f_7373))
}

/// Identity of a request or a user, for grouping rows.
pub fn group_id(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Identity of an encoded row, from its codes in order: equal rows have equal ones on every machine.
#[inline]
pub fn row_fingerprint(codes: &[u32]) -> u64 {
    const { assert!(cfg!(target_endian = "little"), "codes are hashed as their little-endian bytes") };
    xxh3_64(bytemuck::cast_slice(codes))
}

/// A number in [0, 1) drawn for `index` by `seed`: the same for everyone who asks, in any order.
pub fn uniform(seed: u64, index: u64) -> f64 {
    (mix(mix(seed ^ 0x756e_6966).wrapping_add(index)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// 64 bits → a code that is never [`EMPTY_CODE`].
#[inline]
fn fold(hash: u64) -> u32 {
    ((hash >> 32) as u32).max(1)
}

/// A bijection of 64-bit numbers that spreads close inputs (MurmurHash3's finalizer, Appleby 2011).
#[inline]
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::text::word_codes;

    /// Values of version 1. A change here is a change of every format.
    #[test]
    fn golden_vectors() {
        let salt = salt("C1");
        assert_eq!(salt, xxhash_rust::xxh3::xxh3_64(b"C1"));
        let codes = [value_code(salt, b"68fd1e64"), value_code(salt, b""), bin_code(salt, -3), missing_code(salt)];
        assert_eq!(
            codes, GOLDEN,
            "the hash of version {VERSION} has changed: every prepared set and bundle would be misread"
        );
        assert_eq!(cross_code(codes[0], codes[1]), GOLDEN_CROSS);
        assert_eq!(row_fingerprint(&codes), GOLDEN_ROW);
    }

    const GOLDEN: [u32; 4] = [3_145_417_032, 2_796_005_301, 2_607_686_397, 2_549_296_257];
    const GOLDEN_ROW: u64 = 14_511_165_251_533_026_515;
    const GOLDEN_CROSS: u32 = 4_293_869_985;

    #[test]
    fn salts_separate_features() {
        assert_ne!(value_code(salt("a"), b"x"), value_code(salt("b"), b"x"));
        assert_ne!(bin_code(salt("a"), 1), bin_code(salt("a"), 2));
        assert_ne!(cross_code(1, 2), cross_code(2, 1));
    }

    #[test]
    fn short_keys_hash_as_any_others() {
        let mut state = 7_u64;
        for round in 0..20_000 {
            state = mix(state.wrapping_add(round));
            let salt = if round == 0 { 0 } else { state };
            let key: Vec<u8> = (0..round % 40).map(|byte| (mix(state ^ byte) >> 8) as u8).collect();
            let hasher = KeyHasher::new(salt);
            let expected = value_code(salt, &key);
            assert_eq!(hasher.value_code(&key), expected, "{key:?} salted {salt}");
            if (4..=8).contains(&key.len()) {
                let mut word = [0; 8];
                word[..key.len()].copy_from_slice(&key);
                let mut codes = [0];
                word_codes(&[u64::from_le_bytes(word)], &[key.len() as u32], &[hasher.word_mask()], &[7], &mut codes);
                assert_eq!(codes, [expected], "{key:?} salted {salt}");
            }
        }
    }

    #[test]
    fn fingerprints_survive_json() {
        let print = Fingerprint::of(b"pctr");
        let json = serde_json::to_string(&print).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), print);
        let mut stream = Fingerprint::stream();
        stream.update(b"pc");
        stream.update(b"tr");
        assert_eq!(stream.finish(), print);
    }
}
