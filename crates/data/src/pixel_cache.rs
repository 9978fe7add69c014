//! Decoded images that are kept.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Keeps the first images that it is given, while they fit, for good.
///
/// Nothing is evicted: a shuffled epoch reads every image once, so the least recently used image is as likely to be next as any
/// other, and replacing one by another would cost a decoding without a gain. With room for a share `s` of the images, a share `s` of each
/// epoch after the first is not decoded again.
pub(crate) struct PixelCache {
    slots: Vec<OnceLock<Box<[u8]>>>,
    used: AtomicUsize,
    capacity: usize,
}

impl PixelCache {
    /// For images `0..rows` and at most `capacity` bytes of pixels.
    pub(crate) fn new(rows: usize, capacity: usize) -> Self {
        let slots = if capacity == 0 { 0 } else { rows };
        Self { slots: (0..slots).map(|_| OnceLock::new()).collect(), used: AtomicUsize::new(0), capacity }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        self.slots.get(row)?.get().map(Box::as_ref)
    }

    /// Keeps the pixels of `row` if there is room. Two threads may bring the same row: the second one's is dropped.
    pub(crate) fn offer(&self, row: usize, pixels: Vec<u8>) {
        let size = pixels.len();
        let Some(slot) = self.slots.get(row).filter(|slot| slot.get().is_none()) else { return };
        let add = |used: usize| used.checked_add(size).filter(|&sum| sum <= self.capacity);
        if self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
            && slot.set(pixels.into_boxed_slice()).is_err()
        {
            self.used.fetch_sub(size, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_fit_are_kept() {
        let cache = PixelCache::new(4, 5);
        cache.offer(2, vec![2, 2]);
        cache.offer(0, vec![0, 0]);
        cache.offer(2, vec![9, 9]);
        cache.offer(1, vec![1, 1]);
        cache.offer(3, vec![3]);
        assert_eq!([0, 1, 2, 3].map(|row| cache.get(row)), [Some(&[0, 0][..]), None, Some(&[2, 2]), Some(&[3])]);
        let none = PixelCache::new(4, 0);
        none.offer(0, vec![]);
        assert_eq!(none.get(0), None);
    }
}
