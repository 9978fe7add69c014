//! How much memory the process has used.

/// Begins a new measurement of the peak. Runs that go on at the same time share the process and so the peak.
pub(crate) fn forget_peak() {
    // Linux: 5 resets the high-water mark. Elsewhere, and where it is refused, the peak is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident memory since then, bytes; 0 where the system does not tell.
pub(crate) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|number| number.trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}
