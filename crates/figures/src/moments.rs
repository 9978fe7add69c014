//! The spectrum of a data set's moments, as a panel.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Key, Panel, Sample, Series};
use crate::select::Selection;
use crate::style::{self, Mark};

/// Smaller than this, relative to the largest, is zero up to the rounding of single precision.
const ZERO: f64 = 1e-7;

/// The moments of the data.
pub(crate) struct Moments {
    /// Singular values of `Σ_yx`, descending.
    cross: Vec<f64>,
    /// Diagonal of `Vᵀ Σ_xx V`.
    along: Vec<f64>,
    /// Largest eigenvalues of `Σ_xx`, descending.
    eigenvalues: Vec<f64>,
    residual: Option<f64>,
}

impl Moments {
    const COLOURS: [plotters::style::RGBColor; 3] = [
        plotters::style::RGBColor(0x6A, 0x00, 0xA8),
        plotters::style::RGBColor(0x8A, 0x6D, 0x00),
        plotters::style::RGBColor(0x60, 0x60, 0x60),
    ];

    pub(crate) fn of(selection: &Selection<'_>, run: &Run) -> Result<Self, Error> {
        let residual =
            run.series("train", "condition1_residual", "all").map(|record| record.value).find(|value| value.is_finite());
        let moments = Self {
            cross: selection.by_index(run, "data", "s_yx")?,
            along: selection.by_index(run, "data", "s_xx")?,
            eigenvalues: selection.by_index(run, "data", "eigenvalue")?,
            residual,
        };
        for (metric, values) in [("s_yx", &moments.cross), ("eigenvalue", &moments.eigenvalues)] {
            if values.iter().all(|&value| value <= 0.0) {
                return Err(selection.missing(format!("positive value of the metric `{metric}`")));
            }
        }
        Ok(moments)
    }

    fn spectra(&self) -> [&[f64]; 3] {
        [&self.cross, &self.along, &self.eigenvalues]
    }

    /// (index from 1, value) of what is not zero up to rounding, as a logarithmic axis can show no more.
    fn positive(values: &[f64]) -> Vec<(f64, f64)> {
        let largest = values.iter().copied().fold(0.0, f64::max);
        values
            .iter()
            .enumerate()
            .map(|(index, &value)| ((index + 1) as f64, value))
            .filter(|&(_, value)| value > ZERO * largest)
            .collect()
    }

    pub(crate) fn panel(&self) -> Panel {
        let all: Vec<(f64, f64)> = self.spectra().into_iter().flat_map(Self::positive).collect();
        let low = all.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = all.iter().map(|point| point.1).fold(0.0, f64::max);
        let last = all.iter().map(|point| point.0).fold(1.0, f64::max);
        let marks = [Mark::Circle, Mark::Diamond, Mark::Square];
        let mut series = Vec::new();
        // The long spectrum lies below the others.
        for index in [2, 1, 0] {
            let points = Self::positive(self.spectra()[index]);
            let colour = Self::COLOURS[index];
            let radius = if index == 2 { 1.6 } else { style::MARK_RADIUS - 0.4 };
            series.push(Series::Line { points: points.clone(), colour, width: 1.0 });
            series.push(Series::Marks { points, colour, mark: marks[index], radius, fill: Fill::Full });
        }
        Panel {
            title: "Moments of the data".into(),
            x: Axis::log("index", 1.0, last),
            y: Axis::log("singular value, eigenvalue", low, high),
            shares_y: false,
            series,
            labels: Vec::new(),
        }
    }

    pub(crate) fn keys() -> [Key; 3] {
        let [cross, along, eigenvalues] = Self::COLOURS;
        [
            Key { sample: Sample::Marked(Mark::Circle, cross), text: "c: singular values s_{yx} of Σ_{yx}".into() },
            Key { sample: Sample::Marked(Mark::Diamond, along), text: "c: variances s_{xx} along them".into() },
            Key { sample: Sample::Marked(Mark::Square, eigenvalues), text: "c: eigenvalues of Σ_{xx}".into() },
        ]
    }

    pub(crate) fn caption(&self) -> String {
        let zero = self.spectra().into_iter().map(|values| values.len() - Self::positive(values).len()).sum::<usize>();
        let mut text =
            String::from(" Moments (c) of the training images: Σ_{yx} = E[y x^{⊤}] = U S_{yx} V^{⊤}, Σ_{xx} = E[x x^{⊤}]");
        if let Some(residual) = self.residual {
            text.push_str(&format!(
                "; what Σ_{{xx}} has outside the diagonal of V^{{⊤}}Σ_{{xx}}V is {residual:.2} of the diagonal (Frobenius norms)"
            ));
        }
        if zero > 0 {
            text.push_str(&format!("; {zero} values that are zero up to rounding are left out"));
        }
        text.push('.');
        text
    }
}
