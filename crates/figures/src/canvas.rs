//! A drawing surface in px with sub-pixel positions, over the SVG backend of plotters.

use std::sync::OnceLock;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle, register_font,
};

use crate::style::{self, Mark};

/// The regular face of the font of all figures.
pub(crate) const REGULAR: &[u8] = include_bytes!("../assets/fonts/DejaVuSans.ttf");
/// Its bold face.
pub(crate) const BOLD: &[u8] = include_bytes!("../assets/fonts/DejaVuSans-Bold.ttf");

/// Plotters knows whole units only; this many of them make one px, so that curves are smooth and widths can be fractions.
const UNITS: f64 = 10.0;

/// What a drawing library said.
#[derive(Debug)]
pub(crate) struct Trouble(pub(crate) String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Trouble {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// A place on the canvas: px from the left and from the top.
pub(crate) type Point = (f64, f64);

/// Where text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a mark looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    Full,
    Outline,
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) colour: RGBColor,
}

impl Type {
    pub(crate) fn new(size: f64, colour: RGBColor) -> Self {
        Self { size, bold: false, colour }
    }

    /// Width of `text` in px; `_{…}` and `^{…}` count as the small text that they become.
    pub(crate) fn width(self, text: &str) -> f64 {
        segments(text).iter().map(|segment| self.segment_width(segment)).sum()
    }

    /// The lines of `text`, broken at spaces so that none is wider than `width` px.
    pub(crate) fn wrap(self, text: &str, width: f64) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if line.is_empty() || self.width(&longer) <= width {
                line = longer;
            } else {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    fn segment_width(self, segment: &Segment) -> f64 {
        register_fonts();
        // ab_glyph scales by the height of the face, which for DejaVu Sans is 2384/2048 em, and plotters cuts off fractions: so one
        // em is measured as 1000.
        let (em, height) = (1000.0, 1.164_062_5);
        let face = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let measured =
            FontDesc::new(FontFamily::Name(style::FONT), em * height, face).box_size(&segment.text).map_or(0, |size| size.0);
        f64::from(measured) / em * self.size * segment.shift.scale()
    }
}

/// A part of a text that stands on one line.
#[derive(Debug, PartialEq)]
struct Segment {
    text: String,
    shift: Rise,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rise {
    Line,
    Sub,
    Super,
}

impl Rise {
    fn scale(self) -> f64 {
        if self == Self::Line { 1.0 } else { 0.72 }
    }
    /// Of the baseline, downwards, in units of the size.
    fn drop(self) -> f64 {
        match self {
            Self::Line => 0.0,
            Self::Sub => 0.2,
            Self::Super => -0.36,
        }
    }
}

/// Splits `Σ_{yx} of x^{2}` into what stands on, below and above the line.
fn segments(text: &str) -> Vec<Segment> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((start, shift)) = [("_{", Rise::Sub), ("^{", Rise::Super)]
        .into_iter()
        .filter_map(|(mark, shift)| rest.find(mark).map(|start| (start, shift)))
        .min_by_key(|&(start, _)| start)
    {
        let Some(length) = rest[start..].find('}') else { break };
        found.push(Segment { text: rest[..start].to_owned(), shift: Rise::Line });
        found.push(Segment { text: rest[start + 2..start + length].to_owned(), shift });
        rest = &rest[start + length + 1..];
    }
    found.push(Segment { text: rest.to_owned(), shift: Rise::Line });
    found.retain(|segment| !segment.text.is_empty());
    found
}

fn register_fonts() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for (face, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
            // A face that cannot be parsed shows as a drawing error at the first text.
            let _ = register_font(style::FONT, face, bytes);
        }
    });
}

/// The surface.
pub(crate) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

#[expect(clippy::cast_possible_truncation, reason = "positions on a page are far below 2^31")]
fn units(px: f64) -> i32 {
    (px * UNITS).round() as i32
}

fn at((x, y): Point) -> (i32, i32) {
    (units(x), units(y))
}

fn stroke(colour: RGBColor, width: f64) -> ShapeStyle {
    colour.stroke_width(units(width).unsigned_abs())
}

