use rayon::prelude::*;

/// Whether work is shared among the threads of rayon, or the caller has other work for them.
///
/// What is computed does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The thread of the caller alone.
    One,
    /// All threads of rayon's current pool.
    All,
}

impl Threads {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::All => rayon::current_num_threads(),
        }
    }

    /// Does both.
    pub fn both(self, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
        match self {
            Self::One => {
                a();
                b();
            }
            Self::All => {
                rayon::join(a, b);
            }
        }
    }

    /// `f(index, chunk)` for chunks of `length` elements.
    pub fn chunks<T: Send>(self, data: &mut [T], length: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        match self {
            Self::One => data.chunks_mut(length).enumerate().for_each(|(i, chunk)| f(i, chunk)),
            Self::All => data.par_chunks_mut(length).enumerate().for_each(|(i, chunk)| f(i, chunk)),
        }
    }

    /// `f` for each item; with several threads each item by itself may go to another one.
    pub(crate) fn each<T: Send>(self, items: Vec<T>, f: impl Fn(T) + Sync + Send) {
        match self {
            Self::One => items.into_iter().for_each(f),
            Self::All => items.into_par_iter().with_max_len(1).for_each(f),
        }
    }
}
