//! Sequences of equal length from a stream of tokens.

use rand::seq::SliceRandom;

use crate::{DataError, TokenStream, stream};

/// A [`TokenStream`] cut into windows for next-token prediction with a context of `c` tokens.
///
/// Window `w` reads the `c + 1` tokens from place `w · c`: the first `c` are the inputs, the last `c` the targets. Windows follow each other
/// without a gap, so every token after the first one is a target exactly once, except for the `(n − 1) mod c` at the end, which
/// fill no window and are dropped. Documents are not kept apart: a window can hold the end of one and the beginning of the next, with
/// the end of text between them, as is usual for language models of this kind.
///
/// ```
/// use isorate_data::{Bpe, TokenStream, TokenWindows};
/// let bpe = Bpe::embedded()?;
/// let tokens = TokenStream::in_memory(&bpe, [Ok("We, the people of the United States".to_owned())])?;
/// let windows = TokenWindows::new(tokens, 3)?;
/// let (mut inputs, mut targets) = ([0; 6], [0; 6]);
/// windows.read(&[1, 0], &mut inputs, &mut targets)?;
/// // Window 0, which was asked for second, begins with the end of text; its last target is the first input of window 1.
/// assert_eq!((inputs[3], targets[3], targets[5]), (bpe.end_of_text(), inputs[4], inputs[0]));
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub struct TokenWindows {
    tokens: TokenStream,
    context: usize,
    windows: usize,
}

impl TokenWindows {
    /// Windows of `context` tokens.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a context of 0, or one that the stream does not fill once.
    pub fn new(tokens: TokenStream, context: usize) -> Result<Self, DataError> {
        let windows = (tokens.len() - 1).checked_div(context as u64).unwrap_or(0);
        if windows == 0 {
            let rule = format!("must be in 1..={}: there are {} tokens", tokens.len() - 1, tokens.len());
            return Err(DataError::setting("context", context, rule));
        }
        let windows = usize::try_from(windows)
            .map_err(|_| DataError::setting("context", context, "makes more windows than can be counted"))?;
        Ok(Self { tokens, context, windows })
    }

    /// The number of windows, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one window")]
    pub fn len(&self) -> usize {
        self.windows
    }

    /// The number of inputs, and of targets, of a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The tokens that are cut.
    pub fn tokens(&self) -> &TokenStream {
        &self.tokens
    }

    /// The windows in the order of an epoch: shuffled with the stream (`seed`, "shuffle windows", epoch). In chunks of the size of a
    /// batch these are the rows for [`Self::read`].
    pub fn shuffled(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut windows: Vec<usize> = (0..self.windows).collect();
        windows.shuffle(&mut stream(seed, "shuffle windows", epoch));
        windows
    }

    /// Writes inputs and targets of `windows`, in that order: `windows.len() × context` ids each.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a window past the end or a slice of another length; [`DataError::Io`] when the file of the tokens
    /// cannot be read.
    pub fn read(&self, windows: &[usize], inputs: &mut [u32], targets: &mut [u32]) -> Result<(), DataError> {
        for (name, length) in [("length of inputs", inputs.len()), ("length of targets", targets.len())] {
            if windows.len().checked_mul(self.context) != Some(length) {
                let rule = format!("must be {} windows × {} tokens", windows.len(), self.context);
                return Err(DataError::setting(name, length, rule));
            }
        }
        let mut tokens = vec![0; self.context + 1];
        let rows = inputs.chunks_exact_mut(self.context).zip(targets.chunks_exact_mut(self.context));
        for (&window, (inputs, targets)) in windows.iter().zip(rows) {
            if window >= self.windows {
                return Err(DataError::setting("window", window, format!("must be below {}", self.windows)));
            }
            self.tokens.read(window as u64 * self.context as u64, &mut tokens)?;
            inputs.iter_mut().zip(&tokens).for_each(|(input, &token)| *input = token.into());
            targets.iter_mut().zip(&tokens[1..]).for_each(|(target, &token)| *target = token.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::Bpe;
    use proptest::prelude::*;

    static BPE: LazyLock<Bpe> = LazyLock::new(|| Bpe::embedded().unwrap());

    fn windows(documents: &[String], context: usize) -> Result<TokenWindows, DataError> {
        TokenWindows::new(TokenStream::in_memory(&BPE, documents.iter().cloned().map(Ok))?, context)
    }

    proptest! {
        #[test]
        fn every_token_but_the_first_is_a_target_once(
            documents in prop::collection::vec("[a-z \n]{0,30}", 1..8), context in 1usize..9, seed: u64,
        ) {
            let mut expected = vec![0];
            for document in &documents {
                expected.extend(BPE.encode(document).unwrap());
                expected.push(0);
            }
            let Ok(windows) = windows(&documents, context) else {
                prop_assert!(expected.len() <= context);
                return Ok(());
            };
            let order: Vec<usize> = (0..windows.len()).collect();
            let n = windows.len() * context;
            let (mut inputs, mut targets) = (vec![0; n], vec![0; n]);
            windows.read(&order, &mut inputs, &mut targets).unwrap();
            prop_assert_eq!(&inputs, &expected[..n]);
            prop_assert_eq!(&targets, &expected[1..=n]);
            prop_assert!(expected.len() - 1 - n < context, "only what fills no window is dropped");

            let mut shuffled = windows.shuffled(seed, 3);
            prop_assert_eq!(&shuffled, &windows.shuffled(seed, 3));
            let (mut some, mut next) = (vec![0; n], vec![0; n]);
            windows.read(&shuffled, &mut some, &mut next).unwrap();
            prop_assert_eq!(&some[..context], &inputs[shuffled[0] * context..][..context]);
            prop_assert_eq!(&next[..context], &targets[shuffled[0] * context..][..context]);
            shuffled.sort_unstable();
            prop_assert_eq!(shuffled, order);
        }
    }

    #[test]
    fn epochs_and_seeds_have_their_own_order() {
        let windows = windows(&["one two three ".repeat(100)], 2).unwrap();
        let orders = [(1, 0), (1, 1), (2, 0)].map(|(seed, epoch)| windows.shuffled(seed, epoch));
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |context| windows(&[" no".to_owned()], context).err().unwrap();
        insta::assert_snapshot!(error(0), @"context = 0: must be in 1..=2: there are 3 tokens");
        insta::assert_snapshot!(error(3), @"context = 3: must be in 1..=2: there are 3 tokens");
        let windows = windows(&[" no".to_owned()], 2).unwrap();
        let read = |rows: &[usize], inputs, targets| windows.read(rows, &mut vec![0; inputs], &mut vec![0; targets]).unwrap_err();
        insta::assert_snapshot!(read(&[0], 1, 2), @"length of inputs = 1: must be 1 windows × 2 tokens");
        insta::assert_snapshot!(read(&[0], 2, 3), @"length of targets = 3: must be 1 windows × 2 tokens");
        insta::assert_snapshot!(read(&[1], 2, 2), @"window = 1: must be below 1");
    }
}
