//! CPU features and `PCTR_ISA` to one instruction set, chosen once per process.
//!
//! Detection is at run time, so one binary serves every machine. `PCTR_ISA=scalar|avx2|avx512|avx512_bf16` overrides downwards
//! (for tests and for finding out what a set is worth); asking for more than the machine has is an error, not a guess.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set with kernels of its own, poorest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// No assumption about the processor. On x86-64 a fused multiply-add is then a function call: right, but slow.
    Scalar,
    /// AVX2 and FMA: 8 floats a register (Haswell 2013, Zen 2017 and later).
    Avx2,
    /// AVX-512 F, BW, DQ, VL: 16 floats a register (Skylake-X 2017, Zen 4 2022 and later).
    Avx512,
    /// AVX-512 with dot products of bfloat16 pairs (Cooper Lake 2020, Zen 4 2022, Sapphire Rapids 2023 and later). Only
    /// products that ask for [`Precision::Bf16`](super::Precision::Bf16) differ from [`Isa::Avx512`].
    Avx512Bf16,
}

/// `PCTR_ISA` asks for something that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsaError {
    /// The value is not the name of an instruction set.
    Unknown {
        /// What was asked for.
        requested: String,
    },
    /// The processor lacks the instruction set.
    Unavailable {
        /// What was asked for.
        requested: Isa,
        /// The best that this processor has.
        best: Isa,
    },
}

/// The instruction set in use: the best of this processor, or what `PCTR_ISA` names.
///
/// # Panics
/// With the text of [`IsaError`] when `PCTR_ISA` cannot be met. Programs call [`Isa::from_environment`] first.
#[inline]
pub fn isa() -> Isa {
    #[cfg(test)]
    if let Some(forced) = FORCED.get() {
        return forced;
    }
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    *CHOSEN.get_or_init(|| Isa::from_environment().unwrap_or_else(|error| panic!("{error}")))
}

impl Isa {
    /// All sets, poorest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16];

    /// The name used in `PCTR_ISA` and in records.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512_bf16",
        }
    }

    /// The best set of this processor.
    pub fn best() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                return if has!("avx512bf16") { Isa::Avx512Bf16 } else { Isa::Avx512 };
            }
            if avx2 {
                return Isa::Avx2;
            }
        }
        Isa::Scalar
    }

    /// Whether kernels of this set multiply bfloat16 in one instruction.
    pub fn multiplies_bf16(self) -> bool {
        self == Isa::Avx512Bf16
    }

    /// Whether this processor can run the set. A processor that has one set has all poorer ones.
    pub fn is_available(self) -> bool {
        self <= Isa::best()
    }

    /// The set that `PCTR_ISA` names, or the best one when it is unset or empty.
    pub fn from_environment() -> Result<Isa, IsaError> {
        match std::env::var_os("PCTR_ISA") {
            Some(value) if !value.is_empty() => Isa::from_request(&value.to_string_lossy()),
            _ => Ok(Isa::best()),
        }
    }

    /// The set with this name, if this processor has it.
    pub fn from_request(name: &str) -> Result<Isa, IsaError> {
        let requested = Isa::ALL.into_iter().find(|isa| isa.name() == name);
        match requested {
            None => Err(IsaError::Unknown { requested: name.to_owned() }),
            Some(requested) if requested.is_available() => Ok(requested),
            Some(requested) => Err(IsaError::Unavailable { requested, best: Isa::best() }),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsaError::Unknown { requested } => {
                write!(f, "PCTR_ISA: expected scalar, avx2, avx512 or avx512_bf16, got {requested:?}")
            }
            IsaError::Unavailable { requested, best } => {
                write!(f, "PCTR_ISA: this processor has no {requested}; its best instruction set is {best}")
            }
        }
    }
}

impl std::error::Error for IsaError {}

/// Compiles one safe body once per instruction set, and makes the entry that picks among them.
///
/// The body must be `#[inline(always)]`, so that it takes the features of each caller. `check` runs first, once.
macro_rules! per_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:path $(, check $check:block)?
    ) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments, reason = "a formula has as many as it has")]
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            $($check)?
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    $body($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($argument: $type),*) $(-> $result)? {
                    $body($($argument),*)
                }
                match $crate::kernels::dispatch::isa() {
                    // SAFETY: `isa` returns only sets that this processor has.
                    $crate::kernels::dispatch::Isa::Avx512 | $crate::kernels::dispatch::Isa::Avx512Bf16 => {
                        return unsafe { avx512($($argument),*) };
                    }
                    // SAFETY: as above.
                    $crate::kernels::dispatch::Isa::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::kernels::dispatch::Isa::Scalar => {}
                }
            }
            $body($($argument),*)
        }
    };
}
pub(super) use per_isa;

#[cfg(test)]
thread_local! {
    static FORCED: std::cell::Cell<Option<Isa>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
impl Isa {
    /// Whether tests can run the set: a processor with AVX-512 alone runs the dot products of pairs by an emulation of that
    /// one instruction.
    pub(super) fn is_testable(self) -> bool {
        self.is_available() || self == Isa::Avx512Bf16 && Isa::Avx512.is_available()
    }
}

/// Runs `work` on this thread with another instruction set, which must be testable.
#[cfg(test)]
pub(super) fn with_isa<R>(isa: Isa, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    assert!(isa.is_testable(), "{isa} is not available here");
    let _restore = Restore(FORCED.replace(Some(isa)));
    work()
}
