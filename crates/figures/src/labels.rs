//! Labels beside line ends, moved apart.

/// Moves labels of one height apart, as little as possible.
///
/// `wanted` holds the centres that the labels should have, in any order; the result holds, in the same order, centres that are at
/// least `height` apart and keep their labels within `[low, high]`, with the least sum of squared moves (isotonic regression by
/// pooling adjacent violators). Labels that want the same place keep the order in which they came. If all labels together are
/// higher than the space, they are spaced evenly over it and touch.
pub(crate) fn spread(wanted: &[f64], height: f64, low: f64, high: f64) -> Vec<f64> {
    let count = wanted.len();
    if count == 0 {
        return Vec::new();
    }
    let (first, last) = (low + height / 2.0, high - height / 2.0);
    let room = (last - first).max(0.0);
    let gap = if count > 1 { height.min(room / (count - 1) as f64) } else { height };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    // Without the gaps (x_i = y_i − i·gap) the labels must only be in order; pools of equal x are merged while they are not.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (rank, &index) in order.iter().enumerate() {
        let mut pool = (wanted[index] - rank as f64 * gap, 1);
        while let Some(&(mean, size)) = pools.last().filter(|&&(mean, _)| mean > pool.0) {
            pools.pop();
            pool = ((mean * size as f64 + pool.0 * pool.1 as f64) / (size + pool.1) as f64, size + pool.1);
        }
        pools.push(pool);
    }
    // Bounds on an isotonic regression are met by clamping it.
    let top = (last - (count - 1) as f64 * gap).max(first);
    let mut placed = vec![0.0; count];
    let values = pools.iter().flat_map(|&(mean, size)| std::iter::repeat_n(mean.clamp(first, top), size));
    for (rank, (&index, value)) in order.iter().zip(values).enumerate() {
        placed[index] = value + rank as f64 * gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[f64], height: f64, low: f64, high: f64) -> Vec<f64> {
        let placed = spread(wanted, height, low, high);
        let mut sorted = placed.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= height - 1e-9), "{wanted:?} → {placed:?}");
        assert!(
            sorted.iter().all(|&y| y >= low + height / 2.0 - 1e-9 && y <= high - height / 2.0 + 1e-9),
            "{wanted:?} → {placed:?}"
        );
        placed
    }

    #[test]
    fn labels_with_room_stay() {
        assert_eq!(check(&[10.0, 50.0, 30.0], 12.0, 0.0, 100.0), [10.0, 50.0, 30.0]);
        assert!(spread(&[], 12.0, 0.0, 100.0).is_empty());
    }

    #[test]
    fn labels_never_overlap_nor_leave_the_panel() {
        assert_eq!(check(&[50.0; 3], 12.0, 0.0, 100.0), [38.0, 50.0, 62.0]);
        assert_eq!(check(&[2.0, 1.0, 0.0], 12.0, 0.0, 100.0), [30.0, 18.0, 6.0]);
        assert_eq!(check(&[100.0, 100.0], 12.0, 0.0, 100.0), [82.0, 94.0]);
        // Deterministic, awkward positions: clusters that merge with clusters.
        for seed in 1..200_u32 {
            let wanted: Vec<f64> = (0..8).map(|i| f64::from((seed * 7919 + i * i * 104_729) % 200)).collect();
            check(&wanted, 12.0, 0.0, 200.0);
        }
    }

    #[test]
    fn too_many_labels_share_the_room() {
        let placed = spread(&[0.0; 11], 20.0, 0.0, 120.0);
        assert_eq!(placed.first(), Some(&10.0));
        assert_eq!(placed.last(), Some(&110.0));
        assert!(placed.windows(2).all(|pair| (pair[1] - pair[0] - 10.0).abs() < 1e-9));
    }
}
