//! Factors of a product, laid out for it.

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
        self.depth = places.len();
        let used = columns.div_ceil(LANES) * self.depth;
        self.lanes.resize(used, [0.0; LANES]);
        if used == 0 {
            return;
        }
        Threads::All.chunks(&mut self.lanes, self.depth, |panel, lanes| {
            let first = panel * LANES;
            let width = LANES.min(columns - first);
            let source = &source[first * stride..];
            for (lanes, &place) in lanes.iter_mut().zip(places) {
                let source = &source[place..];
                *lanes = std::array::from_fn(|lane| if lane < width { source[lane * stride] } else { 0.0 });
            }
        });
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
