//! How much memory a work needs.

use crate::measurement::WARM_UP;
use crate::{Result, Work};

/// Does a work a few times and gives the largest resident memory that this process ever had, in MiB; None where the system
/// does not say (it is `VmHWM` in Linux's `/proc/self/status`).
///
/// The program itself is in it, and whatever was done before: for a process that does this work alone.
///
/// # Errors
/// Those of the operations.
pub fn peak_mib(work: &Work) -> Result<Option<f64>> {
    candle_core::utils::init_global_threadpool();
    rayon::scope(|_| {
        let mut call = (work.prepare)()?;
        (0..WARM_UP).try_for_each(|_| call())
    })?;
    Ok(std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(high_water_mark))
}

fn high_water_mark(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        assert_eq!(high_water_mark("VmPeak:\t  999 kB\nVmHWM:\t    1536 kB\nVmRSS:\t 1 kB\n"), Some(1.5));
        assert_eq!(high_water_mark("VmRSS:\t 1 kB\n"), None);
    }

    #[test]
    fn memory_that_was_touched_counts() {
        const MIB: usize = 200;
        let work = Work::new("a/b", || {
            Ok(Box::new(|| {
                std::hint::black_box(vec![1_u8; MIB << 20]);
                Ok(())
            }))
        });
        let peak = peak_mib(&work).unwrap();
        assert!(peak.is_none_or(|peak| peak > MIB as f64), "{peak:?} MiB");
        assert_eq!(peak.is_some(), cfg!(target_os = "linux"));
    }
}
