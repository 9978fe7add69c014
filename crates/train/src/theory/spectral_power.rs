//! The spectral-power flow between GD and `SpecGD`: paths, times and the order of the classes.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, TrajectoryRow, power_flip_exponent, power_saturation_times,
    trajectory,
};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, marks, whole};
use crate::Error;
use crate::spec::Context;

/// A path that is shown ends at this multiple of its last saturation time.
const BEYOND: f64 = 1.1;
/// GD never saturates: its paths end at this multiple of the slowest time constant.
const GD_CONSTANTS: f64 = 4.0;
/// A simulation keeps all of its steps.
const MOST_STEPS: f64 = 1e6;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpectralPower {
    mixture: MixtureConfig,
    /// Exponents p whose paths are shown, in the order of the panels.
    exponents: Vec<f64>,
    /// Numbers of layers whose order of saturation is shown.
    depths: Vec<usize>,
    /// δ of the simulated deep models.
    delta: f64,
    /// Steps of a simulation up to the first saturation.
    resolution: usize,
    /// Times of the closed form of a path, evenly spaced.
    points: usize,
    /// Times of the simulation of a path, evenly spaced.
    marks: usize,
    /// Exponents of the lines over p, evenly spaced.
    grid: usize,
    /// Exponents of the simulations over p, evenly spaced.
    grid_marks: usize,
}

impl TheoryRun for SpectralPower {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let mixture = check_mixture(&self.mixture, context)?;
        if mixture.saturation_spread(&isorate_theory::Network::LINEAR) <= 0.0 {
            return Err(context.error("mixture.priors", "equal classes have no order\nhint: give unequal priors"));
        }
        if self.exponents.is_empty() {
            return Err(context.error("exponents", "[] must name at least one exponent"));
        }
        if let Some(exponent) = self.exponents.iter().find(|p| !((0.0..=0.95).contains(*p) || (1.0..=1.0).contains(*p))) {
            return Err(context.error(
                "exponents",
                format!("{exponent} must be from 0 (SpecGD) to 0.95, or 1 (GD)\nhint: between, saturation takes 1/(1 − p) times as long"),
            ));
        }
        if let Some(depth) = self.depths.iter().find(|depth| !(1..=8).contains(*depth)) {
            return Err(context.error("depths", format!("{depth} must be from 1 to 8")));
        }
        context.positive("delta", self.delta)?;
        let setting = |name: &str| format!("{scale}.{name}");
        for (name, size) in [
            ("resolution", self.resolution),
            ("points", self.points),
            ("marks", self.marks),
            ("grid", self.grid),
            ("grid_marks", self.grid_marks),
        ] {
            context.at_least_one(&setting(name), size)?;
        }
        let range = |exponent: f64| {
            let all: Vec<f64> = scales(&mixture, exponent).collect();
            all.iter().copied().fold(0.0, f64::max) / all.iter().copied().fold(f64::INFINITY, f64::min)
        };
        // The scales of all exponents between are between; the last saturation is at up to 1/(1 − p) of them.
        let steps = self.resolution as f64 * range(0.0).max(range(1.0)) * GD_CONSTANTS;
        if steps > MOST_STEPS {
            return Err(context.error(
                &setting("resolution"),
                format!(
                    "{} makes simulations of up to {steps:.1e} steps, more than {MOST_STEPS:.0e}\nhint: lower it, or give priors nearer together",
                    self.resolution
                ),
            ));
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// Under the key `mixture`: `prior` and `limit` by class, and `flip` by depth (group `depth-L`), the exponent at which majority and
    /// minority saturate together. Under `power-P` for each exponent P: `alpha` by class over time on the splits `closed-form` and
    /// `simulation`, and `saturation_time` by class. Under `power-P` for the exponents of the grid: `half_time` by class, the time to
    /// half of the limit, and `time_ratio` by depth, that of the majority over that of the minority; each on both splits.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mixture = Mixture::new(self.mixture.clone())?;
        let c = mixture.components();
        let (majority, minority) = (mixture.majority(), mixture.minority());
        let mut records = Vec::new();
        let base = Record::at_step(0).of("mixture").split("closed-form");
        for (class, (prior, limit)) in mixture.priors().iter().zip(c.limits()).enumerate() {
            let base = base.clone().group(&class.to_string());
            records.push(base.clone().metric("prior").value(*prior));
            records.push(base.metric("limit").value(limit));
        }
        for &depth in &self.depths {
            let flip = power_flip_exponent(&c, (majority, minority), depth)?;
            records.push(base.clone().metric("flip").group(&depth_group(depth)).value(flip));
        }
        for &exponent in &self.exponents {
            self.paths(&mixture, exponent, &mut records)?;
        }
        for (split, count) in [("closed-form", self.grid), ("simulation", self.grid_marks)] {
            for index in 0..=count {
                let exponent = index as f64 / count as f64;
                let base = Record::at_step(0).of(&key(exponent)).split(split);
                for &depth in &self.depths {
                    // Where zero is left at once; a simulation starts at e^(−δ), which delays it the more the nearer p is to that.
                    let reach = if split == "simulation" && depth > 1 { 0.5 } else { 1.0 };
                    if depth > 1 && exponent * (depth as f64 - 1.0) >= reach {
                        continue;
                    }
                    let times = if split == "simulation" {
                        self.simulated_half_times(&mixture, exponent, depth)?
                    } else {
                        half_times(&mixture, exponent, depth)?
                    };
                    if depth == 1 {
                        let base = base.clone().metric("half_time");
                        records.extend(times.iter().enumerate().map(|(c, time)| base.clone().group(&c.to_string()).value(*time)));
                    }
                    let ratio = times[majority] / times[minority];
                    records.push(base.clone().metric("time_ratio").group(&depth_group(depth)).value(ratio));
                }
            }
        }
        Ok(records.into())
    }
}

