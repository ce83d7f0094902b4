//! Numbers to numbers, fast; the only folder with `unsafe` code.
#![allow(unsafe_code)]

pub mod mapped;
