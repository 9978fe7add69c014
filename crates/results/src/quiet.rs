//! Calls of a decoder that panics on altered bytes.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The value of `work`, or `None` if it panicked; the panic prints nothing.
///
/// polars' parquet reader unwraps what a damaged footer does not hold. Such a file is unreadable like one that the reader
/// refuses, so the panic is caught, and a hook that looks at this thread alone keeps its message from the user.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                previous(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work)).ok();
    QUIET.set(false);
    result
}

#[cfg(test)]
mod tests {
    #[test]
    fn panics_become_none() {
        assert_eq!(super::catch(|| 1), Some(1));
        assert_eq!(super::catch(|| -> u8 { panic!("not seen") }), None);
    }
}
