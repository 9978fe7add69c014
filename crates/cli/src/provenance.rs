//! By what code and on what machine a run is made.

use isorate_results::Provenance;

/// What every run of this process has in common.
pub fn provenance() -> Provenance {
    Provenance {
        code_revision: env!("ISORATE_REVISION").into(),
        code_dirty: env!("ISORATE_DIRTY") == "true",
        lock_hash: lock_hash(),
        versions: [("isorate", env!("CARGO_PKG_VERSION")), ("rustc", env!("ISORATE_RUSTC"))]
            .into_iter()
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect(),
        device: "cpu".into(),
        ..Provenance::default()
    }
}

/// BLAKE3 of the lock file that fixes every dependency's version, candle's among them.
fn lock_hash() -> String {
    blake3::hash(include_bytes!("../../../Cargo.lock")).to_hex().to_string()
}
