//! Products of f32 matrices, in the pieces that convolutions and affine maps are made of.

mod panels;
mod rows;
mod tile;
mod transpose;

pub(crate) use panels::{Panels, lanes_of};
pub(crate) use rows::{Piece, Rows, blocks, groups, multiply, room};
pub(crate) use tile::{LANES, Lanes, add_outer, add_rows};
pub(crate) use transpose::transposed;
