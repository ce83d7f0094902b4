//! pctr
