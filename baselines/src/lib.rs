//! Other people's models behind one contract.
