//! Products of rows, wherever their pieces lie, and panels of columns.

use std::ops::Range;

use crate::product::{Lanes, add_rows};
use crate::simd::LANES;

/// The most places of a sum that are added at a time: with 64 columns they are 48 KiB, for the nearer caches.
const DEPTH: usize = 192;

/// The rows of the highest tile.
const HIGHEST: usize = 12;

/// Numbers side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub start: usize,
    pub length: usize,
}

/// Pieces in blocks of at most [`DEPTH`] numbers. What is longer is cut.
pub(crate) fn blocks(pieces: impl IntoIterator<Item = Piece>) -> Vec<Vec<Piece>> {
    let (mut blocks, mut room) = (Vec::<Vec<Piece>>::new(), 0);
    for Piece { start, length } in pieces {
        for from in (0..length).step_by(DEPTH) {
            let piece = Piece { start: start + from, length: DEPTH.min(length - from) };
            match blocks.last_mut() {
                Some(block) if piece.length <= room => block.push(piece),
                _ => {
                    blocks.push(vec![piece]);
                    room = DEPTH;
                }
            }
            room -= piece.length;
        }
    }
    blocks
}

/// Rows that are made of pieces.
pub(crate) struct Rows<'a> {
    pub source: &'a [f32],
    /// Where each row begins.
    pub starts: &'a [usize],
    /// The pieces of a row, from its beginning, in [`blocks`].
    pub blocks: &'a [Vec<Piece>],
}

/// Panels of columns, a few at a time: as many as a tile can have, and of nearly one number.
#[inline(always)]
pub(crate) fn groups<const WIDE: bool>(panels: usize) -> impl Iterator<Item = Range<usize>> {
    let most = if WIDE { 4 } else { 1 };
    let count = panels.div_ceil(most);
    (0..count).map(move |group| group * panels / count..(group + 1) * panels / count)
}

/// How many registers [`multiply`] needs for its sums: the last tile may be higher than what is left.
pub(crate) fn room(rows: usize, panels: usize) -> usize {
    (rows + HIGHEST) * panels
}

/// The products of rows and the columns of one of the [`groups`]: `sums[row·panels + panel]`. Behind them come numbers without
/// a meaning, in the [`room`].
///
/// A sum is over places from first to last.
#[inline(always)]
pub(crate) fn multiply<'a, const FMA: bool, const WIDE: bool>(
    rows: &Rows<'_>,
    panels: impl ExactSizeIterator<Item = &'a [Lanes]>,
    sums: &mut [Lanes],
) {
    // The sums of a tile take up to 24 of 32 registers with AVX-512, and 12 of 16 with less.
    match panels.len() {
        4 if WIDE => rows.multiply::<FMA, 6, 4>(panels, sums),
        3 if WIDE => rows.multiply::<FMA, 8, 3>(panels, sums),
        2 if WIDE => rows.multiply::<FMA, HIGHEST, 2>(panels, sums),
        _ if WIDE => rows.multiply::<FMA, HIGHEST, 1>(panels, sums),
        _ if FMA => rows.multiply::<FMA, 6, 1>(panels, sums),
        _ => rows.multiply::<FMA, 2, 1>(panels, sums),
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn multiply<'a, const FMA: bool, const R: usize, const V: usize>(
        &self,
        mut panels: impl Iterator<Item = &'a [Lanes]>,
        sums: &mut [Lanes],
    ) {
        let panels: [&[Lanes]; V] = std::array::from_fn(|_| panels.next().unwrap_or_default());
        let (tiles, _) = sums.as_chunks_mut::<V>().0.as_chunks_mut::<R>();
        let mut done = 0;
        for pieces in self.blocks {
            for (tile, starts) in tiles.iter_mut().zip(self.starts.chunks(R)) {
                if done == 0 {
                    *tile = [[[0.0; LANES]; V]; R];
                }
                let mut at = done;
                for piece in pieces {
                    // Past the last row it is taken again, for sums that are not used.
                    let mut rows: [&[f32]; R] = [&[]; R];
                    for (row, start) in rows.iter_mut().zip(starts.iter().chain(std::iter::repeat(&starts[starts.len() - 1]))) {
                        *row = &self.source[start + piece.start..][..piece.length];
                    }
                    let mut columns = panels;
                    for panel in &mut columns {
                        *panel = &panel[at..];
                    }
                    add_rows::<FMA, R, V, LANES>(tile, rows, columns);
                    at += piece.length;
                }
            }
            done += pieces.iter().map(|piece| piece.length).sum::<usize>();
        }
    }
}