impl SpectralPower {
    /// The step size: that many steps to the first saturation, on the time scale s_yx^{1−p}/s_xx that p = 1 has too.
    fn step_size(&self, mixture: &Mixture, exponent: f64) -> f64 {
        scales(mixture, exponent).fold(f64::INFINITY, f64::min) / self.resolution as f64
    }

    fn paths(&self, mixture: &Mixture, exponent: f64, records: &mut Vec<Record>) -> Result<(), Error> {
        let saturated = power_saturation_times(&mixture.components(), &Network::LINEAR, exponent)?;
        let horizon = if exponent < 1.0 {
            BEYOND * saturated.iter().copied().fold(0.0, f64::max)
        } else {
            GD_CONSTANTS * scales(mixture, 1.0).fold(0.0, f64::max)
        };
        let eta = self.step_size(mixture, exponent);
        let last = whole(horizon / eta);
        let dense: Vec<f64> = (0..=self.points).map(|i| horizon * i as f64 / self.points as f64).collect();
        let simulated: Vec<f64> = marks(last, self.marks).into_iter().map(|n| n as f64 * eta).collect();
        for (split, times, source) in
            [("closed-form", dense, Source::ClosedForm), ("simulation", simulated, Source::Simulation { eta })]
        {
            for row in follow(mixture, exponent, Network::LINEAR, times, source)? {
                let base = Record::at_step(whole(row.t / eta) as u64).time(row.t).of(&key(exponent)).split(split).metric("alpha");
                records.extend(row.alpha.iter().enumerate().map(|(c, alpha)| base.clone().group(&c.to_string()).value(*alpha)));
            }
        }
        let base = Record::at_step(0).of(&key(exponent)).split("closed-form").metric("saturation_time");
        let finite = saturated.iter().enumerate().filter(|(_, time)| time.is_finite());
        records.extend(finite.map(|(class, time)| base.clone().group(&class.to_string()).value(*time)));
        Ok(())
    }

    /// The times at which simulated matrices come to half of their limits, between steps by interpolation; NaN for what does not.
    fn simulated_half_times(&self, mixture: &Mixture, exponent: f64, depth: usize) -> Result<Vec<f64>, Error> {
        let (eta, horizon, network) = if depth == 1 {
            // Half of the limit comes before ln 2 of the time scale, the time of GD.
            (self.step_size(mixture, exponent), 0.8 * scales(mixture, exponent).fold(0.0, f64::max), Network::LINEAR)
        } else {
            let halves = half_times(mixture, exponent, depth)?;
            let (first, last) =
                (halves.iter().copied().fold(f64::INFINITY, f64::min), halves.iter().copied().fold(0.0, f64::max));
            (first / self.resolution as f64, 1.2 * last, Network::new(depth, Some(self.delta))?)
        };
        let times: Vec<f64> = (0..=whole(horizon / eta)).map(|n| n as f64 * eta).collect();
        let path = follow(mixture, exponent, network, times, Source::Simulation { eta })?;
        let half = |class: usize, limit: f64| {
            let after = path.iter().position(|row| row.alpha[class] >= 0.5 * limit)?;
            let (before, after) = (&path[after.checked_sub(1)?], &path[after]);
            let weight = (0.5 * limit - before.alpha[class]) / (after.alpha[class] - before.alpha[class]);
            Some(before.t + weight * (after.t - before.t))
        };
        let limits = mixture.components().limits();
        Ok(limits.into_iter().enumerate().map(|(class, limit)| half(class, limit).unwrap_or(f64::NAN)).collect())
    }
}

/// s_yx^{1−p}/s_xx by class.
fn scales(mixture: &Mixture, exponent: f64) -> impl Iterator<Item = f64> {
    let c = mixture.components();
    let scales: Vec<f64> = c.s_yx().iter().zip(c.s_xx()).map(|(yx, xx)| yx.powf(1.0 - exponent) / xx).collect();
    scales.into_iter()
}

/// The times to half of the limits in the flow from zero: by bisection on the closed form, which is the same for every depth.
fn half_times(mixture: &Mixture, exponent: f64, depth: usize) -> Result<Vec<f64>, Error> {
    let network = if depth == 1 { Network::LINEAR } else { Network::new(depth, None)? };
    let limits = mixture.components().limits();
    if exponent >= 1.0 {
        return Ok(scales(mixture, 1.0).map(|scale| std::f64::consts::LN_2 * scale).collect());
    }
    let saturated = power_saturation_times(&mixture.components(), &network, exponent)?;
    let mut times = Vec::new();
    for (class, time) in saturated.into_iter().enumerate() {
        let (mut low, mut high) = (0.0, time);
        // Each round halves the bracket: to 2^{−50} of the saturation time.
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if follow(mixture, exponent, network, vec![middle], Source::ClosedForm)?[0].alpha[class] < 0.5 * limits[class] {
                low = middle;
            } else {
                high = middle;
            }
        }
        times.push(high);
    }
    Ok(times)
}

fn follow(
    mixture: &Mixture,
    exponent: f64,
    network: Network,
    times: Vec<f64>,
    source: Source,
) -> Result<Vec<TrajectoryRow>, Error> {
    Ok(trajectory(mixture, &TrajectoryConfig { rule: Rule::Power { exponent }, times, network, source })?)
}

fn key(exponent: f64) -> String {
    format!("power-{exponent}")
}

fn depth_group(depth: usize) -> String {
    format!("depth-{depth}")
}