impl Canvas<'_> {
    /// Draws on white paper of the given size in px, and returns the SVG.
    pub(crate) fn draw<'a>(
        buffer: &'a mut String,
        (width, height): (f64, f64),
        picture: impl FnOnce(&Canvas<'a>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        register_fonts();
        let size = (units(width).unsigned_abs(), units(height).unsigned_abs());
        let area = SVGBackend::with_string(buffer, size).into_drawing_area();
        area.fill(&style::PAPER)?;
        let canvas = Canvas { area };
        picture(&canvas)?;
        canvas.area.present()?;
        Ok(())
    }

    /// A polyline.
    pub(crate) fn line(&self, points: &[Point], colour: RGBColor, width: f64) -> Result<(), Trouble> {
        let points = simplify(points);
        if points.len() > 1 {
            self.area.draw(&PathElement::new(points.into_iter().map(at).collect::<Vec<_>>(), stroke(colour, width)))?;
        }
        Ok(())
    }

    /// A dashed polyline.
    pub(crate) fn dashed(&self, points: &[Point], colour: RGBColor, width: f64) -> Result<(), Trouble> {
        let points = simplify(points);
        if points.len() > 1 {
            let (dash, gap) = style::DASH;
            let points: Vec<_> = points.into_iter().map(at).collect();
            self.area.draw(&DashedPathElement::new(points, units(dash), units(gap), stroke(colour, width)))?;
        }
        Ok(())
    }

    /// A filled polygon.
    pub(crate) fn polygon(&self, points: &[Point], colour: RGBColor, opacity: f64) -> Result<(), Trouble> {
        if points.len() > 2 {
            self.area.draw(&Polygon::new(points.iter().copied().map(at).collect::<Vec<_>>(), colour.mix(opacity)))?;
        }
        Ok(())
    }

    /// A mark: filled, or as an outline through which lines are seen.
    pub(crate) fn mark(&self, mark: Mark, (x, y): Point, radius: f64, fill: Fill, colour: RGBColor) -> Result<(), Trouble> {
        let outline = 1.2;
        // Shapes of about equal area.
        let corners: &[(f64, f64)] = match mark {
            Mark::Circle => {
                let look = if fill == Fill::Full { colour.filled() } else { stroke(colour, outline) };
                self.area.draw(&Circle::new(at((x, y)), units(radius), look))?;
                return Ok(());
            }
            Mark::Cross => {
                for (width, colour) in [(4.0, style::PAPER), (2.0, colour)] {
                    self.line(&[(x - radius, y - radius), (x + radius, y + radius)], colour, width)?;
                    self.line(&[(x - radius, y + radius), (x + radius, y - radius)], colour, width)?;
                }
                return Ok(());
            }
            Mark::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            Mark::Triangle => &[(0.0, -1.25), (1.15, 0.8), (-1.15, 0.8)],
            Mark::Wedge => &[(0.0, 1.25), (1.15, -0.8), (-1.15, -0.8)],
            Mark::Star => &[
                (0.0, -1.5),
                (0.39, -0.53),
                (1.43, -0.46),
                (0.62, 0.2),
                (0.88, 1.21),
                (0.0, 0.65),
                (-0.88, 1.21),
                (-0.62, 0.2),
                (-1.43, -0.46),
                (-0.39, -0.53),
            ],
            Mark::Diamond => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        };
        let point = |&(dx, dy): &(f64, f64)| (x + radius * dx, y + radius * dy);
        match fill {
            Fill::Full => self.polygon(&corners.iter().map(point).collect::<Vec<_>>(), colour, 1.0),
            Fill::Outline => {
                let closed: Vec<_> = corners.iter().chain(corners.first()).map(point).map(at).collect();
                self.area.draw(&PathElement::new(closed, stroke(colour, outline)))?;
                Ok(())
            }
        }
    }

    /// Text whose baseline begins (or has its middle, or ends) at the point.
    pub(crate) fn text(&self, text: &str, (x, y): Point, anchor: Anchor, kind: Type) -> Result<(), Trouble> {
        self.run(text, anchor, kind, &FontTransform::None, |along, drop| (x + along, y + drop))
    }

    /// Text that reads upwards, with its middle at the point.
    pub(crate) fn upward_text(&self, text: &str, (x, y): Point, kind: Type) -> Result<(), Trouble> {
        self.run(text, Anchor::Middle, kind, &FontTransform::Rotate270, |along, drop| (x + drop, y - along))
    }

    fn run(
        &self,
        text: &str,
        anchor: Anchor,
        kind: Type,
        turn: &FontTransform,
        place: impl Fn(f64, f64) -> Point,
    ) -> Result<(), Trouble> {
        let mut along = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -kind.width(text) / 2.0,
            Anchor::End => -kind.width(text),
        };
        let face = if kind.bold { FontStyle::Bold } else { FontStyle::Normal };
        for segment in segments(text) {
            let size = kind.size * segment.shift.scale();
            // Plotters writes a font size of size/1.24, and for a vertical centre moves the baseline down by half an ex, which is a
            // quarter of the font size in SVG.
            let font = FontDesc::new(FontFamily::Name(style::FONT), size * UNITS * 1.24, face).transform(turn.clone());
            let look = TextStyle::from(font).color(&kind.colour).pos(Pos::new(HPos::Left, VPos::Center));
            // SVG drops spaces at the start of a text: they become distance.
            let visible = segment.text.trim_start();
            let space = Segment { text: segment.text[..segment.text.len() - visible.len()].to_owned(), shift: segment.shift };
            let origin = place(along + kind.segment_width(&space), kind.size * segment.shift.drop() - size * 0.25);
            along += kind.segment_width(&segment);
            self.area.draw(&Text::new(visible.to_owned(), at(origin), look))?;
        }
        Ok(())
    }
}

