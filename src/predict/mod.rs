//! The second life: a request → calibrated click probabilities, from a bundle that training left.
//!
//! ```text
//! request ─▶ fields ─▶ cells ─▶ scorer ─▶ probabilities      registry ─▶ live: the bundle in use, exchanged by one pointer
//!                        └─▶ given ─▶ log: a sample of requests, good enough to replay
//! ```
//!
//! [`scorer`] knows no HTTP and waits for nothing; [`http`] is a skin around it. Nothing here learns.

mod background;
pub mod budget;
pub mod fields;
pub mod given;
pub mod http;
pub mod json;
pub mod live;
pub mod log;
pub mod openrtb;
pub mod scorer;

pub use budget::Budget;
pub use fields::Fields;
pub use live::{Follower, Live, LiveModel};
