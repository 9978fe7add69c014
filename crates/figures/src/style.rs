//! The one place for the looks of every figure: colours, names, widths, sizes.
//!
//! Update rules that normalize by the same norm share a colour and a mark, with and without momentum, in every figure. The colours
//! are those of Okabe and Ito (2008, "Color Universal Design"), darkened where they would be faint on white; every rule also has
//! its own mark, so that the figures can be read in grey.

use plotters::style::RGBColor;

/// Font family of all text; its files are part of this crate.
pub const FONT: &str = "DejaVu Sans";
/// Size of panel titles, px.
pub const TITLE_SIZE: f64 = 13.0;
/// Size of axis labels, direct labels and keys, px.
pub const LABEL_SIZE: f64 = 11.5;
/// Size of numbers at the axes, px.
pub const TICK_SIZE: f64 = 10.5;
/// Size of the caption, px.
pub const CAPTION_SIZE: f64 = 10.5;
/// Width of a figure, px (96 px are an inch).
pub const FIGURE_WIDTH: f64 = 800.0;
/// Height of the area between the axes of one panel, px.
pub const PLOT_HEIGHT: f64 = 205.0;
/// Width of a curve, px.
pub const LINE_WIDTH: f64 = 1.8;
/// Width of limits, bounds and other references, px.
pub const REFERENCE_WIDTH: f64 = 1.2;
/// Half the size of a mark, px.
pub const MARK_RADIUS: f64 = 3.0;
/// Opacity of the band around a mean.
pub const BAND_OPACITY: f64 = 0.16;
/// Dash and gap of limits and bounds, px.
pub const DASH: (f64, f64) = (5.0, 3.5);
/// Pixels of the PNG for one px of the figure.
pub const PNG_SCALE: f32 = 2.0;

/// Text.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Axes, captions, leader lines.
pub const AXIS: RGBColor = RGBColor(0x55, 0x55, 0x55);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);
/// Paper.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

/// Shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
    /// ▼
    Wedge,
    /// ★
    Star,
    /// ✕, where a run diverged
    Cross,
}

/// How an update rule is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name in text.
    pub name: String,
    /// Colour of its lines and marks.
    pub colour: RGBColor,
    /// Shape of its marks.
    pub mark: Mark,
    /// Whether curves of training draw it dashed and with hollow marks: without momentum, it looks like its sibling with momentum else.
    pub hollow: bool,
}

/// The update rules in the order in which figures and tables show them.
pub const ORDER: [&str; 19] = [
    "specgd",
    "muon",
    "muon-all",
    "muon-no-head",
    "muon-no-filters",
    "muon-hidden",
    "muon-exact",
    "muon-ns5",
    "muon-ns3",
    "muon-ns1",
    "shampoo",
    "ngd",
    "nmd",
    "signgd",
    "signum",
    "gd",
    "sgd",
    "adam",
    "adamw",
];

/// How an update rule is drawn; a key that is not known here is drawn in grey under the key itself.
pub fn rule(key: &str) -> Rule {
    const SPECTRAL: (RGBColor, Mark) = (RGBColor(0xC9, 0x4F, 0x00), Mark::Circle);
    const NORMALIZED: (RGBColor, Mark) = (RGBColor(0x00, 0x72, 0xB2), Mark::Square);
    const SIGN: (RGBColor, Mark) = (RGBColor(0x00, 0x8A, 0x64), Mark::Triangle);
    const EUCLIDEAN: (RGBColor, Mark) = (RGBColor(0x3C, 0x3C, 0x3C), Mark::Diamond);
    const ADAPTIVE: (RGBColor, Mark) = (RGBColor(0xB0, 0x55, 0x8F), Mark::Wedge);
    const OTHER: (RGBColor, Mark) = (RGBColor(0x75, 0x75, 0x75), Mark::Circle);
    let (name, (colour, mark)) = match key {
        "gd" => ("GD", EUCLIDEAN),
        "sgd" => ("SGD", EUCLIDEAN),
        "ngd" => ("NGD", NORMALIZED),
        "nmd" => ("NMD", NORMALIZED),
        "signgd" => ("SignGD", SIGN),
        "signum" => ("Signum", SIGN),
        "specgd" => ("SpecGD", SPECTRAL),
        "muon" => ("Muon", SPECTRAL),
        // Ablations: which parameters Muon gets, and how exact its polar factor is (from exact, dark, to rough; the fifth colour would be faint).
        "muon-all" => ("Muon on all", SPECTRAL),
        "muon-no-head" => ("Muon off the head", NORMALIZED),
        "muon-no-filters" => ("Muon off filters", SIGN),
        "muon-hidden" => ("Muon on hidden only", ADAPTIVE),
        "muon-exact" => ("Muon, exact", (component(0, 5), Mark::Circle)),
        "muon-ns5" => ("Muon, 5 steps", (component(1, 5), Mark::Square)),
        "muon-ns3" => ("Muon, 3 steps", (component(2, 5), Mark::Triangle)),
        "muon-ns1" => ("Muon, 1 step", (component(3, 5), Mark::Wedge)),
        "shampoo" => ("Shampoo", (RGBColor(0x8A, 0x6D, 0x00), Mark::Star)),
        "adam" => ("Adam", ADAPTIVE),
        "adamw" => ("AdamW", ADAPTIVE),
        other => (other, OTHER),
    };
    Rule { name: name.to_owned(), colour, mark, hollow: ["gd", "ngd", "signgd", "specgd"].contains(&key) }
}

