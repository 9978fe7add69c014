use serde::Serialize;

use super::LabelledMoments;
use crate::linalg::frobenius;
use crate::part::{Part, part};

/// How far a data set is from the data model in one respect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// A stable name.
    pub id: &'static str,
    /// What it is, in a few words.
    pub name: &'static str,
    /// The value.
    pub value: f64,
    /// Its value for the data model.
    pub ideal: f64,
    /// The value up to which (from which on, where the ideal is larger) it does no harm; see the calibration in the derivations.
    pub limit: f64,
    /// Whether the value is within the limit.
    pub within: bool,
    /// What goes wrong beyond the limit.
    pub consequence: &'static str,
}

/// How much of the predicted gap curves can be relied on, by the eigenvector residual ε. The errors are those of simulated mixtures with
/// one or all of their assumptions broken, relative to the largest gap (see the derivations).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// All of them: ε ≤ 0.1, errors below 10%.
    Whole,
    /// All of them roughly: ε ≤ 0.3, nine of ten errors below 25%; below 11% up to the first saturation t*.
    Roughly,
    /// Only up to the first saturation t*: ε ≤ 3, nine of ten errors up to there below 14%.
    Early,
    /// None of them.
    Nothing,
}

/// Limits of ε for [`Trust::Whole`], [`Trust::Roughly`] and [`Trust::Early`].
pub(crate) const RESIDUALS: [f64; 3] = [0.1, 0.3, 3.0];
/// Limits of what may be broken alone: each keeps the error of the whole curve below 15% where nothing else is broken.
pub(crate) const COSINE: f64 = 0.3;
pub(crate) const LENGTH_RATIO: f64 = 4.0;
pub(crate) const ANISOTROPY: f64 = 1.05;
pub(crate) const VARIANCE_RATIO: f64 = 10.0;
/// By definition: a component of which less than 0.9² = 81% is in one class is not that class.
const OVERLAP: f64 = 0.9;
/// By arithmetic: E‖m̂_c‖² = ‖m_c‖² + tr Cov(x | c)/n_c, so this part of the length of an estimated mean is noise.
const SAMPLING: f64 = 0.1;

/// The measures of a data set, and how far the prediction for it can be relied on. Only the eigenvector residual decides that: the prediction
/// is exact where it is 0, whatever the other measures. They say why it is not, and whether components can be read as classes.
pub fn trust(data: &LabelledMoments) -> (Vec<Measure>, Trust) {
    let residual = data.eigenvector_residuals().into_iter().fold(0.0, f64::max);
    let trust = match residual {
        residual if residual <= RESIDUALS[0] => Trust::Whole,
        residual if residual <= RESIDUALS[1] => Trust::Roughly,
        residual if residual <= RESIDUALS[2] => Trust::Early,
        _ => Trust::Nothing,
    };
    (measures(data, residual), trust)
}

fn measures(data: &LabelledMoments, residual: f64) -> Vec<Measure> {
    let norms = data.mean_norms();
    let sampling = data.variances().iter().zip(data.counts()).zip(&norms);
    let sampling = sampling.map(|((variance, &count), norm)| variance / (count as f64 * norm * norm)).fold(0.0, f64::max);
    let overlap = data.matches().iter().map(|found| found.overlap).fold(1.0, f64::min);
    let measure = |id, name, value: f64, ideal: f64, limit: f64, consequence| {
        let within = if ideal > limit { value >= limit } else { value <= limit };
        Measure { id, name, value, ideal, limit, within, consequence }
    };
    vec![
        measure(
            "eigenvector-residual",
            "directions that carry the classes mix with other directions of the data (largest eigenvector residual)",
            residual,
            0.0,
            RESIDUALS[0],
            "the prediction is wrong after the first saturation",
        ),
        measure(
            "condition1-residual",
            "the same over all directions together, as the literature reports it (residual of Condition 1)",
            data.moments().condition1_residual(),
            0.0,
            RESIDUALS[0],
            "the strongest directions mix as well",
        ),
        measure(
            "class-overlap",
            "each direction belongs to one class (smallest overlap)",
            overlap,
            1.0,
            OVERLAP,
            "a saturation time cannot be read as that of one class",
        ),
        measure(
            "mean-cosine",
            "class means at right angles (largest |cos|)",
            data.largest_cosine(),
            0.0,
            COSINE,
            "classes share directions, so that rare ones profit from frequent ones",
        ),
        measure(
            "mean-length-ratio",
            "class means of one length (longest by shortest)",
            extremes(&norms),
            1.0,
            LENGTH_RATIO,
            "the rarest class need not be the weakest one",
        ),
        measure(
            "anisotropy",
            "noise alike in all directions (mean square eigenvalue by squared mean)",
            anisotropy(data),
            1.0,
            ANISOTROPY,
            "noise in some directions hides what is to be learned there",
        ),
        measure(
            "variance-ratio",
            "classes of one spread (largest variance by smallest)",
            extremes(data.variances()),
            1.0,
            VARIANCE_RATIO,
            "some classes are blurred more than others",
        ),
        measure(
            "sampling",
            "enough rows to know every class mean (largest share of noise in a mean's squared length)",
            sampling,
            0.0,
            SAMPLING,
            "new rows of a rare class look different from those that were seen",
        ),
    ]
}

fn extremes(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max) / values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// d ‖Σ_w‖_F²/(tr Σ_w)², 1 for equal eigenvalues, up to d for a single one.
pub(crate) fn anisotropy(data: &LabelledMoments) -> f64 {
    let within = data.within();
    let trace: f64 = (0..within.nrows()).map(|i| within[(i, i)]).sum();
    within.nrows() as f64 * (frobenius(within.as_ref()) / trace).powi(2)
}

impl LabelledMoments {
    /// ε_j = ‖Σ_xx v_j − s_xx,j v_j‖/s_xx,j for each component: how far the singular vector v_j of Σ_yx is from being an eigenvector of Σ_xx,
    /// which Condition 1 says it is. Unlike the residual of Condition 1 over all components, which the strongest ones
    /// dominate, it sees the weak ones that carry the rare classes.
    pub fn eigenvector_residuals(&self) -> Vec<f64> {
        let moments = self.moments();
        let images = moments.sigma_xx() * moments.right();
        let of = |(j, s): (usize, &f64)| {
            let pairs = images.col(j).iter().zip(moments.right().col(j).iter());
            let rest = pairs.map(|(image, v)| (image - s * v).powi(2)).sum::<f64>().sqrt();
            part(Part::DiagnosisResidual, rest / s)
        };
        moments.components().s_xx().iter().enumerate().map(of).collect()
    }
}
