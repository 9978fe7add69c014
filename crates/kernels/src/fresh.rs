//! Results that are written into fresh memory by several threads, without clearing it first.
#![allow(unsafe_code, reason = "memory becomes a vector of numbers once all of them are written")]

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Numbers that one thread works on at a time, about: small beside the cache, large beside the cost of sharing work out.
const PART: usize = 1 << 14;

/// The length of parts that hold whole units, of [`PART`] numbers or so.
pub(crate) fn part_of(unit: usize) -> usize {
    unit * (PART / unit.max(1)).max(1)
}

/// A part of a result, which is written front to back.
pub(crate) struct Part<'a> {
    rest: &'a mut [MaybeUninit<f32>],
}

impl Part<'_> {
    /// Appends f(x) for each number of `x`.
    #[inline(always)]
    pub fn map(&mut self, x: &[f32], f: impl Fn(f32) -> f32) {
        self.next(x.len()).iter_mut().zip(x).for_each(|(slot, &x)| {
            slot.write(f(x));
        });
    }

    /// Appends f(x, y) for each pair of numbers.
    #[inline(always)]
    pub fn map2(&mut self, x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) {
        assert_eq!(x.len(), y.len(), "pairs");
        self.next(x.len()).iter_mut().zip(x.iter().zip(y)).for_each(|(slot, (&x, &y))| {
            slot.write(f(x, y));
        });
    }

    /// Appends the numbers of `x`.
    #[inline(always)]
    pub fn copy(&mut self, x: &[f32]) {
        self.next(x.len()).write_copy_of_slice(x);
    }

    /// Appends `x` `count` times.
    #[inline(always)]
    pub fn fill(&mut self, x: f32, count: usize) {
        self.next(count).iter_mut().for_each(|slot| {
            slot.write(x);
        });
    }

    /// The next `count` places, all of which the caller writes.
    #[inline(always)]
    fn next(&mut self, count: usize) -> &mut [MaybeUninit<f32>] {
        let (next, rest) = std::mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        next
    }
}

/// `length` numbers in parts of `part` numbers, the last of which may be shorter: `write(index, part)` fills one.
///
/// # Panics
/// When `write` does not fill a part.
pub(crate) fn filled(length: usize, part: usize, write: impl Fn(usize, &mut Part<'_>) + Sync) -> Vec<f32> {
    let mut nothing = vec![(); length.div_ceil(part.max(1))];
    filled_with(length, part, &mut nothing, |index, part, ()| write(index, part))
}

/// The same with a further result for each part, one of `beside`.
pub(crate) fn filled_with<T: Send>(
    length: usize,
    part: usize,
    beside: &mut [T],
    write: impl Fn(usize, &mut Part<'_>, &mut T) + Sync,
) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(length);
    let slots = &mut numbers.spare_capacity_mut()[..length];
    // A zip with fewer would leave parts out.
    assert_eq!(beside.len(), length.div_ceil(part.max(1)), "one for each part");
    let fill = |(index, (rest, beside)): (usize, (&mut [MaybeUninit<f32>], &mut T))| {
        let mut part = Part { rest };
        write(index, &mut part, beside);
        assert!(part.rest.is_empty(), "{} numbers of a part were not written", part.rest.len());
    };
    if length <= part {
        // Other threads would be woken for nothing.
        slots.chunks_mut(part.max(1)).zip(beside).enumerate().for_each(fill);
    } else {
        slots.par_chunks_mut(part).zip(beside).enumerate().for_each(fill);
    }
    // SAFETY: the vector has room for `length` numbers, and all were written: the parts cover them, a part gets shorter only
    // by places that were written, and none had a place left.
    unsafe { numbers.set_len(length) };
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_in_their_places() {
        for length in [0, 1, 6, 7, 8, 100] {
            let written = filled(length, 7, |index, part| {
                let rest = length - 7 * index;
                let x: Vec<f32> = (0..rest.min(7)).map(|i| (7 * index + i) as f32).collect();
                let (first, second) = x.split_at(x.len() / 2);
                part.map(first, |x| x + 1.0);
                let (second, third) = second.split_at(second.len() / 2);
                part.map2(second, second, |x, y| x + y - x + 1.0);
                for x in third {
                    part.fill(x + 1.0, 1);
                }
            });
            assert_eq!(written, (1..=length).map(|i| i as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "1 numbers of a part were not written")]
    fn a_part_with_a_gap_is_no_result() {
        filled(3, 3, |_, part| part.copy(&[1.0, 2.0]));
    }
}
