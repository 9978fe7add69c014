//! A page of example images, group by group.

use resvg::tiny_skia;

use crate::canvas::{self, Anchor, Canvas, Trouble, Type};
use crate::style::{self, AXIS, INK};
use crate::{Error, export};

/// An 8-bit image of one (grey) or three (RGB) channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// Planar: channel, row, column.
    pub pixels: Vec<u8>,
}

/// Examples of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Name of the group.
    pub name: String,
    /// What stands below the name, such as the number of rows.
    pub detail: String,
    /// As many as are there; those that find no room on a line are left out.
    pub pictures: Vec<Picture>,
}

/// Example images of the groups of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactSheet {
    /// What is shown.
    pub title: String,
    /// One for each group, in order.
    pub strips: Vec<Strip>,
    /// Source, terms, what was drawn.
    pub caption: String,
}

/// The sheet needs more strips than these to be set in two columns.
const LONG: usize = 10;
/// All in px of the page; a picture has [`style::PNG_SCALE`] dots to the px.
const MARGIN: f64 = 10.0;
const NAME_WIDTH: f64 = 150.0;
const NARROW_NAME_WIDTH: f64 = 112.0;
const GAP: f64 = 4.0;
const STRIP_GAP: f64 = 8.0;
const TITLE_ROW: f64 = style::TITLE_SIZE + 10.0;
const LINE: f64 = style::LABEL_SIZE + 3.0;
const CAPTION_ROW: f64 = style::CAPTION_SIZE + 4.0;
/// A picture is enlarged by a whole number of dots, or shrunk, until its width fits this many dots.
const WIDEST: usize = 112;

/// Most pictures that fit beside each other in a strip, whatever their shape.
pub const MOST_PICTURES: usize = 24;

/// The sheet as PNG. The same sheet gives the same bytes.
///
/// # Errors
/// [`Error::Render`] when a picture has another number of pixels than its shape says, no pixels, or other than 1 or 3 channels.
///
/// ```
/// use isorate_figures::{ContactSheet, Picture, Strip, contact_sheet};
/// let picture = Picture { shape: [1, 2, 2], pixels: vec![0, 80, 160, 255] };
/// let strip = Strip { name: "squares".into(), detail: "1 row".into(), pictures: vec![picture] };
/// let png = contact_sheet(&ContactSheet { title: "Squares".into(), strips: vec![strip], caption: String::new() })?;
/// assert_eq!(&png[1..4], b"PNG");
/// # Ok::<(), isorate_figures::Error>(())
/// ```
pub fn contact_sheet(sheet: &ContactSheet) -> Result<Vec<u8>, Error> {
    make(sheet).map_err(|Trouble(reason)| Error::Render { figure: "contact sheet".into(), reason })
}

/// A picture in the dots of the page, RGB.
struct Dots {
    width: usize,
    height: usize,
    rgb: Vec<[u8; 3]>,
}

struct Row<'a> {
    strip: &'a Strip,
    lines: Vec<String>,
    pictures: Vec<Dots>,
    height: f64,
}

