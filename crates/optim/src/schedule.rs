//! Schedules of the learning rate.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::rules::Check;

/// The factor of the learning rate as a function of the step, for
/// [`Optimizer::set_lr_factor`](crate::Optimizer::set_lr_factor).
///
/// The step t counts from 0 and is the step that is about to be made, so a run of T steps uses t = 0, …, T − 1; it is
/// the number of steps already made, [`Optimizer::steps`](crate::Optimizer::steps). With w warm-up steps the factor is
///
/// ```text
/// f(t) = (t + 1)/w                 t < w
/// f(t) = d(t − w)                  t ≥ w, with d from Decay
/// ```
///
/// The first step has the factor 1/w, not 0, and step w − 1 is the first at full rate. A decay over `steps` steps ends
/// at t = T = `steps`, warm-up included: the step T − 1, the last of the run, is the last before the final value, which
/// holds from then on. All factors lie in [0, 1]. The function keeps no state, so a resumed run continues it exactly.
///
/// # Beside PyTorch
/// `torch.optim.lr_scheduler.LambdaLR(optimizer, f)`, stepped after each optimizer step, gives the same rates in the
/// same steps, `LinearLR(start_factor=1/w, total_iters=w-1)` the warm-up, and, without warm-up,
/// `CosineAnnealingLR(T_max=T, eta_min=lr·final)`, `StepLR(step_size=n, gamma=γ)` and
/// `LinearLR(start_factor=1, end_factor=final, total_iters=T)` the others. `OneCycleLR` has no equal here: it begins at
/// lr/25, rises along a cosine over the first 30% of the run, falls to lr/250,000 at step T − 1, and also changes the
/// momentum.
///
/// # Settings
/// The key `schedule` is `constant`, `linear`, `cosine`, `step` or `trapezoid`; beside it stand the fields of
/// [`Decay`] and `warmup_steps` (default 0). Unknown keys are errors.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Role, RuleConfig, Schedule, Sgd};
///
/// let schedule: Schedule = toml::from_str("schedule = 'cosine'\nsteps = 10\nwarmup_steps = 2").unwrap();
/// assert_eq!(schedule, Schedule::cosine(10).with_warmup(2));
/// schedule.validate()?;
/// assert_eq!([0, 1, 2, 6, 10].map(|t| schedule.factor(t)), [0.5, 1.0, 1.0, 0.5, 0.0]);
///
/// let w = Var::new(&[1.0_f64], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Sgd(Sgd::new(0.1))))?;
/// while optimizer.steps() < 10 {
///     optimizer.set_lr_factor(schedule.factor(optimizer.steps()))?;
///     optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// }
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Fields", from = "Fields")]
pub struct Schedule {
    /// The number w of steps of linear warm-up; 0 is none.
    pub warmup_steps: u64,
    /// What follows the warm-up.
    pub decay: Decay,
}

/// The factor d(s) after the warm-up of w steps, s = t − w, with N = `steps` − w.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// d = 1
    Constant,
    /// d(s) = 1 − (1 − f)·s/N for s < N, then f.
    Linear {
        /// Steps of the run, warm-up included.
        steps: u64,
        /// The factor f at the end, in [0, 1]; default 0.
        final_factor: f64,
    },
    /// d(s) = f + (1 − f)·(1 + cos(π·s/N))/2 for s < N, then f (I. Loshchilov, F. Hutter, SGDR, 2017, one period).
    Cosine {
        /// Steps of the run, warm-up included.
        steps: u64,
        /// The factor f at the end, in [0, 1]; default 0.
        final_factor: f64,
    },
    /// d(s) = γ^⌊s/n⌋
    Step {
        /// The number n ≥ 1 of steps between two drops.
        every: u64,
        /// The factor γ of each drop, in (0, 1].
        gamma: f64,
    },
    /// d = 1 until the last c = `cooldown_steps` of the N steps, then d(s) = f + (1 − f)·(N − s)/c, and f from s = N on.
    /// Also known as WSD: warm-up, stable, decay (S. Hu et al., MiniCPM, 2024; A. Hägele et al., 2024).
    Trapezoid {
        /// Steps of the run, warm-up included.
        steps: u64,
        /// The number c of steps of the linear cool-down.
        cooldown_steps: u64,
        /// The factor f at the end, in [0, 1]; default 0.
        final_factor: f64,
    },
}