/// The size in px of an SVG that [`Canvas::draw`] made, written into its first line in place of the size in units.
pub(crate) fn in_px(svg: &str, (width, height): (f64, f64)) -> Result<String, Trouble> {
    let inside = format!("width=\"{}\" height=\"{}\" viewBox", units(width), units(height));
    let outside = format!("width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\" viewBox");
    if !svg.contains(&inside) {
        return Err(Trouble(format!("the drawing does not begin with {inside}")));
    }
    Ok(svg.replacen(&inside, &outside, 1))
}

/// The polyline without the points that lie within 1/20 px of what remains (Ramer, Douglas and Peucker).
fn simplify(points: &[Point]) -> Vec<Point> {
    const TOLERANCE: f64 = 0.05;
    if points.len() < 3 {
        return points.to_vec();
    }
    let mut keep = vec![false; points.len()];
    keep[0] = true;
    keep[points.len() - 1] = true;
    let mut open = vec![(0, points.len() - 1)];
    while let Some((first, last)) = open.pop() {
        let ((x0, y0), (x1, y1)) = (points[first], points[last]);
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length = dx.hypot(dy);
        let distance =
            |(x, y): Point| if length > 0.0 { ((x - x0) * dy - (y - y0) * dx).abs() / length } else { (x - x0).hypot(y - y0) };
        let farthest = (first + 1..last).map(|i| (i, distance(points[i]))).max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((i, _)) = farthest.filter(|&(_, distance)| distance > TOLERANCE) {
            keep[i] = true;
            open.extend([(first, i), (i, last)]);
        }
    }
    points.iter().zip(keep).filter_map(|(&point, keep)| keep.then_some(point)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Type = Type { size: 10.0, bold: false, colour: style::INK };

    #[test]
    fn widths_are_those_of_the_font() {
        // Advance widths of DejaVu Sans: H 1540, e 1260 of 2048 units.
        assert!((KIND.width("He") - 10.0 * 2800.0 / 2048.0).abs() < 0.05, "{}", KIND.width("He"));
        assert!(Type { bold: true, ..KIND }.width("He") > KIND.width("He"));
        assert!(KIND.width("a_{bc}") < KIND.width("abc"));
        assert!(KIND.width("a b") > KIND.width("ab"));
        assert!(KIND.width("a ") > KIND.width("a"));
    }

    #[test]
    fn text_is_split_at_marks() {
        let parts: Vec<_> = segments("Σ_{yx} x^{2}").into_iter().map(|segment| (segment.text, segment.shift)).collect();
        let expected = [("Σ", Rise::Line), ("yx", Rise::Sub), (" x", Rise::Line), ("2", Rise::Super)];
        assert_eq!(parts, expected.map(|(text, shift)| (text.to_owned(), shift)));
        assert_eq!(segments("a_{b").len(), 1);
        assert!(segments("").is_empty());
    }

    #[test]
    fn lines_fit_and_keep_all_words() {
        let text = "one two three four five six seven eight nine ten incomprehensibilities";
        let lines = KIND.wrap(text, 80.0);
        assert_eq!(lines.join(" "), text);
        assert!(lines.iter().all(|line| KIND.width(line) <= 80.0 || !line.contains(' ')));
        assert!(lines.len() > 3);
    }

    #[test]
    fn simplifying_keeps_the_shape() {
        let straight: Vec<Point> = (0..100).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert_eq!(simplify(&straight), [straight[0], straight[99]]);
        let corner = [(0.0, 0.0), (5.0, 5.0), (10.0, 0.0)];
        assert_eq!(simplify(&corner), corner);
        let back = [(0.0, 0.0), (3.0, 0.0), (0.0, 0.0)];
        assert_eq!(simplify(&back), back);
    }
}
