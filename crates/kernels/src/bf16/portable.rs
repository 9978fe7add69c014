//! Tiles for any processor, with the bits of the instruction.

use half::bf16;

use crate::bf16::Panels;
use crate::bf16::arithmetic::{add_pair, high, in_range, low};
use crate::bf16::panels::WIDTH;
use crate::bf16::product::{HEIGHT, Job, Processor, Tile};

/// For each panel of the rows and the columns, whether plain multiplications and additions do.
pub(crate) struct Portable {
    rows: Vec<bool>,
    columns: Vec<bool>,
}

impl Portable {
    pub fn new(job: &Job<'_>) -> Self {
        let each = |panels: &Panels| (0..panels.count()).map(|index| in_range(panels.panel(index))).collect();
        let rows: Vec<bool> = each(job.rows);
        let columns = if std::ptr::eq(job.rows, job.columns) { rows.clone() } else { each(job.columns) };
        Self { rows, columns }
    }
}

impl Processor for Portable {
    #[inline(always)]
    fn tile<const V: usize>(&self, job: &Job<'_>, row: usize, panel: usize) -> Tile<V> {
        let mut tile = [[[0.0; WIDTH]; V]; HEIGHT];
        let (row_panel, lane) = (row * HEIGHT / WIDTH, row * HEIGHT % WIDTH);
        let plain = self.rows[row_panel] && self.columns[panel..panel + V].iter().all(|&plain| plain);
        let rows = job.rows.panel(row_panel);
        for (index, columns) in (panel..).take(V).map(|panel| job.columns.panel(panel)).enumerate() {
            // A quarter of the rows at a time, so that the sums stay in registers.
            for quarter in (0..HEIGHT).step_by(HEIGHT / 4) {
                let mut sums = [[0.0; WIDTH]; HEIGHT / 4];
                for (rows, columns) in rows.iter().zip(columns) {
                    for (sums, &row) in sums.iter_mut().zip(&rows[lane + quarter..]) {
                        if plain {
                            add_plain(sums, row, columns);
                        } else {
                            sums.iter_mut().zip(columns).for_each(|(sum, &column)| *sum = add_pair(*sum, row, column));
                        }
                    }
                }
                for (tile, sums) in tile[quarter..].iter_mut().zip(sums) {
                    tile[index] = sums;
                }
            }
        }
        tile
    }

    fn rows_of(&self, job: &Job<'_>, first: usize, out: &mut [bf16]) {
        #[cfg(target_arch = "x86_64")]
        if crate::bf16::avx2::rows_of(self, job, first, out) {
            return;
        }
        job.rows_of(self, first, out);
    }
}

/// [`add_pair`] for numbers that are in the range.
#[inline(always)]
fn add_plain(sums: &mut [f32; WIDTH], row: u32, columns: &[u32; WIDTH]) {
    let (first, second) = (low(row), high(row));
    for (sum, &column) in sums.iter_mut().zip(columns) {
        *sum = (*sum + second * high(column)) + first * low(column);
    }
}

/// The same without looking for AVX2, for tests.
#[cfg(test)]
pub(crate) struct AsItStands(pub Portable);

#[cfg(test)]
impl Processor for AsItStands {
    fn tile<const V: usize>(&self, job: &Job<'_>, row: usize, panel: usize) -> Tile<V> {
        self.0.tile(job, row, panel)
    }

    fn rows_of(&self, job: &Job<'_>, first: usize, out: &mut [bf16]) {
        job.rows_of(self, first, out);
    }
}
