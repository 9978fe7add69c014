//! Arranges panels, keys and caption on the page.

use crate::canvas::{self, Anchor, Canvas, Fill, Point, Trouble, Type};
use crate::figure::{Figure, Key, Sample};
use crate::panel::{BOTTOM, Frame, TOP};
use crate::style::{self, AXIS, INK};

/// Margin of the page, px.
const MARGIN: f64 = 10.0;
/// Between rows of panels, px.
const ROW_GAP: f64 = 12.0;
/// Width of the sample of a key, px.
const SAMPLE: f64 = 22.0;
/// Height of a row of keys, px.
const KEY_ROW: f64 = style::LABEL_SIZE + 8.0;
/// Height of a line of the caption, px.
const CAPTION_ROW: f64 = style::CAPTION_SIZE + 4.0;

/// The figure as SVG (text as text) and its size in px.
pub(crate) fn svg(figure: &Figure) -> Result<(String, (f64, f64)), Trouble> {
    let inner = style::FIGURE_WIDTH - 2.0 * MARGIN;
    let caption_type = Type::new(style::CAPTION_SIZE, AXIS);
    let caption = caption_type.wrap(&figure.caption, inner);
    let keys = key_rows(&figure.keys, inner);
    let row_height = TOP + style::PLOT_HEIGHT + BOTTOM + ROW_GAP;
    let rows = figure.panels.len().div_ceil(figure.columns.max(1));
    let keys_top = MARGIN + row_height * rows as f64 - ROW_GAP + 4.0;
    let caption_top = keys_top + KEY_ROW * keys.len() as f64 + 6.0;
    let size = (style::FIGURE_WIDTH, (caption_top + CAPTION_ROW * caption.len() as f64 + MARGIN).ceil());

    let mut buffer = String::new();
    Canvas::draw(&mut buffer, size, |canvas| {
        for frame in frames(figure, inner, row_height) {
            frame.draw(canvas)?;
        }
        for (row, keys) in keys.iter().enumerate() {
            let y = keys_top + KEY_ROW * row as f64 + KEY_ROW / 2.0;
            for (key, x) in keys {
                sample(canvas, &key.sample, (MARGIN + x, y))?;
                let start = (MARGIN + x + SAMPLE + 6.0, y + style::LABEL_SIZE * 0.36);
                canvas.text(&key.text, start, Anchor::Start, Type::new(style::LABEL_SIZE, INK))?;
            }
        }
        for (row, line) in caption.iter().enumerate() {
            let baseline = caption_top + CAPTION_ROW * row as f64 + style::CAPTION_SIZE;
            canvas.text(line, (MARGIN, baseline), Anchor::Start, caption_type)?;
        }
        Ok(())
    })?;
    Ok((canvas::in_px(&buffer, size)?, size))
}

/// The panels in their places: the same width for all, and the axes of one column below each other.
fn frames(figure: &Figure, inner: f64, row_height: f64) -> Vec<Frame<'_>> {
    let columns = figure.columns.max(1).min(figure.panels.len().max(1));
    let column = |index: usize| figure.panels.iter().skip(index).step_by(columns).map(crate::figure::Panel::margins);
    let left: Vec<f64> = (0..columns).map(|index| column(index).map(|margins| margins.left).fold(0.0, f64::max)).collect();
    let right: Vec<f64> = (0..columns).map(|index| column(index).map(|margins| margins.right).fold(0.0, f64::max)).collect();
    let width = (inner - left.iter().sum::<f64>() - right.iter().sum::<f64>()) / columns as f64;
    let single = figure.panels.len() == 1;
    figure
        .panels
        .iter()
        .zip('a'..)
        .enumerate()
        .map(|(index, (panel, letter))| {
            let (row, place) = (index / columns, index % columns);
            let before: f64 = (0..place).map(|other| left[other] + width + right[other]).sum();
            let corner = (MARGIN + before + left[place], MARGIN + row_height * row as f64 + TOP);
            Frame { panel, letter: (!single).then_some(letter), corner, width }
        })
        .collect()
}

/// Keys with their distance from the left, in rows that are not wider than `width`.
fn key_rows(keys: &[Key], width: f64) -> Vec<Vec<(&Key, f64)>> {
    let kind = Type::new(style::LABEL_SIZE, INK);
    let mut rows: Vec<Vec<(&Key, f64)>> = Vec::new();
    let mut next = f64::INFINITY;
    for key in keys {
        let length = SAMPLE + 6.0 + kind.width(&key.text);
        if next + length > width {
            rows.push(Vec::new());
            next = 0.0;
        }
        if let Some(row) = rows.last_mut() {
            row.push((key, next));
        }
        next += length + 15.0;
    }
    rows
}

fn sample(canvas: &Canvas<'_>, sample: &Sample, (x, y): Point) -> Result<(), Trouble> {
    let line = [(x, y), (x + SAMPLE, y)];
    let middle = (x + SAMPLE / 2.0, y);
    match *sample {
        Sample::Line(colour) => canvas.line(&line, colour, style::LINE_WIDTH),
        Sample::Dashed(colour) => canvas.dashed(&line, colour, style::REFERENCE_WIDTH),
        Sample::Band(colour) => {
            let corners = [(x, y - 5.0), (x + SAMPLE, y - 5.0), (x + SAMPLE, y + 5.0), (x, y + 5.0)];
            canvas.polygon(&corners, colour, style::BAND_OPACITY)?;
            canvas.line(&line, colour, style::LINE_WIDTH)
        }
        Sample::Mark(mark, fill, colour) => canvas.mark(mark, middle, style::MARK_RADIUS, fill, colour),
        Sample::Marked(mark, colour) => {
            canvas.line(&line, colour, style::LINE_WIDTH)?;
            canvas.mark(mark, middle, style::MARK_RADIUS, Fill::Full, colour)
        }
        Sample::Hollow(mark, colour) => {
            canvas.dashed(&line, colour, style::REFERENCE_WIDTH)?;
            canvas.mark(mark, middle, style::MARK_RADIUS, Fill::Outline, colour)
        }
    }
}
