//! Draws one panel.

use crate::canvas::{Anchor, Canvas, Point, Trouble, Type};
use crate::figure::{Pair, Panel, Series};
use crate::labels::spread;
use crate::style::{self, AXIS, GRID, INK};

/// From the axis to its numbers, px.
const TICK_GAP: f64 = 6.0;
/// From the area between the axes to the labels of line ends, px.
const LEADER: f64 = 12.0;

/// Space around the area between the axes, px.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Margins {
    pub(crate) left: f64,
    pub(crate) right: f64,
}

/// Space above the area between the axes (the title), px.
pub(crate) const TOP: f64 = style::TITLE_SIZE + 12.0;
/// Space below the area between the axes (numbers and label), px.
pub(crate) const BOTTOM: f64 = style::TICK_SIZE + style::LABEL_SIZE + 17.0;

fn tick_type() -> Type {
    Type::new(style::TICK_SIZE, AXIS)
}

impl Panel {
    /// The space that the panel's numbers and labels need at its sides.
    pub(crate) fn margins(&self) -> Margins {
        let numbers = self.y.ticks.iter().map(|(_, text)| tick_type().width(text)).fold(0.0, f64::max);
        let labels = self.labels.iter().map(|label| Type::new(style::LABEL_SIZE, INK).width(&label.text)).fold(0.0, f64::max);
        // Numbers at the ends of the x axis stand out to the sides.
        let overhang = |tick: Option<&(f64, String)>| tick.map_or(0.0, |(_, text)| tick_type().width(text) / 2.0 + 5.0);
        Margins {
            left: if self.shares_y { overhang(self.x.ticks.first()) } else { numbers + TICK_GAP + style::LABEL_SIZE + 10.0 },
            right: if self.labels.is_empty() { overhang(self.x.ticks.last()) } else { LEADER + labels + 6.0 },
        }
    }
}

/// A panel in its place: `corner` is the upper left corner of the area between the axes, which is `width` px wide.
pub(crate) struct Frame<'a> {
    pub(crate) panel: &'a Panel,
    pub(crate) letter: Option<char>,
    pub(crate) corner: Point,
    pub(crate) width: f64,
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        self.corner.0 + self.width * self.panel.x.position(value)
    }

    fn y(&self, value: f64) -> f64 {
        self.corner.1 + style::PLOT_HEIGHT * (1.0 - self.panel.y.position(value))
    }

    fn at(&self, (x, y): Pair) -> Point {
        (self.x(x), self.y(y))
    }

    fn all(&self, points: &[Pair]) -> Vec<Point> {
        points.iter().map(|&point| self.at(point)).collect()
    }

    pub(crate) fn draw(&self, canvas: &Canvas<'_>) -> Result<(), Trouble> {
        self.title(canvas)?;
        self.axes(canvas)?;
        for series in &self.panel.series {
            self.series(canvas, series)?;
        }
        self.labels(canvas)
    }

    fn title(&self, canvas: &Canvas<'_>) -> Result<(), Trouble> {
        let (x, y) = (self.corner.0, self.corner.1 - 9.0);
        let bold = Type { size: style::TITLE_SIZE, bold: true, colour: INK };
        let mut start = x;
        if let Some(letter) = self.letter {
            let letter = letter.to_string();
            canvas.text(&letter, (x, y), Anchor::Start, bold)?;
            start += bold.width(&letter) + 7.0;
        }
        canvas.text(&self.panel.title, (start, y), Anchor::Start, Type::new(style::TITLE_SIZE, INK))
    }

    fn axes(&self, canvas: &Canvas<'_>) -> Result<(), Trouble> {
        let (left, top) = self.corner;
        let (right, bottom) = (left + self.width, top + style::PLOT_HEIGHT);
        for (value, _) in &self.panel.x.ticks {
            canvas.line(&[(self.x(*value), top), (self.x(*value), bottom)], GRID, 0.8)?;
        }
        for (value, _) in &self.panel.y.ticks {
            canvas.line(&[(left, self.y(*value)), (right, self.y(*value))], GRID, 0.8)?;
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], AXIS, 1.0)?;
        let baseline = bottom + TICK_GAP + style::TICK_SIZE * 0.85;
        let mut free_from = f64::NEG_INFINITY;
        for (value, text) in &self.panel.x.ticks {
            let x = self.x(*value);
            canvas.line(&[(x, bottom), (x, bottom + 3.5)], AXIS, 1.0)?;
            // Numbers that would touch their neighbour are left out; their ticks stay.
            let half = tick_type().width(text) / 2.0;
            if x - half >= free_from {
                canvas.text(text, (x, baseline), Anchor::Middle, tick_type())?;
                free_from = x + half + 4.0;
            }
        }
        let below = (left + self.width / 2.0, bottom + BOTTOM - 5.0);
        canvas.text(&self.panel.x.label, below, Anchor::Middle, Type::new(style::LABEL_SIZE, INK))?;
        for (value, text) in &self.panel.y.ticks {
            let y = self.y(*value);
            canvas.line(&[(left - 3.5, y), (left, y)], AXIS, 1.0)?;
            if !self.panel.shares_y {
                canvas.text(text, (left - TICK_GAP, y + style::TICK_SIZE * 0.36), Anchor::End, tick_type())?;
            }
        }
        if !self.panel.shares_y {
            let beside = (left - self.panel.margins().left + style::LABEL_SIZE, top + style::PLOT_HEIGHT / 2.0);
            canvas.upward_text(&self.panel.y.label, beside, Type::new(style::LABEL_SIZE, INK))?;
        }
        Ok(())
    }

    fn series(&self, canvas: &Canvas<'_>, series: &Series) -> Result<(), Trouble> {
        match series {
            Series::Line { points, colour, width } => canvas.line(&self.all(points), *colour, *width),
            Series::Dashed { points, colour } => canvas.dashed(&self.all(points), *colour, style::REFERENCE_WIDTH),
            Series::Band { points, colour, opacity } => {
                let upper = points.iter().map(|&(x, _, upper)| self.at((x, upper)));
                let lower = points.iter().rev().map(|&(x, lower, _)| self.at((x, lower)));
                canvas.polygon(&upper.chain(lower).collect::<Vec<_>>(), *colour, *opacity)
            }
            Series::Marks { points, colour, mark, radius, fill } => {
                points.iter().try_for_each(|&point| canvas.mark(*mark, self.at(point), *radius, *fill, *colour))
            }
        }
    }

    fn labels(&self, canvas: &Canvas<'_>) -> Result<(), Trouble> {
        let top = self.corner.1;
        let right = self.corner.0 + self.width;
        let wanted: Vec<f64> = self.panel.labels.iter().map(|label| self.y(label.end.1)).collect();
        let height = style::LABEL_SIZE + 2.5;
        let placed = spread(&wanted, height, top - 4.0, top + style::PLOT_HEIGHT + 6.0);
        for ((label, wanted), placed) in self.panel.labels.iter().zip(wanted).zip(placed) {
            // A line that ends inside the panel gets no leader, which would look as if it went on.
            if (placed - wanted).abs() > 2.0 && self.x(label.end.0) > right - 2.0 {
                canvas.line(&[(right + 2.0, wanted), (right + LEADER - 3.0, placed)], label.colour, 0.7)?;
            }
            let kind = Type::new(style::LABEL_SIZE, style::text_colour(label.colour));
            canvas.text(&label.text, (right + LEADER - 2.0, placed + style::LABEL_SIZE * 0.36), Anchor::Start, kind)?;
        }
        Ok(())
    }
}
