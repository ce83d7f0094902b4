//! The plain truth: each kernel as its formula, in f64 where that is truer. Read by tests only.