impl Schedule {
    /// The full rate in every step.
    pub const fn constant() -> Self {
        Self { warmup_steps: 0, decay: Decay::Constant }
    }

    /// Linear decay to 0 over a run of `steps` steps.
    pub const fn linear(steps: u64) -> Self {
        Self { warmup_steps: 0, decay: Decay::Linear { steps, final_factor: 0.0 } }
    }

    /// Half a period of a cosine down to 0 over a run of `steps` steps.
    pub const fn cosine(steps: u64) -> Self {
        Self { warmup_steps: 0, decay: Decay::Cosine { steps, final_factor: 0.0 } }
    }

    /// A drop by the factor `gamma` every `every` steps.
    pub const fn step(every: u64, gamma: f64) -> Self {
        Self { warmup_steps: 0, decay: Decay::Step { every, gamma } }
    }

    /// The full rate, then a linear cool-down to 0 over the last `cooldown_steps` of `steps` steps.
    pub const fn trapezoid(steps: u64, cooldown_steps: u64) -> Self {
        Self { warmup_steps: 0, decay: Decay::Trapezoid { steps, cooldown_steps, final_factor: 0.0 } }
    }

    /// The same schedule after `warmup_steps` of linear warm-up; `steps` of the decay counts them.
    #[must_use]
    pub const fn with_warmup(mut self, warmup_steps: u64) -> Self {
        self.warmup_steps = warmup_steps;
        self
    }

    /// The same schedule ending at another factor. Constant and step have no end and stay as they are.
    #[must_use]
    pub const fn with_final_factor(mut self, factor: f64) -> Self {
        match &mut self.decay {
            Decay::Linear { final_factor, .. } | Decay::Cosine { final_factor, .. } | Decay::Trapezoid { final_factor, .. } => {
                *final_factor = factor;
            }
            Decay::Constant | Decay::Step { .. } => {}
        }
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when a run has no steps, the warm-up is longer than the run, the
    /// cool-down is longer than what the warm-up leaves, a final factor lies outside [0, 1], γ outside (0, 1], or a
    /// step schedule drops every 0 steps.
    pub fn validate(&self) -> Result<()> {
        let check = Check { rule: self.decay.name() };
        if let Some(steps) = self.decay.steps() {
            check.that(steps >= 1, "steps", steps, "a run has at least one step")?;
            check.that(self.warmup_steps <= steps, "warmup_steps", self.warmup_steps, "the warm-up is part of `steps`")?;
        }
        match self.decay {
            Decay::Constant => Ok(()),
            Decay::Linear { final_factor, .. } | Decay::Cosine { final_factor, .. } => check_final(&check, final_factor),
            Decay::Step { every, gamma } => {
                check.that(every >= 1, "every", every, "at least one step lies between two drops")?;
                check.that(gamma > 0.0 && gamma <= 1.0, "gamma", gamma, "it must lie in (0, 1]")
            }
            Decay::Trapezoid { steps, cooldown_steps, final_factor } => {
                let longest = steps.saturating_sub(self.warmup_steps);
                let fits = cooldown_steps <= longest;
                check.that(fits, "cooldown_steps", cooldown_steps, "warm-up and cool-down together fit into `steps`")?;
                check_final(&check, final_factor)
            }
        }
    }

    /// The factor of step `step`, counted from 0: the step about to be made.
    pub fn factor(&self, step: u64) -> f64 {
        match step.checked_sub(self.warmup_steps) {
            None => (step as f64 + 1.0) / self.warmup_steps as f64,
            Some(since) => self.decay.factor(since, self.warmup_steps),
        }
    }
}

fn check_final(check: &Check, factor: f64) -> Result<()> {
    check.that((0.0..=1.0).contains(&factor), "final_factor", factor, "it must lie in [0, 1]")
}

impl Decay {
    fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant schedule",
            Self::Linear { .. } => "linear schedule",
            Self::Cosine { .. } => "cosine schedule",
            Self::Step { .. } => "step schedule",
            Self::Trapezoid { .. } => "trapezoid schedule",
        }
    }

    /// The length of the run, where the decay has an end.
    fn steps(&self) -> Option<u64> {
        match *self {
            Self::Constant | Self::Step { .. } => None,
            Self::Linear { steps, .. } | Self::Cosine { steps, .. } | Self::Trapezoid { steps, .. } => Some(steps),
        }
    }

    /// d(s) after a warm-up of `warmup` steps.
    fn factor(&self, since: u64, warmup: u64) -> f64 {
        // The number of steps from now to the end, the end, and N: exact in integers.
        let left = |steps: u64| steps.saturating_sub(warmup).saturating_sub(since);
        let span = |steps: u64| steps.saturating_sub(warmup) as f64;
        match *self {
            Self::Constant => 1.0,
            Self::Linear { steps, final_factor } => match left(steps) {
                0 => final_factor,
                left => between(final_factor, left as f64 / span(steps)),
            },
            Self::Cosine { steps, final_factor } => match left(steps) {
                0 => final_factor,
                _ => between(final_factor, f64::midpoint(1.0, (std::f64::consts::PI * since as f64 / span(steps)).cos())),
            },
            Self::Step { every, gamma } => {
                let drops = since.checked_div(every).unwrap_or(0);
                gamma.powi(i32::try_from(drops).unwrap_or(i32::MAX))
            }
            Self::Trapezoid { steps, cooldown_steps, final_factor } => match left(steps) {
                0 => final_factor,
                left if left >= cooldown_steps => 1.0,
                left => between(final_factor, left as f64 / cooldown_steps as f64),
            },
        }
    }
}

