//! What a figure shows, before it has a size or a format.

use plotters::style::RGBColor;

use crate::axis::Axis;
use crate::canvas::Fill;
use crate::style::Mark;

/// A figure: panels in rows, keys below them, and a caption.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Name of the figure in file names and messages.
    pub(crate) id: &'static str,
    /// For readers that do not see the picture.
    pub(crate) title: String,
    /// Panels in a row.
    pub(crate) columns: usize,
    pub(crate) panels: Vec<Panel>,
    pub(crate) keys: Vec<Key>,
    pub(crate) caption: String,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Whether the panel to the left has the same y axis, which then has the numbers.
    pub(crate) shares_y: bool,
    /// What is drawn, from the bottom to the top.
    pub(crate) series: Vec<Series>,
    /// Names of lines, beside their ends.
    pub(crate) labels: Vec<Label>,
}

/// A value over another: (x, y), both finite.
pub(crate) type Pair = (f64, f64);

/// One thing that is drawn over the axes.
#[derive(Clone, Debug)]
pub(crate) enum Series {
    /// A curve.
    Line { points: Vec<Pair>, colour: RGBColor, width: f64 },
    /// A limit or bound.
    Dashed { points: Vec<Pair>, colour: RGBColor },
    /// What lies between two curves over the same x: (x, lower, upper).
    Band { points: Vec<(f64, f64, f64)>, colour: RGBColor, opacity: f64 },
    /// Single measurements.
    Marks { points: Vec<Pair>, colour: RGBColor, mark: Mark, radius: f64, fill: Fill },
}

impl Series {
    /// All y that it reaches.
    pub(crate) fn heights(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::Line { points, .. } | Self::Dashed { points, .. } | Self::Marks { points, .. } => {
                Box::new(points.iter().map(|p| p.1))
            }
            Self::Band { points, .. } => Box::new(points.iter().flat_map(|p| [p.1, p.2])),
        }
    }
}

/// The points, less those that are nearer than a fifteenth of the last x to the one before: as many marks as can be told apart.
pub(crate) fn sparse(points: &[Pair]) -> Vec<Pair> {
    let apart = points.last().map_or(0.0, |last| last.0 / 15.0) * (1.0 - 1e-9);
    let mut kept: Vec<Pair> = Vec::new();
    for &point in points {
        if kept.last().is_none_or(|before| point.0 - before.0 >= apart) {
            kept.push(point);
        }
    }
    kept
}

/// The name of a line, beside the panel at the height of the line's end.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) text: String,
    /// The end of the line.
    pub(crate) end: Pair,
    /// The line's colour.
    pub(crate) colour: RGBColor,
}

/// A sample and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) sample: Sample,
    pub(crate) text: String,
}

/// What a key shows.
#[derive(Clone, Debug)]
pub(crate) enum Sample {
    Line(RGBColor),
    Dashed(RGBColor),
    Band(RGBColor),
    Mark(Mark, Fill, RGBColor),
    /// A line with a mark on it.
    Marked(Mark, RGBColor),
    /// A dashed line with a hollow mark on it.
    Hollow(Mark, RGBColor),
}
