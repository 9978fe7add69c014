//! Products of f32 matrices, in the pieces that convolutions and attention are made of.

mod panels;
mod rows;
mod strided;
mod tile;
mod transpose;

pub(crate) use panels::{Panels, lanes_of};
pub(crate) use rows::{Piece, Rows, blocks, groups, multiply, room};
pub(crate) use strided::{Strided, product};
pub(crate) use tile::{Lanes, Tile, add_outer, add_places, add_rows, unrolled};
pub(crate) use transpose::transpose;
