//! Everything that a diagnosis finds.

use isorate_data::Treatment;
use isorate_theory::{Measure, Trust, Window};
use serde::Serialize;

/// What was found on one data set. Times are t = n η, step number times step size.
#[derive(Clone, Debug, Serialize)]
pub struct DiagnosisReport {
    /// The data set or file.
    pub data: String,
    /// Rows whose moments were taken.
    pub rows: usize,
    /// Features d that were used.
    pub features: usize,
    /// Columns with one value only; they are dropped unless the features are raw.
    pub constant_columns: Vec<String>,
    /// `raw`, `centered` or `standardized`.
    pub treatment: String,
    /// Rows that were measured on only; 0 if there are none.
    pub held_out_rows: usize,
    /// Where they come from.
    pub held_out_from: String,
    /// The ratio of a STEP imbalance that was made.
    pub step_ratio: Option<f64>,
    /// Seed of the random subsets.
    pub seed: u64,
    /// The largest class over the smallest one.
    pub imbalance: f64,
    /// μ, the root mean square of ‖m_c‖ over the classes.
    pub mean_length: f64,
    /// σ, the standard deviation of a feature within a class.
    pub noise_std: f64,
    /// μ²/σ².
    pub snr: f64,
    /// The largest |cos| of the angle of two class means.
    pub largest_cosine: f64,
    /// By class.
    pub classes: Vec<ClassReport>,
    /// By component, the strongest first.
    pub components: Vec<ComponentReport>,
    /// How far the data are from the data model.
    pub measures: Vec<Measure>,
    /// What they mean together.
    pub trust: Trust,
    /// What the theorems say of the mixture with the priors, μ and σ of the data.
    pub ideal: Option<IdealReport>,
    /// η.
    pub step_size: f64,
    /// 2/λ, the step size at which gradient descent becomes unstable.
    pub stability_limit: f64,
    /// The last step that was followed.
    pub steps: usize,
    /// t* = min a_j*.
    pub first_saturation: f64,
    /// max a_j*.
    pub last_saturation: f64,
    /// Minority and balanced loss, over GD and over NGD.
    pub gaps: Vec<GapReport>,
    /// The lead at equal training loss, measured.
    pub equal_loss: Option<EqualLoss>,
    /// Accuracies at the largest measured lead.
    pub accuracies: Vec<Accuracies>,
}

/// One class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub count: usize,
    /// Their part of all rows.
    pub prior: f64,
    /// Whether it is one of the smallest classes.
    pub minority: bool,
    /// ‖m_c‖.
    pub mean_length: f64,
    /// The variance within the class, mean over the features.
    pub variance: f64,
    /// The component with the largest part in it, from 0.
    pub component: usize,
    /// |U_cj| of that component.
    pub overlap: f64,
    /// When `SpecGD` is predicted to have that component at its limit.
    pub saturation_time: f64,
    /// When GD is predicted to have half of the class's own score.
    pub half_time_gd: Option<f64>,
    /// When `SpecGD` is.
    pub half_time_specgd: Option<f64>,
}

/// One component.
#[derive(Clone, Debug, Serialize)]
pub struct ComponentReport {
    /// Singular value of Σ_yx.
    pub s_yx: f64,
    /// v_jᵀ Σ_xx v_j.
    pub s_xx: f64,
    /// a_j* = s_yx/s_xx.
    pub saturation_time: f64,
    /// ‖Σ_xx v_j − s_xx v_j‖/s_xx.
    pub eigenvector_residual: f64,
}

/// The data model with the priors, μ and σ of the data.
#[derive(Clone, Debug, Serialize)]
pub struct IdealReport {
    /// Its t*.
    pub horizon: f64,
    /// The conditions of Theorems 1 and 2 that it violates.
    pub violated_conditions: Vec<String>,
}

/// One gap curve, loss of a rule − loss of `SpecGD`.
#[derive(Clone, Debug, Serialize)]
pub struct GapReport {
    /// `minority` or `balanced`.
    pub loss: &'static str,
    /// `gd` or `ngd`.
    pub rule: &'static str,
    /// The window predicted.
    pub predicted: Option<Window>,
    /// The window measured on the training rows.
    pub measured: Option<Window>,
    /// The window measured on the held-out rows.
    pub held_out: Option<Window>,
    /// The largest error of the prediction up to the first saturation, relative to the largest measured gap there.
    pub early_error: Option<f64>,
    /// The same over the measured window.
    pub window_error: Option<f64>,
    /// (t, gap) as predicted.
    pub predicted_curve: Vec<(f64, f64)>,
    /// (t, gap) on the training rows.
    pub measured_curve: Vec<(f64, f64)>,
    /// (t, gap) on the held-out rows.
    pub held_out_curve: Vec<(f64, f64)>,
}

/// The largest lead of `SpecGD` in minority loss where both have the same training loss.
#[derive(Clone, Debug, Serialize)]
pub struct EqualLoss {
    /// Minority loss of normalized gradient descent − minority loss of `SpecGD`.
    pub lead: f64,
    /// The mean training loss of both.
    pub training_loss: f64,
    /// Steps of normalized gradient descent, interpolated.
    pub ngd_step: f64,
    /// Steps of `SpecGD`.
    pub specgd_step: usize,
}

/// Accuracies of GD, NGD and `SpecGD` after one number of steps.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracies {
    /// `training` or `held-out`.
    pub rows: String,
    /// The number of steps.
    pub step: usize,
    /// Mean over the minority classes.
    pub minority: [f64; 3],
    /// Mean over all classes.
    pub balanced: [f64; 3],
}

impl DiagnosisReport {
    /// A time in steps.
    pub fn in_steps(&self, time: f64) -> f64 {
        time / self.step_size
    }

    /// The gap curve of a loss over a rule.
    pub fn gap(&self, loss: &str, rule: &str) -> Option<&GapReport> {
        self.gaps.iter().find(|gap| gap.loss == loss && gap.rule == rule)
    }
}

pub(super) fn treatment_name(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Raw => "raw",
        Treatment::Centered => "centered",
        Treatment::Standardized => "standardized",
    }
}
