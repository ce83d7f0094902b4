//! One suite, run on every instruction set of this machine.