fn make(sheet: &ContactSheet) -> Result<Vec<u8>, Trouble> {
    let columns = if sheet.strips.len() > LONG { 2 } else { 1 };
    let inner = style::FIGURE_WIDTH - 2.0 * MARGIN;
    let column_width = (inner - 2.0 * MARGIN * (columns - 1) as f64) / columns as f64;
    let name_width = if columns == 1 { NAME_WIDTH } else { NARROW_NAME_WIDTH };
    let rows: Vec<Row> =
        sheet.strips.iter().map(|strip| row(strip, name_width, column_width - name_width)).collect::<Result<_, _>>()?;

    // Read down the first column, then down the second.
    let per_column = rows.len().div_ceil(columns);
    let mut corners = Vec::new();
    let mut bottom: f64 = MARGIN + TITLE_ROW;
    for (column, rows) in rows.chunks(per_column.max(1)).enumerate() {
        let x = MARGIN + (column_width + 2.0 * MARGIN) * column as f64;
        let mut y = MARGIN + TITLE_ROW;
        for row in rows {
            corners.push((x, y));
            y += row.height + STRIP_GAP;
        }
        bottom = bottom.max(y);
    }
    let caption_type = Type::new(style::CAPTION_SIZE, AXIS);
    let caption = caption_type.wrap(&sheet.caption, inner);
    let size = (style::FIGURE_WIDTH, (bottom + CAPTION_ROW * caption.len() as f64 + MARGIN).ceil());

    let mut buffer = String::new();
    Canvas::draw(&mut buffer, size, |canvas| {
        let title = Type { bold: true, ..Type::new(style::TITLE_SIZE, INK) };
        canvas.text(&sheet.title, (MARGIN, MARGIN + style::TITLE_SIZE), Anchor::Start, title)?;
        for (row, &(x, y)) in rows.iter().zip(&corners) {
            let kinds = [Type::new(style::LABEL_SIZE, INK), Type::new(style::TICK_SIZE, AXIS)];
            let details = row.strip.detail.lines().map(|line| (line, kinds[1]));
            for (i, (line, kind)) in row.lines.iter().map(|line| (line.as_str(), kinds[0])).chain(details).enumerate() {
                canvas.text(line, (x, y + LINE * i as f64 + style::LABEL_SIZE), Anchor::Start, kind)?;
            }
        }
        for (i, line) in caption.iter().enumerate() {
            canvas.text(line, (MARGIN, bottom + CAPTION_ROW * i as f64 + style::CAPTION_SIZE), Anchor::Start, caption_type)?;
        }
        Ok(())
    })?;
    let mut page = export::raster(&canvas::in_px(&buffer, size)?)?;
    for (row, &(x, y)) in rows.iter().zip(&corners) {
        let mut left = dots(x + name_width);
        for picture in &row.pictures {
            paste(&mut page, picture, (left, dots(y)));
            left += picture.width + dots(GAP);
        }
    }
    page.encode_png().map_err(|error| Trouble(format!("PNG: {error}")))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places on a page, not negative")]
fn dots(px: f64) -> usize {
    (px * f64::from(style::PNG_SCALE)).round() as usize
}

fn row(strip: &Strip, name_width: f64, width: f64) -> Result<Row<'_>, Trouble> {
    let lines = Type::new(style::LABEL_SIZE, INK).wrap(&strip.name, name_width - 2.0 * GAP);
    let (mut pictures, mut left) = (Vec::new(), 0);
    for picture in strip.pictures.iter().take(MOST_PICTURES) {
        let picture = scaled(picture)?;
        if left + picture.width > dots(width) {
            break;
        }
        left += picture.width + dots(GAP);
        pictures.push(picture);
    }
    let text = LINE * (lines.len() + strip.detail.lines().count()) as f64;
    let tallest = pictures.iter().map(|picture| picture.height).max().unwrap_or(0) as f64 / f64::from(style::PNG_SCALE);
    Ok(Row { strip, lines, pictures, height: text.max(tallest) })
}

/// Enlarged by repeating each pixel, or shrunk by averaging squares of pixels.
fn scaled(picture: &Picture) -> Result<Dots, Trouble> {
    let [channels, height, width] = picture.shape;
    let size = picture.shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    if !matches!(channels, 1 | 3) || size.is_none_or(|size| size == 0 || size != picture.pixels.len()) {
        let (shape, count) = (picture.shape, picture.pixels.len());
        return Err(Trouble(format!(
            "a picture of shape {shape:?} with {count} values; it takes 1 or 3 channels, one value a pixel"
        )));
    }
    let plane = height * width;
    let channel = |c: usize| if channels == 1 { 0 } else { c * plane };
    if width <= WIDEST {
        let factor = (WIDEST / width).max(1);
        let (wide, high) = (width * factor, height * factor);
        let pixel = |i: usize| (i / wide / factor) * width + i % wide / factor;
        let rgb = (0..wide * high).map(|i| [0, 1, 2].map(|c| picture.pixels[channel(c) + pixel(i)])).collect();
        return Ok(Dots { width: wide, height: high, rgb });
    }
    let side = width.div_ceil(WIDEST);
    let (wide, high) = (width / side, (height / side).max(1));
    let average = |c: usize, i: usize| {
        let (top, left) = (i / wide * side, i % wide * side);
        let rows = top..(top + side).min(height);
        let count = rows.len() * side;
        let sum: usize = rows
            .map(|y| picture.pixels[channel(c) + y * width + left..][..side].iter().map(|&p| usize::from(p)).sum::<usize>())
            .sum();
        u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)
    };
    let rgb = (0..wide * high).map(|i| [0, 1, 2].map(|c| average(c, i))).collect();
    Ok(Dots { width: wide, height: high, rgb })
}

