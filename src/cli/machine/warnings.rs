//! What keeps this machine from being as fast as it could be.

use indexmap::IndexMap;

use super::Rate;
use crate::kernels::{self, Isa};

/// Everything a person could change; empty when there is nothing.
pub(super) fn of(cores: usize, rates: &IndexMap<&'static str, Rate>) -> Vec<String> {
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split(' ').next()?.parse().ok());
    let found = [
        poorer_isa(kernels::isa(), Isa::best()),
        fewer_cores(cores, cores_of_system()),
        // On a busy machine a second thread says nothing about the cores.
        busy(load, cores).or_else(|| cores_in_pairs(cores, &rates["f32_peak"])),
    ];
    found.into_iter().flatten().collect()
}

/// Processors that the system lists.
pub(super) fn cores_of_system() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    Some(text.lines().filter(|line| line.starts_with("processor")).count()).filter(|count| *count > 0)
}

fn poorer_isa(used: Isa, best: Isa) -> Option<String> {
    (used != best).then(|| format!("{used} is used although {best} is there: unset PCTR_ISA"))
}

fn fewer_cores(usable: usize, of_system: Option<usize>) -> Option<String> {
    let all = of_system.filter(|all| usable < *all)?;
    Some(format!("this process may use {usable} of {all} cores: look at its affinity (taskset) and its cgroup's quota"))
}

/// `load` is the number of threads that wanted to run, on average over the last minute.
fn busy(load: Option<f64>, cores: usize) -> Option<String> {
    let load = load.filter(|load| *load > 0.5 * cores as f64)?;
    Some(format!("something else runs (load {load:.1} on {cores} cores): the speeds shown are too low"))
}

fn cores_in_pairs(cores: usize, peak: &Rate) -> Option<String> {
    let times = peak.all_threads? / peak.one_thread;
    (times < 0.75 * cores as f64).then(|| {
        format!(
            "{cores} threads are {times:.1} times as fast as one: cores are halves of cores (hyper-threads), \
             slow down together, or are shared with other machines"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(one_thread: f64, all_threads: Option<f64>) -> Rate {
        Rate { unit: "GFLOP/s", one_thread, all_threads, share_of_peak: None }
    }

    #[test]
    fn what_is_as_it_should_be_is_not_mentioned() {
        assert_eq!(poorer_isa(Isa::Avx512, Isa::Avx512), None);
        assert_eq!(fewer_cores(2, Some(2)), None);
        assert_eq!(fewer_cores(2, None), None);
        assert_eq!(busy(Some(0.4), 1), None);
        assert_eq!(busy(None, 1), None);
        assert_eq!(cores_in_pairs(2, &peak(100.0, Some(190.0))), None);
        assert_eq!(cores_in_pairs(1, &peak(100.0, None)), None);
    }

    #[test]
    fn what_is_lost_is_named() {
        let told = [
            (poorer_isa(Isa::Avx2, Isa::Avx512), "avx2 is used although avx512 is there"),
            (fewer_cores(1, Some(2)), "1 of 2 cores"),
            (busy(Some(1.7), 2), "load 1.7"),
            (cores_in_pairs(2, &peak(100.0, Some(110.0))), "1.1 times"),
        ];
        for (warning, says) in told {
            let warning = warning.expect("a warning");
            assert!(warning.contains(says), "{warning}");
        }
    }
}