/// From `end` at 0 to 1 at 1: there exactly 1, since 1 − `end` is rounded by less than half of the last digit of 1.
fn between(end: f64, position: f64) -> f64 {
    end + (1.0 - end) * position
}

/// A schedule as it stands in settings.
#[derive(Serialize, Deserialize)]
#[serde(tag = "schedule", rename_all = "lowercase", deny_unknown_fields)]
enum Fields {
    Constant {
        #[serde(default)]
        warmup_steps: u64,
    },
    Linear {
        steps: u64,
        #[serde(default)]
        final_factor: f64,
        #[serde(default)]
        warmup_steps: u64,
    },
    Cosine {
        steps: u64,
        #[serde(default)]
        final_factor: f64,
        #[serde(default)]
        warmup_steps: u64,
    },
    Step {
        every: u64,
        gamma: f64,
        #[serde(default)]
        warmup_steps: u64,
    },
    Trapezoid {
        steps: u64,
        cooldown_steps: u64,
        #[serde(default)]
        final_factor: f64,
        #[serde(default)]
        warmup_steps: u64,
    },
}

impl From<Schedule> for Fields {
    fn from(Schedule { warmup_steps, decay }: Schedule) -> Self {
        match decay {
            Decay::Constant => Self::Constant { warmup_steps },
            Decay::Linear { steps, final_factor } => Self::Linear { steps, final_factor, warmup_steps },
            Decay::Cosine { steps, final_factor } => Self::Cosine { steps, final_factor, warmup_steps },
            Decay::Step { every, gamma } => Self::Step { every, gamma, warmup_steps },
            Decay::Trapezoid { steps, cooldown_steps, final_factor } => {
                Self::Trapezoid { steps, cooldown_steps, final_factor, warmup_steps }
            }
        }
    }
}

impl From<Fields> for Schedule {
    fn from(fields: Fields) -> Self {
        let (warmup_steps, decay) = match fields {
            Fields::Constant { warmup_steps } => (warmup_steps, Decay::Constant),
            Fields::Linear { steps, final_factor, warmup_steps } => (warmup_steps, Decay::Linear { steps, final_factor }),
            Fields::Cosine { steps, final_factor, warmup_steps } => (warmup_steps, Decay::Cosine { steps, final_factor }),
            Fields::Step { every, gamma, warmup_steps } => (warmup_steps, Decay::Step { every, gamma }),
            Fields::Trapezoid { steps, cooldown_steps, final_factor, warmup_steps } => {
                (warmup_steps, Decay::Trapezoid { steps, cooldown_steps, final_factor })
            }
        };
        Self { warmup_steps, decay }
    }
}
