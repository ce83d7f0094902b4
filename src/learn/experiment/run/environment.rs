//! Where a run runs, and how much memory its process took.

use crate::kernels;
use crate::learn::experiment::record::Environment;

/// This machine, with `threads` lent to the run.
pub(super) fn environment(threads: usize) -> Environment {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Environment {
        pctr: env!("CARGO_PKG_VERSION").into(),
        isa: kernels::isa().name().into(),
        threads,
        processor: processor.map(|(_, name)| name.trim().to_owned()),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// Begins to watch for the greatest resident memory anew, where the system lets a process do that (Linux: 5 to `clear_refs`).
pub(super) fn forget_peak() {
    // Where it cannot be done the peak is that of the process so far, as the record says.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Greatest resident memory of this process since it began, or since [`forget_peak`].
pub(super) fn process_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
