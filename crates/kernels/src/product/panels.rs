//! Factors of a product, laid out for it.

use std::ops::Range;

use crate::Threads;
use crate::product::{LANES, Lanes};

/// The columns of a factor in panels of 16: for each place in the sum, 16 columns side by side. Columns that are missing in
/// the last panel are zeros.
#[derive(Default)]
pub(crate) struct Panels {
    lanes: Vec<Lanes>,
    depth: usize,
}

impl Panels {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { lanes: Vec::new(), depth: 0 }
    }

    /// The number at place k of column j is `source[j·stride + places[k]]`.
    pub fn gather(&mut self, source: &[f32], columns: usize, stride: usize, places: &[usize]) {
        self.fill(columns, places.len(), |columns, panel| {
            let source = &source[columns.start * stride..];
            for (lanes, &place) in panel.iter_mut().zip(places) {
                *lanes = lanes_of(&source[place..], columns.len(), stride);
            }
        });
    }

    /// `fill(columns, panel)` for each panel.
    pub fn fill(&mut self, columns: usize, depth: usize, fill: impl Fn(Range<usize>, &mut [Lanes]) + Sync) {
        self.depth = depth;
        self.lanes.resize(columns.div_ceil(LANES) * depth, [0.0; LANES]);
        if !self.lanes.is_empty() {
            Threads::All.chunks(&mut self.lanes, depth, |index, panel| {
                fill(index * LANES..columns.min((index + 1) * LANES), panel);
            });
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lanes.len().checked_div(self.depth).unwrap_or(0)
    }

    /// A panel: 16 columns at each place of the sum.
    pub fn panel(&self, index: usize) -> &[Lanes] {
        &self.lanes[index * self.depth..][..self.depth]
    }
}

/// Up to 16 numbers at a distance, and zeros.
pub(crate) fn lanes_of(source: &[f32], count: usize, stride: usize) -> Lanes {
    std::array::from_fn(|lane| if lane < count { source[lane * stride] } else { 0.0 })
}
