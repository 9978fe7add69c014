/// A lead below this (the loss of a class starts at ½) is not worth a word.
const NOTICEABLE: f64 = 1e-3;

/// The part of the largest lead that is left when the lead has gone. At the limits `SpecGD` alternates, and where a curve that comes
/// near zero crosses it would depend on the last rounding.
const GONE: f64 = 0.05;

/// While `SpecGD` is ahead: the interval around the largest gap L − L^Spec, from where the gap is positive to where
/// a twentieth of the largest is left.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Window {
    /// When it begins; 0 if `SpecGD` is ahead from the first time on.
    pub start: f64,
    /// When the gap is largest.
    pub peak_time: f64,
    /// The largest gap.
    pub peak: f64,
    /// When a twentieth of the largest gap is left, by linear interpolation; `None` if it is more at the last time.
    pub end: Option<f64>,
}

impl Window {
    /// The window of a gap curve (t, gap), by time; `None` where no gap is above 0.001, a five hundredth of the initial loss.
    ///
    /// ```
    /// use isorate_theory::Window;
    /// let window = Window::of(&[(0.0, 0.0), (1.0, 0.2), (2.0, 0.1), (3.0, -0.1)]).expect("SpecGD is ahead");
    /// assert_eq!((window.start, window.peak_time, window.end), (0.0, 1.0, Some(2.45)));
    /// ```
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let mut top = 0;
        for (index, point) in points.iter().enumerate() {
            if point.1 > points[top].1 {
                top = index;
            }
        }
        let &(peak_time, peak) = points.get(top)?;
        if peak.is_nan() || peak <= NOTICEABLE {
            return None;
        }
        let start = points[..top].iter().rposition(|point| point.1 <= 0.0).map_or(0.0, |index| points[index].0);
        let gone = GONE * peak;
        let end = points[top..].windows(2).find(|pair| pair[1].1 <= gone).map(|pair| {
            let ((t0, g0), (t1, g1)) = (pair[0], pair[1]);
            t0 + (t1 - t0) * (g0 - gone) / (g0 - g1)
        });
        Some(Self { start, peak_time, peak, end })
    }
}

/// The largest |predicted − measured| over the times up to `until`, relative to the largest |measured| there; both curves at the same
/// times. `None` without such a time or where nothing was measured but zeros.
pub fn largest_error(predicted: &[(f64, f64)], measured: &[(f64, f64)], until: f64) -> Option<f64> {
    let within = || predicted.iter().zip(measured).filter(|(p, _)| p.0 <= until * (1.0 + 1e-9));
    let scale = within().map(|(_, m)| m.1.abs()).fold(0.0, f64::max);
    (scale > 0.0).then(|| within().map(|(p, m)| (p.1 - m.1).abs()).fold(0.0, f64::max) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_curves() {
        assert_eq!(Window::of(&[]), None);
        assert_eq!(Window::of(&[(0.0, 0.0), (1.0, 5e-4)]), None);
        let late = Window::of(&[(0.0, 0.0), (1.0, -0.1), (2.0, 0.3), (3.0, 0.2)]).expect("ahead");
        assert_eq!((late.start, late.peak_time, late.end), (1.0, 2.0, None));
        // Which rest of a lead is the first below zero says nothing.
        let end = |rest: [f64; 2]| {
            Window::of(&[(0.0, 1.0), (1.0, 0.5), (2.0, 0.0), (3.0, rest[0]), (4.0, rest[1])]).expect("ahead").end
        };
        assert_eq!(end([1e-3, -1e-3]), end([-1e-3, 1e-3]));
        assert_eq!(end([1e-3, 1e-3]), Some(1.9));
    }

    #[test]
    fn errors_are_relative_to_what_was_measured() {
        let measured = [(0.0, 0.0), (1.0, 0.2), (2.0, 0.1)];
        let predicted = [(0.0, 0.0), (1.0, 0.18), (2.0, 0.0)];
        assert!((largest_error(&predicted, &measured, 1.0).expect("measured") - 0.1).abs() < 1e-12);
        assert!((largest_error(&predicted, &measured, 9.0).expect("measured") - 0.5).abs() < 1e-12);
        assert_eq!(largest_error(&predicted, &measured, 0.0), None);
    }
}
