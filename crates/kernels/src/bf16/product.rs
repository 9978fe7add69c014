//! Products of panels, tile by tile.

use half::bf16;

use crate::Threads;
use crate::bf16::Panels;
use crate::bf16::arithmetic::{rounded, widened};
use crate::bf16::panels::WIDTH;
use crate::bf16::portable::Portable;

/// Rows of a tile: with 16·3 columns, 24 registers hold its sums.
pub(crate) const HEIGHT: usize = 8;

/// The most panels of columns in a tile.
const WIDEST: usize = 3;

/// The sums of a tile of 8 rows and 16·V columns.
pub(crate) type Tile<const V: usize> = [[[f32; WIDTH]; V]; HEIGHT];

/// What becomes of the sums: out ← α·LR + β·out, where out is not read if β is 0. One rounding to bf16; α·LR and β·out
/// are rounded to f32 before they are added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// α
    pub product: f32,
    /// β
    pub before: f32,
}

/// out ← α·LR + β·out for a row-major `out`, [r, c], from the r rows of L and the c columns of R.
///
/// An element of LR is a sum in f32 over the places of a row and a column, two at a time from first to last, in the
/// arithmetic of the instruction `VDPBF16PS`: within two places the second comes first, each product is added by a fused
/// multiply-add that rounds to the nearest, ties to even, and subnormal numbers are zeros. Processors without the
/// instruction give the same bits, more slowly.
///
/// ```
/// use half::bf16;
/// use isorate_kernels::Threads;
/// use isorate_kernels::bf16::{Panels, Scale, product};
///
/// let numbers = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>();
/// let (mut left, mut right) = (Panels::new(), Panels::new());
/// left.set_rows(&numbers(&[1.0, 2.0, 3.0, 4.0]), (2, 2), Threads::One);
/// right.set_columns(&numbers(&[5.0, 6.0, 7.0, 8.0]), (2, 2), Threads::One);
/// let mut out = numbers(&[1.0; 4]);
/// product(&mut out, &left, &right, Scale { product: 1.0, before: 1.0 }, Threads::One);
/// assert_eq!(out, numbers(&[20.0, 23.0, 44.0, 51.0]));
/// ```
///
/// # Panics
/// When the sizes do not fit.
pub fn product(out: &mut [bf16], rows: &Panels, columns: &Panels, scale: Scale, threads: Threads) {
    Job { rows, columns, scale, lower: false }.run(out, threads);
}

/// The lower triangle of [`product`] with L = Rᵀ, or any R that makes the product symmetric: `columns` is `rows`. What
/// stands above the diagonal afterwards has no meaning.
///
/// # Panics
/// When the sizes do not fit.
pub fn lower_product(out: &mut [bf16], rows: &Panels, scale: Scale, threads: Threads) {
    Job { rows, columns: rows, scale, lower: true }.run(out, threads);
}

/// A product that is to be done.
pub(crate) struct Job<'a> {
    pub rows: &'a Panels,
    pub columns: &'a Panels,
    pub scale: Scale,
    pub lower: bool,
}

/// An implementation of the tiles.
pub(crate) trait Processor: Sync {
    /// The sums of rows 8·row, 8·row + 1, … and of the columns of V panels.
    fn tile<const V: usize>(&self, job: &Job<'_>, row: usize, panel: usize) -> Tile<V>;

    /// [`Job::rows_of`], compiled for the processor.
    fn rows_of(&self, job: &Job<'_>, first: usize, out: &mut [bf16]);
}

impl Job<'_> {
    fn run(&self, out: &mut [bf16], threads: Threads) {
        #[cfg(target_arch = "x86_64")]
        if let Some(processor) = crate::bf16::avx512::Avx512::detect() {
            return self.run_on(&processor, out, threads);
        }
        self.run_on(&Portable::new(self), out, threads);
    }

    /// Shares the rows of `out` out in pieces.
    pub fn run_on(&self, processor: &impl Processor, out: &mut [bf16], threads: Threads) {
        let (height, width) = (self.rows.size(), self.columns.size());
        assert_eq!(self.rows.depth(), self.columns.depth(), "rows and columns of one length");
        assert_eq!(out.len(), height * width, "a result [{height}, {width}]");
        if out.is_empty() {
            return;
        }
        // Some more pieces than threads; a piece of a triangle from above and one from below are the work of one.
        let pieces = if threads.count() == 1 { 1 } else { 8 * threads.count() };
        let rows = height.div_ceil(pieces).next_multiple_of(WIDTH);
        let mut rest: std::collections::VecDeque<(usize, &mut [bf16])> =
            out.chunks_mut(rows * width).enumerate().map(|(index, piece)| (index * rows, piece)).collect();
        let mut tasks = Vec::with_capacity(rest.len());
        while let Some(last) = rest.pop_back() {
            let first = if self.lower { rest.pop_front() } else { None };
            tasks.push([Some(last), first]);
        }
        threads.each(tasks, |task| {
            for (first, piece) in task.into_iter().flatten() {
                processor.rows_of(self, first, piece);
            }
        });
    }

    /// The rows of the result from row `first`, a multiple of 16, on.
    #[inline(always)]
    pub fn rows_of(&self, processor: &impl Processor, first: usize, out: &mut [bf16]) {
        let width = self.columns.size();
        let end = first + out.len() / width;
        // Panels of columns stay in the cache while the rows go by.
        for panel in (0..self.columns.count()).step_by(WIDEST) {
            for row in (first..end).step_by(HEIGHT) {
                let needed = if self.lower { (row + HEIGHT).div_ceil(WIDTH) } else { usize::MAX };
                let panels = self.columns.count().min(needed).saturating_sub(panel).min(WIDEST);
                let out = &mut out[(row - first) * width..];
                match panels {
                    0 => {}
                    1 => self.store(&processor.tile::<1>(self, row / HEIGHT, panel), panel, out),
                    2 => self.store(&processor.tile::<2>(self, row / HEIGHT, panel), panel, out),
                    _ => self.store(&processor.tile::<WIDEST>(self, row / HEIGHT, panel), panel, out),
                }
            }
        }
    }

    /// Puts a tile into the rows of `out`.
    #[inline(always)]
    fn store<const V: usize>(&self, tile: &Tile<V>, panel: usize, out: &mut [bf16]) {
        let width = self.columns.size();
        let Scale { product, before } = self.scale;
        for (sums, out) in tile.iter().zip(out.chunks_mut(width)) {
            let out = out[panel * WIDTH..].iter_mut().zip(sums.as_flattened());
            if before == 0.0 {
                out.for_each(|(out, &sum)| *out = rounded(product * sum));
            } else {
                out.for_each(|(out, &sum)| *out = rounded(product * sum + before * widened(*out)));
            }
        }
    }
}
