//! Axes: ranges, scales, ticks and the numbers beside them.

/// How values become positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Logarithmic; only positive values have a place.
    Log,
}

/// One axis of a panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// What it measures, with the unit.
    pub(crate) label: String,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) scale: Scale,
    /// Where numbers stand, and the numbers.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis over exactly `[low, high]` with about `count` ticks.
    pub(crate) fn linear(label: &str, low: f64, high: f64, count: usize) -> Self {
        let (low, high) = proper(low, high);
        Self { label: label.to_owned(), low, high, scale: Scale::Linear, ticks: linear_ticks(low, high, count) }
    }

    /// A linear axis with a little room above and below `[low, high]`; a bound that is exactly 0 stays where it is.
    pub(crate) fn linear_with_room(label: &str, low: f64, high: f64, count: usize) -> Self {
        let (low, high) = proper(low, high);
        let room = 0.05 * (high - low);
        let low = if low == 0.0 { 0.0 } else { low - room };
        let high = if high == 0.0 { 0.0 } else { high + room };
        Self::linear(label, low, high, count)
    }

    /// Shares in percent: all of `[0, 100]`.
    pub(crate) fn percent(label: &str) -> Self {
        // The room keeps lines along 0 and 100 and their marks from the edge.
        let ticks = (0..=5).map(|i| (f64::from(20 * i), (20 * i).to_string())).collect();
        Self { label: label.to_owned(), low: -2.0, high: 102.0, scale: Scale::Linear, ticks }
    }

    /// A logarithmic axis with a little room around `[low, high]`, both positive.
    pub(crate) fn log(label: &str, low: f64, high: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low / 2.0, high * 2.0) };
        let room = (high / low).powf(0.05);
        let (low, high) = (low / room, high * room);
        Self { label: label.to_owned(), low, high, scale: Scale::Log, ticks: log_ticks(low, high) }
    }

    /// Position of a value: 0 at the low end, 1 at the high end.
    pub(crate) fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }
}

/// A range of positive length around any two finite numbers.
fn proper(low: f64, high: f64) -> (f64, f64) {
    if high > low {
        (low, high)
    } else {
        let room = if low == 0.0 { 1.0 } else { 0.5 * low.abs() };
        (low - room, low + room)
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, about `count` of them.
fn linear_ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let raw = (high - low) / count.max(1) as f64;
    let power = raw.log10().floor();
    let unit = 10_f64.powf(power);
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * unit >= raw * (1.0 - 1e-9)).unwrap_or(10.0);
    let step = factor * unit;
    let power = if factor >= 10.0 { power + 1.0 } else { power };
    #[expect(clippy::cast_possible_truncation, reason = "a power of ten of a finite number is at most 308")]
    let power = power as i32;
    let largest = low.abs().max(high.abs());
    let first = (low / step - 1e-9).ceil();
    // The step divides the range into `count` parts or fewer, so that this many ticks are enough.
    (0..=count)
        .map(|index| (first + index as f64) * step)
        .take_while(|&value| value <= high + 1e-9 * step)
        .map(|value| (value, number(value, power, largest)))
        .collect()
}

/// A tick's number with the decimals that the step of 10^`power` needs.
fn number(value: f64, power: i32, largest: f64) -> String {
    // −0 and rounding residue.
    let value = if value.abs() < 1e-12 * largest { 0.0 } else { value };
    if largest >= 1e5 || (power < -4 && largest < 1e-2) {
        if value == 0.0 {
            return "0".into();
        }
        let exponent = largest.log10().floor();
        #[expect(clippy::cast_possible_truncation, reason = "the exponent of a finite number is at most 308")]
        let whole = exponent as i32;
        let decimals = usize::try_from(whole - power).unwrap_or(0);
        return minus(&format!("{:.decimals$}×10{}", value / 10_f64.powf(exponent), superscript(whole)));
    }
    let decimals = usize::try_from(-power).unwrap_or(0);
    minus(&format!("{value:.decimals$}"))
}

/// Powers of ten, with 2 and 5 times them where there are few; thinned out where there are many.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let decades = (high / low).log10();
    #[expect(clippy::cast_possible_truncation, reason = "powers of ten of finite numbers are at most 308")]
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let factors: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    #[expect(clippy::cast_possible_truncation, reason = "at most 616 decades")]
    let every = ((decades / 6.0).ceil() as i32).max(1);
    let plain = low >= 1e-3 && high < 1e4;
    (first..=last)
        .filter(|power| power.rem_euclid(every) == 0)
        .flat_map(|power| factors.iter().map(move |&factor| (factor, power)))
        .map(|(factor, power)| (factor * 10_f64.powi(power), factor, power))
        .filter(|&(value, ..)| value >= low * (1.0 - 1e-9) && value <= high * (1.0 + 1e-9))
        .map(|(value, factor, power)| {
            let text = match (plain, factor > 1.0) {
                (true, _) => format!("{value:.*}", usize::try_from(-power).unwrap_or(0)),
                (false, true) => format!("{factor}×10{}", superscript(power)),
                (false, false) => format!("10{}", superscript(power)),
            };
            (value, text)
        })
        .collect()
}

/// A whole number in raised digits.
pub(crate) fn superscript(number: i32) -> String {
    number
        .to_string()
        .chars()
        .map(|digit| match digit {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            '9' => '⁹',
            _ => '⁰',
        })
        .collect()
}

/// A number's text with a true minus sign.
pub(crate) fn minus(text: &str) -> String {
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_lie_in_the_range() {
        assert_eq!(texts(&Axis::linear("t", 0.0, 12.0, 5)), ["0", "5", "10"]);
        assert_eq!(texts(&Axis::linear("t", 0.0, 12.0, 6)), ["0", "2", "4", "6", "8", "10", "12"]);
        assert_eq!(texts(&Axis::linear("t", 0.0, 0.08, 4)), ["0.00", "0.02", "0.04", "0.06", "0.08"]);
        assert_eq!(texts(&Axis::linear("t", -0.3, 0.3, 6)), ["−0.3", "−0.2", "−0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(texts(&Axis::linear("t", 0.0, 3e6, 3)), ["0", "1×10⁶", "2×10⁶", "3×10⁶"]);
        assert_eq!(texts(&Axis::linear("t", 0.0, 4e-5, 4)), ["0", "1×10⁻⁵", "2×10⁻⁵", "3×10⁻⁵", "4×10⁻⁵"]);
        assert_eq!(texts(&Axis::percent("%")), ["0", "20", "40", "60", "80", "100"]);
    }

    #[test]
    fn ranges_without_length_get_one() {
        for value in [0.0, 3.0, -2.0] {
            let axis = Axis::linear_with_room("", value, value, 4);
            assert!(axis.low < value && value < axis.high && !axis.ticks.is_empty(), "{axis:?}");
        }
        assert!(Axis::linear("", 1e16, 1e16 + 4.0, 5).ticks.len() <= 6);
        let axis = Axis::log("", 1.0, 1.0);
        assert!(axis.low < 1.0 && axis.high > 1.0 && !axis.ticks.is_empty());
        assert!((axis.position(1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn logarithmic_ticks() {
        assert_eq!(texts(&Axis::log("", 1.0, 64.0)), ["1", "2", "5", "10", "20", "50"]);
        assert_eq!(texts(&Axis::log("", 0.02, 3.0)), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(texts(&Axis::log("", 1e-6, 10.0)), ["10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]);
        let axis = Axis::log("", 1e-3, 1e3);
        assert!((axis.position(1.0) - 0.5).abs() < 1e-12);
    }
}
