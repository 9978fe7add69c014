//! Products of rows, wherever their pieces lie, and panels of columns.

use std::ops::Range;

use crate::instructions::Processor;
use crate::product::{LANES, Lanes, add_rows};

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
pub(crate) fn groups<P: Processor>(panels: usize) -> impl Iterator<Item = Range<usize>> {
    let most = if P::SUMS >= 24 { 4 } else { 1 };
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
pub(crate) fn multiply<'a, P: Processor>(
    processor: P,
    rows: &Rows<'_>,
    panels: impl ExactSizeIterator<Item = &'a [Lanes]>,
    sums: &mut [Lanes],
) {
    // The sums of a tile take up to 24 of 32 registers with AVX-512, and 12 of 16 with less.
    match panels.len() {
        4 if P::SUMS >= 24 => rows.multiply::<P, 6, 4>(processor, panels, sums),
        3 if P::SUMS >= 24 => rows.multiply::<P, 8, 3>(processor, panels, sums),
        2 if P::SUMS >= 24 => rows.multiply::<P, HIGHEST, 2>(processor, panels, sums),
        _ if P::SUMS >= 24 => rows.multiply::<P, HIGHEST, 1>(processor, panels, sums),
        _ if P::SUMS >= 6 => rows.multiply::<P, 6, 1>(processor, panels, sums),
        _ => rows.multiply::<P, 2, 1>(processor, panels, sums),
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn multiply<'a, P: Processor, const R: usize, const V: usize>(
        &self,
        processor: P,
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
                // Past the last row it is taken again, for sums that are not used.
                let starts: [usize; R] = std::array::from_fn(|row| starts[row.min(starts.len() - 1)]);
                let mut at = done;
                for piece in pieces.iter() {
                    let rows = starts.map(|start| &self.source[start + piece.start..][..piece.length]);
                    add_rows(processor, tile, rows, panels.map(|panel| &panel[at..]));
                    at += piece.length;
                }
            }
            done += pieces.iter().map(|piece| piece.length).sum::<usize>();
        }
    }
}
