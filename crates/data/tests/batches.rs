//! Batches: what an epoch shows and in which order, and that threads change nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::sync::atomic::{AtomicUsize, Ordering};

use isorate_data::{BatchOptions, Batches, DataError, Examples, Groups, Images, LastBatch, Normalization, Order, stream};
use proptest::prelude::*;
use rand::seq::SliceRandom;

/// `n` images of two values that tell the row, of classes and attributes as given.
#[derive(Debug)]
struct Numbered {
    groups: Groups,
    /// Rows that cannot be read.
    broken: Vec<usize>,
    reads: AtomicUsize,
}

impl Numbered {
    fn new(labels: Vec<u32>, attributes: Vec<u32>) -> Self {
        let groups = Groups::new(["a", "b", "c"], ["x", "y"], labels, attributes).unwrap();
        Self { groups, broken: Vec::new(), reads: AtomicUsize::new(0) }
    }
}

impl Examples for Numbered {
    fn shape(&self) -> [usize; 3] {
        [2, 1, 1]
    }

    fn classes(&self) -> usize {
        3
    }

    fn labels(&self) -> &[u32] {
        self.groups.labels()
    }

    fn groups(&self) -> Option<&Groups> {
        Some(&self.groups)
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(2)) {
            if self.broken.contains(row) {
                return Err(DataError::Empty { name: format!("row {row}") });
            }
            out.copy_from_slice(&[*row as f32, -(*row as f32)]);
        }
        Ok(())
    }
}

fn numbered() -> impl Strategy<Value = Numbered> {
    prop::collection::vec((0u32..3, 0u32..2), 1..120).prop_map(|rows| {
        let (labels, attributes) = rows.into_iter().unzip();
        Numbered::new(labels, attributes)
    })
}

fn options(size: usize, order: Order, seed: u64) -> BatchOptions {
    BatchOptions { order, ..BatchOptions::shuffled(size, seed) }
}

/// How often each of `count` values occurs.
fn counts(values: impl Iterator<Item = usize>, count: usize) -> Vec<usize> {
    let mut counts = vec![0; count];
    values.for_each(|value| counts[value] += 1);
    counts
}

proptest! {
    #[test]
    fn a_batch_is_what_its_rows_say(set in numbered(), size in 1usize..50, seed: u64, order in 0..4usize) {
        let order = [Order::Sequential, Order::Shuffled, Order::ClassBalanced, Order::GroupBalanced][order];
        let batches = Batches::new(&set, options(size, order, seed)).unwrap();
        let made: Vec<_> = batches.epoch(3).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(made.len(), batches.per_epoch());
        prop_assert!(made.iter().rev().skip(1).all(|batch| batch.len() == size));
        for batch in &made {
            let pixels: Vec<f32> = batch.rows.iter().flat_map(|&row| [row as f32, -(row as f32)]).collect();
            prop_assert_eq!(&batch.pixels, &pixels);
            for ((&row, &label), &group) in batch.rows.iter().zip(&batch.labels).zip(&batch.groups) {
                prop_assert_eq!((label, group as usize), (set.labels()[row], set.groups.group(row)));
            }
        }
        let rows: Vec<usize> = made.iter().flat_map(|batch| batch.rows.clone()).collect();
        prop_assert_eq!(&rows, &batches.rows(3).unwrap());

        let dropped = Batches::new(&set, BatchOptions { last: LastBatch::Drop, ..options(size, order, seed) }).unwrap();
        let kept: Vec<_> = dropped.epoch(3).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(kept.len(), dropped.per_epoch());
        prop_assert!(kept.iter().all(|batch| batch.len() == size));
        prop_assert_eq!(&kept[..], &made[..set.len() / size]);
    }

    #[test]
    fn an_epoch_shows_each_row_once(set in numbered(), size in 1usize..50, seed: u64, epoch: u64) {
        let rows = Batches::new(&set, options(size, Order::Shuffled, seed)).unwrap().rows(epoch).unwrap();
        // The order that training has always had.
        let mut order: Vec<u32> = (0..u32::try_from(set.len()).unwrap()).collect();
        order.shuffle(&mut stream(seed, "shuffle", epoch));
        prop_assert_eq!(&rows, &order.iter().map(|&row| row as usize).collect::<Vec<_>>());
        prop_assert_eq!(counts(rows.into_iter(), set.len()), vec![1; set.len()]);
        let rows = Batches::new(&set, options(size, Order::Sequential, seed)).unwrap().rows(epoch).unwrap();
        prop_assert_eq!(rows, (0..set.len()).collect::<Vec<_>>());
    }

    #[test]
    fn balanced_counts_differ_by_one(set in numbered(), seed: u64, epoch: u64, by_class: bool) {
        let order = if by_class { Order::ClassBalanced } else { Order::GroupBalanced };
        let group = |row: usize| if by_class { set.labels()[row] as usize } else { set.groups.group(row) };
        let sizes = counts((0..set.len()).map(group), 6);
        let rows = Batches::new(&set, options(7, order, seed)).unwrap().rows(epoch).unwrap();
        prop_assert_eq!(rows.len(), set.len());
        for end in 0..=rows.len() {
            let shown = counts(rows[..end].iter().map(|&row| group(row)), 6);
            let present = || shown.iter().zip(&sizes).filter(|(_, size)| **size > 0).map(|(shown, _)| *shown);
            prop_assert!(present().max().unwrap() - present().min().unwrap() <= 1, "{:?} after {}", shown, end);
            prop_assert!(shown.iter().zip(&sizes).all(|(&shown, &size)| size > 0 || shown == 0));
        }
        let each = counts(rows.iter().copied(), set.len());
        for (g, size) in sizes.into_iter().enumerate() {
            let of_group = || (0..set.len()).filter(|&row| group(row) == g).map(|row| each[row]);
            if size > 0 {
                prop_assert!(of_group().max().unwrap() - of_group().min().unwrap() <= 1, "group {}", g);
            }
        }
    }

    #[test]
    fn prefetching_changes_nothing(set in numbered(), size in 1usize..20, seed: u64, ahead in 0usize..5) {
        let batches = Batches::new(&set, options(size, Order::GroupBalanced, seed)).unwrap();
        let made: Vec<_> = batches.epoch(1).unwrap().map(Result::unwrap).collect();
        let fetched: Vec<_> =
            std::thread::scope(|scope| batches.prefetch(scope, 1, ahead).unwrap().map(Result::unwrap).collect());
        prop_assert_eq!(made, fetched);
    }
}

