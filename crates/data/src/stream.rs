//! Seeded random streams.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The random stream of one consumer: [`ChaCha8Rng`] keyed with
/// `BLAKE3-derive-key("isorate random stream v1", seed ‖ index ‖ purpose)`, both integers as 8 little-endian bytes.
///
/// Streams that differ in any of the three arguments are independent, so a new consumer never shifts the numbers of another one.
///
/// ```
/// use isorate_data::stream;
/// use rand::Rng;
///
/// let draw = |seed, purpose, index| stream(seed, purpose, index).random::<u64>();
/// assert_eq!(draw(1, "shuffle", 0), draw(1, "shuffle", 0));
/// assert_ne!(draw(1, "shuffle", 0), draw(1, "shuffle", 1));
/// assert_ne!(draw(1, "shuffle", 0), draw(1, "init", 0));
/// ```
pub fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("isorate random stream v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
