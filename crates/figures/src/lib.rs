//! Figures and tables drawn from results, and the state of the paper's claims.
//!
//! Everything here is a pure function of stored [`Run`](isorate_results::Run)s: nothing is trained or simulated, and the same runs
//! give the same bytes. [`catalogue`] lists what there is, [`render`] makes one figure (as SVG, PNG and PDF) or one table (as
//! Markdown, LaTeX and CSV), and [`draw`] writes it into a folder. [`claims`] evaluates the checks of `paper/claims.toml`.
//!
//! A figure is described once, as panels of lines, bands and marks over two axes; plotters draws the description into an SVG, and
//! the three formats are made from that one drawing. [`style`] is the one place for colours, names, widths and sizes.

#![allow(
    clippy::format_push_string,
    reason = "captions and table cells are short and made once: `write!` would need an unused result"
)]

mod a1;
mod a2;
mod ablation;
mod axis;
mod b1;
mod b2;
mod b3;
mod b4;
mod b5;
mod b6;
mod b7;
mod b8;
mod bins;
mod canvas;
mod catalogue;
pub mod claims;
mod compact;
mod contact_sheet;
mod curves;
mod d1;
mod error;
mod export;
mod f1;
mod f2;
mod f3;
mod f4;
mod f5;
mod f6;
mod f6_networks;
mod f7;
mod f8;
mod f9;
mod figure;
mod labels;
mod layout;
mod moments;
mod panel;
mod pdf;
mod scores;
mod select;
mod spectrum;
mod stopping;
pub mod style;
mod t1;
mod t10;
mod t2;
mod t3;
mod t4;
mod t5;
mod t6;
mod t7;
mod t8;
mod t9;
mod table;
mod training;

pub use catalogue::{Drawing, Entry, catalogue, draw, find, render};
pub use contact_sheet::{ContactSheet, MOST_PICTURES, Picture, Strip, contact_sheet};
pub use error::Error;
pub use export::Images;
pub use table::{Align, Cell, Column, Table};