/// Writes the picture over the page, as far as it is on it.
fn paste(page: &mut tiny_skia::Pixmap, picture: &Dots, (left, top): (usize, usize)) {
    let (width, height) = (page.width() as usize, page.height() as usize);
    let visible = picture.width.min(width.saturating_sub(left));
    let data = page.data_mut();
    for (y, line) in picture.rgb.chunks_exact(picture.width).enumerate().take(height.saturating_sub(top)) {
        let start = ((top + y) * width + left) * 4;
        for (dot, &[r, g, b]) in data[start..].chunks_exact_mut(4).zip(&line[..visible]) {
            dot.copy_from_slice(&[r, g, b, u8::MAX]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(shape: [usize; 3]) -> Picture {
        let size: usize = shape.iter().product();
        Picture { shape, pixels: (0..size).map(|i| u8::try_from(i * 31 % 256).unwrap()).collect() }
    }

    #[test]
    fn small_pictures_keep_their_pixels_and_large_ones_their_mean() {
        let small = scaled(&picture([1, 2, 28])).unwrap();
        assert_eq!((small.width, small.height), (112, 8));
        assert_eq!((small.rgb[0], small.rgb[3], small.rgb[4]), ([0; 3], [0; 3], [31; 3]));
        assert_eq!(small.rgb[112 * 7 + 111], [55 * 31 % 256; 3].map(|v| u8::try_from(v).unwrap()));

        let rgb = scaled(&Picture { shape: [3, 1, 1], pixels: vec![1, 2, 3] }).unwrap();
        assert!(rgb.rgb.iter().all(|&dot| dot == [1, 2, 3]));

        let large =
            Picture { shape: [3, 224, 224], pixels: [vec![10; 224 * 224], vec![20; 224 * 224], vec![31; 224 * 224]].concat() };
        let shrunk = scaled(&large).unwrap();
        assert_eq!((shrunk.width, shrunk.height), (112, 112));
        assert!(shrunk.rgb.iter().all(|&dot| dot == [10, 20, 31]));
        let tall = scaled(&picture([3, 300, 113])).unwrap();
        assert_eq!((tall.width, tall.height), (56, 150));
    }

    #[test]
    fn a_sheet_is_drawn_where_pictures_fit() {
        let strips = |count: usize| {
            let strip = |i: usize| Strip {
                name: format!("group {i} with a name that is too long for a line"),
                detail: "3 rows\n0.5%".into(),
                pictures: vec![picture([3, 63, 32]); 40],
            };
            ContactSheet { title: "Groups".into(), strips: (0..count).map(strip).collect(), caption: "Made here. ".repeat(30) }
        };
        for count in [0, 1, 4, 20] {
            let png = contact_sheet(&strips(count)).unwrap();
            assert_eq!(png, contact_sheet(&strips(count)).unwrap());
            let page = tiny_skia::Pixmap::decode_png(&png).unwrap();
            assert_eq!(page.width(), 1600);
            let coloured = page.pixels().iter().any(|p| p.red() != p.green());
            assert_eq!(coloured, count > 0, "pictures are pasted, {count} strips");
        }
    }

    #[test]
    fn a_picture_must_be_what_its_shape_says() {
        let sheet = |picture| ContactSheet {
            title: String::new(),
            strips: vec![Strip { name: "a".into(), detail: String::new(), pictures: vec![picture] }],
            caption: String::new(),
        };
        for shape in [[2, 1, 1], [1, 0, 1], [1, 2, 2], [1, usize::MAX, 2]] {
            let error = contact_sheet(&sheet(Picture { shape, pixels: vec![0, 0] })).unwrap_err();
            assert!(error.to_string().contains("with 2 values"), "{error}");
        }
    }
}
