//! Metadata ↔ bytes. The only place that knows bincode.
//!
//! bincode 2 in its `legacy` form (fixed-size little-endian integers): a plain, documented layout that other crates read
//! and write too, so that leaving bincode would not change a byte. Numbers in bulk go to safetensors or Arrow instead.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a value.
///
/// # Panics
/// Never for the plain data types of this crate: they have no maps with unserializable keys.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::legacy()).expect("plain data serialize")
}

/// The value of some bytes, all of which must be used.
///
/// # Errors
/// What does not fit, in words.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let limit = bincode::config::legacy().with_limit::<{ 1 << 30 }>();
    match bincode::serde::decode_from_slice(bytes, limit) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(format!("{} bytes are left over", bytes.len() - used)),
        Err(error) => Err(error.to_string()),
    }
}
