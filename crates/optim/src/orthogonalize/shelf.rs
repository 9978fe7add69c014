use std::sync::{Mutex, PoisonError};

/// Scratch between its uses: as many as were ever needed at a time, whichever threads needed them.
///
/// Not one for each thread: the same matrix may be worked on by another thread at every step, and each would keep buffers of its size.
pub(super) struct Shelf<S>(Mutex<Vec<S>>);

impl<S: Default> Shelf<S> {
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Calls `work` with scratch that nobody else has meanwhile: the one put back last, or a new one.
    pub fn with<R>(&self, work: impl FnOnce(&mut S) -> R) -> R {
        // A panic elsewhere leaves a list that is whole.
        let shelf = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = shelf().pop();
        let mut scratch = taken.unwrap_or_default();
        let result = work(&mut scratch);
        shelf().push(scratch);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_used_again_and_never_shared() {
        static SHELF: Shelf<Vec<u8>> = Shelf::new();
        let inner = SHELF.with(|outer| {
            outer.push(1);
            SHELF.with(|inner| {
                inner.push(2);
                inner.clone()
            })
        });
        assert_eq!(inner, [2], "a use within a use has its own");
        let mut kept = [0; 2];
        SHELF.with(|first| {
            kept[0] = first[0];
            SHELF.with(|second| kept[1] = second[0]);
        });
        assert_eq!(kept, [1, 2], "the last one put back comes first, and no third one was made");
        std::thread::spawn(|| SHELF.with(|other| assert_eq!(other[0], 1))).join().expect("another thread finds it");
    }
}
