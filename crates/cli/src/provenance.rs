//! By what code and on what machine a run is made.

use isorate_results::Provenance;

/// What every run of this process has in common.
pub fn provenance() -> Provenance {
    Provenance {
        code_revision: env!("ISORATE_REVISION").into(),
        code_dirty: env!("ISORATE_DIRTY") == "true",
        lock_hash: lock_hash(),
        versions: [("isorate", env!("CARGO_PKG_VERSION")), ("candle", candle_version()), ("rustc", env!("ISORATE_RUSTC"))]
            .into_iter()
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect(),
        ..Provenance::default()
    }
}

/// The lock file that fixes every dependency's version.
const LOCK: &str = include_str!("../../../Cargo.lock");

fn lock_hash() -> String {
    blake3::hash(LOCK.as_bytes()).to_hex().to_string()
}

/// candle's version, as the lock file has it.
fn candle_version() -> &'static str {
    LOCK.split_once("name = \"candle-core\"\nversion = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}

#[cfg(test)]
mod tests {
    #[test]
    fn candle_has_a_version() {
        assert!(super::candle_version().starts_with(|c: char| c.is_ascii_digit()), "{}", super::candle_version());
    }
}