/// Colour of component `index` of `count`, from the strongest (dark violet) to the weakest (light red).
///
/// Lightness rises evenly, so that the order is seen in grey and with every form of colour vision; the anchors are the lower
/// two thirds of the `plasma` colour map (van der Walt and Smith, CC0).
pub fn component(index: usize, count: usize) -> RGBColor {
    const ANCHORS: [(u8, u8, u8); 7] = [
        (0x0D, 0x08, 0x87),
        (0x41, 0x04, 0x9D),
        (0x6A, 0x00, 0xA8),
        (0x8F, 0x0D, 0xA4),
        (0xB1, 0x2A, 0x90),
        (0xCC, 0x47, 0x78),
        (0xE1, 0x64, 0x62),
    ];
    let last = ANCHORS.len() - 1;
    let position = if count < 2 { 0.0 } else { last as f64 * index.min(count - 1) as f64 / (count - 1) as f64 };
    let lower = (0..last).rev().find(|&anchor| anchor as f64 <= position).unwrap_or(0);
    let weight = position - lower as f64;
    let (from, to) = (ANCHORS[lower], ANCHORS[lower + 1]);
    RGBColor(mix(from.0, to.0, weight), mix(from.1, to.1, weight), mix(from.2, to.2, weight))
}

/// The colour for text that belongs to a line of this colour: darkened until it has the contrast of 4.5 that small text needs.
pub fn text_colour(line: RGBColor) -> RGBColor {
    let mut colour = line;
    while contrast(colour, PAPER) < 4.5 {
        colour = RGBColor(mix(colour.0, 0, 0.04), mix(colour.1, 0, 0.04), mix(colour.2, 0, 0.04));
    }
    colour
}

/// Contrast ratio of two colours, from 1 to 21 (Web Content Accessibility Guidelines 2.2).
pub fn contrast(a: RGBColor, b: RGBColor) -> f64 {
    fn luminance(RGBColor(r, g, b): RGBColor) -> f64 {
        let linear = |channel: u8| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a weight in [0, 1] keeps the value between two bytes"
)]
fn mix(from: u8, to: u8, weight: f64) -> u8 {
    (f64::from(from) + weight * (f64::from(to) - f64::from(from))).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_text_stand_out_on_white() {
        for key in ORDER {
            let colour = rule(key).colour;
            assert!(contrast(colour, PAPER) >= 3.9, "{key}: {}", contrast(colour, PAPER));
            assert!(contrast(text_colour(colour), PAPER) >= 4.5, "{key}");
        }
        for index in 0..10 {
            assert!(contrast(component(index, 10), PAPER) >= 3.0, "{index}");
        }
    }

    #[test]
    fn components_become_lighter_one_by_one() {
        for count in 2..12 {
            let contrasts: Vec<f64> = (0..count).map(|index| contrast(component(index, count), PAPER)).collect();
            assert!(contrasts.windows(2).all(|pair| pair[0] > pair[1]), "{count}: {contrasts:?}");
        }
        assert_eq!(component(0, 1), component(0, 3));
    }

    #[test]
    fn families_share_their_looks() {
        for (a, b) in [("gd", "sgd"), ("ngd", "nmd"), ("signgd", "signum"), ("specgd", "muon")] {
            let (a, b) = (rule(a), rule(b));
            assert_eq!((a.colour, a.mark), (b.colour, b.mark));
            assert_ne!(a.name, b.name);
        }
        assert_eq!(rule("lion").name, "lion");
    }
}
