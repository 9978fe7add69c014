//! The order in which an epoch shows the rows.

use rand::seq::SliceRandom;

use crate::{DataError, Examples, stream};

/// Which rows an epoch shows, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each row once, as they come: for evaluation.
    Sequential,
    /// Each row once, shuffled with the stream (`seed`, "shuffle", epoch).
    Shuffled,
    /// As many rows as the set has, each class equally often: see [`Order::GroupBalanced`], with classes for groups.
    ClassBalanced,
    /// As many rows as the set has, each group equally often.
    ///
    /// This has the expectation of the weighted sampling of Sagawa et al. 2020 and Idrissi et al. 2022 ("RWG": each draw takes a
    /// group uniformly, then a row of it, with replacement), without its noise in the counts. The epoch is a sequence of rounds; a round takes one row
    /// of each group that has rows, in random order. So each group occurs in any beginning of the epoch equally often within one,
    /// and exactly so in a batch of a multiple of the number of groups when the batches before it are such too. Rows of a group follow a
    /// random permutation of it, then another one, and so on: within an epoch no row of a group occurs twice more than another. A
    /// group larger than its share shows another random part in every epoch.
    ///
    /// Streams: (`seed`, "balanced rounds", epoch) orders the rounds, (`seed`, "balanced group G", epoch) permutes group G.
    GroupBalanced,
}

/// The rows of an epoch, in order.
///
/// # Errors
/// [`DataError::Setting`] for [`Order::GroupBalanced`] on a set without groups.
///
/// # Panics
/// If the examples break an invariant of [`Examples`].
pub(crate) fn rows<E: Examples + ?Sized>(examples: &E, order: Order, seed: u64, epoch: u64) -> Result<Vec<usize>, DataError> {
    let all = 0..examples.len();
    match order {
        Order::Sequential => Ok(all.collect()),
        Order::Shuffled => {
            let mut rows: Vec<usize> = all.collect();
            rows.shuffle(&mut stream(seed, "shuffle", epoch));
            Ok(rows)
        }
        Order::ClassBalanced => {
            let labels = examples.labels();
            Ok(balanced(examples.classes(), all.map(|row| labels[row] as usize), seed, epoch))
        }
        Order::GroupBalanced => {
            let groups = examples.groups().ok_or_else(|| {
                DataError::setting("order", order, "the set has no groups\nhint: class-balanced batches need only labels")
            })?;
            Ok(balanced(groups.count(), all.map(|row| groups.group(row)), seed, epoch))
        }
    }
}

fn balanced(count: usize, groups: impl ExactSizeIterator<Item = usize>, seed: u64, epoch: u64) -> Vec<usize> {
    let length = groups.len();
    let mut members = vec![Vec::new(); count];
    for (row, group) in groups.enumerate() {
        members[group].push(row);
    }
    let mut decks: Vec<Deck> = members
        .into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(group, rows)| Deck { next: rows.len(), rows, rng: stream(seed, &format!("balanced group {group}"), epoch) })
        .collect();
    let mut rounds = stream(seed, "balanced rounds", epoch);
    let mut round: Vec<usize> = (0..decks.len()).collect();
    let mut rows = Vec::with_capacity(length);
    while rows.len() < length {
        round.shuffle(&mut rounds);
        rows.extend(round.iter().take(length - rows.len()).map(|&deck| decks[deck].draw()));
    }
    rows
}

/// The rows of a group, shuffled anew whenever all were drawn.
struct Deck {
    rows: Vec<usize>,
    next: usize,
    rng: rand_chacha::ChaCha8Rng,
}

impl Deck {
    fn draw(&mut self) -> usize {
        if self.next == self.rows.len() {
            self.rows.shuffle(&mut self.rng);
            self.next = 0;
        }
        self.next += 1;
        self.rows[self.next - 1]
    }
}