fn many() -> Numbered {
    Numbered::new((0..300).map(|row| row % 3).collect(), (0..300).map(|row| u32::from(row % 50 == 0)).collect())
}

#[test]
fn seed_and_epoch_decide_the_order() {
    let set = many();
    for order in [Order::Shuffled, Order::ClassBalanced, Order::GroupBalanced] {
        let rows = |seed, epoch| Batches::new(&set, options(10, order, seed)).unwrap().rows(epoch).unwrap();
        assert_eq!(rows(1, 1), rows(1, 1));
        assert_ne!(rows(1, 1), rows(1, 2));
        assert_ne!(rows(1, 1), rows(2, 1));
    }
}

#[test]
fn every_epoch_of_a_balanced_order_shows_other_rows_of_a_large_group() {
    let set = many();
    let batches = Batches::new(&set, options(10, Order::GroupBalanced, 1)).unwrap();
    let mut shown = vec![0; set.len()];
    for epoch in 0..60 {
        batches.rows(epoch).unwrap().into_iter().for_each(|row| shown[row] += 1);
    }
    // Each of the six groups has 50 places in an epoch; the larger ones have 98 rows, the smaller ones 2.
    for (row, shown) in shown.into_iter().enumerate() {
        let expected = 60.0 * 50.0 / if set.groups.attributes()[row] == 0 { 98.0 } else { 2.0 };
        assert!((0.5..1.5).contains(&(f64::from(shown) / expected)), "row {row}: {shown} instead of {expected}");
    }
}

#[test]
fn a_dropped_iterator_ends_the_thread() {
    let set = many();
    let batches = Batches::new(&set, options(1, Order::Sequential, 0)).unwrap();
    std::thread::scope(|scope| {
        let mut fetched = batches.prefetch(scope, 0, 2).unwrap();
        assert_eq!(fetched.next().unwrap().unwrap().rows, [0]);
    });
    // The first one, two in the channel, and the one whose sending fails or is still under way when the iterator goes.
    let reads = set.reads.load(Ordering::SeqCst);
    assert!(reads <= 5, "{reads} batches were made of 300");
}

#[test]
fn errors_come_in_their_place() {
    let set = Numbered { broken: vec![3, 8], ..many() };
    let batches = Batches::new(&set, options(2, Order::Sequential, 0)).unwrap();
    let places = |batches: &mut dyn Iterator<Item = Result<_, DataError>>| {
        batches.take(6).map(|batch: Result<isorate_data::Batch, _>| batch.err().map(|e| e.to_string())).collect::<Vec<_>>()
    };
    let made = places(&mut batches.epoch(0).unwrap());
    let message = |row| Some(format!("row {row}: no rows; a data set needs at least one"));
    assert_eq!(made, [None, message(3), None, None, message(8), None]);
    let fetched = std::thread::scope(|scope| places(&mut batches.prefetch(scope, 0, 3).unwrap()));
    assert_eq!(made, fetched);
}

#[test]
fn normalization_is_applied_to_each_channel() {
    let set = many();
    let normalization = Normalization { mean: vec![1.0, -1.0], std: vec![2.0, 4.0] };
    let options = BatchOptions { normalization: Some(normalization), ..BatchOptions::sequential(3) };
    let batch = Batches::new(&set, options).unwrap().epoch(0).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.pixels, [-0.5, 0.25, 0.0, 0.0, 0.5, -0.25]);
}

#[test]
fn wrong_options_are_refused() {
    let set = many();
    let new = |options| Batches::new(&set, options).err().unwrap();
    insta::assert_snapshot!(new(BatchOptions::shuffled(0, 1)), @"batch size = 0: must be at least 1");
    let with = |mean: &[f32], std: &[f32]| {
        let normalization = Normalization { mean: mean.to_vec(), std: std.to_vec() };
        new(BatchOptions { normalization: Some(normalization), ..BatchOptions::shuffled(1, 1) })
    };
    insta::assert_snapshot!(with(&[0.5], &[1.0, 1.0]), @"mean = [0.5]: must be 2 finite numbers, one for each channel");
    insta::assert_snapshot!(with(&[0.5, 0.5], &[1.0, 0.0]), @"std = [1.0, 0.0]: must be 2 positive numbers, one for each channel");
    let images = Images::new([1, 1, 1], 2, vec![0, 1], vec![0, 1]).unwrap();
    let error = Batches::new(&images, options(1, Order::GroupBalanced, 1)).err().unwrap();
    insta::assert_snapshot!(error, @r"
    order = GroupBalanced: the set has no groups
    hint: class-balanced batches need only labels
    ");
    // Without groups, a batch has none.
    let batch = Batches::new(&images, BatchOptions::sequential(5)).unwrap().epoch(0).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.groups.len(), batch.labels), (0, vec![0, 1]));
}
