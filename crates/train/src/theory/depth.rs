//! Deep linear models: growth of the components, saturation times, and the error of the idealization.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    Mixture, MixtureConfig, Network, Rule, Simulation, Source, Start, TrajectoryConfig, alternation, delta_deviation,
    euler_error, growth_times, specgd_deviation, trajectory,
};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, marks, whole};
use crate::Error;
use crate::spec::Context;

const RULES: [(&str, Rule); 2] = [("specgd", Rule::SpecGd), ("gd", Rule::Gd)];
/// δ at which a simulation stands for the limit δ → ∞: the layers start at 6e-6.
const VANISHING: f64 = 12.0;
/// δ of the deep network whose steps of GD are compared with the flow.
const EULER_DELTA: f64 = 2.0;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Depth {
    mixture: MixtureConfig,
    /// A mixture whose limits a_c* are above 1.
    short_mixture: MixtureConfig,
    /// The numbers of layers L = 1, …, `depths` that are simulated.
    depths: usize,
    /// The numbers of layers up to which the formulas are evaluated.
    predicted_depths: usize,
    /// δ of the networks with two and more layers; one layer starts at 0.
    delta: f64,
    /// The share of its limit at which a component counts as learned.
    fraction: f64,
    /// L of the measurements of the idealization's error.
    error_layers: usize,
    /// δ of these measurements, with steps η = e^(−δ)/20.
    error_deltas: Vec<f64>,
    /// η of these measurements, with δ = 12 for SpecGD and δ = 2 for GD.
    error_etas: Vec<f64>,
    /// Draws of Gaussian layers for each.
    draws: u64,
    /// Steps of the simulations of SpecGD and of GD.
    spec_steps: usize,
    gd_steps: usize,
    /// Times of the formulas, evenly spaced.
    points: usize,
    /// Times of the simulations, evenly spaced.
    marks: usize,
}

impl TheoryRun for Depth {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let mixture = check_mixture(&self.mixture, context)?;
        Mixture::new(self.short_mixture.clone()).map_err(|error| context.error("short_mixture", error.to_string()))?;
        for (name, depth) in
            [("depths", self.depths), ("predicted_depths", self.predicted_depths), ("error_layers", self.error_layers)]
        {
            Network::new(depth, None).map_err(|error| context.error(name, error.to_string()))?;
        }
        let network = Network::new(self.depths, Some(self.delta)).map_err(|error| context.error("delta", error.to_string()))?;
        if self.depths > 1 && mixture.saturation_times(&network).contains(&0.0) {
            return Err(context
                .error("delta", format!("{} starts a component at or above its limit\nhint: choose a larger one", self.delta)));
        }
        if !(self.fraction > 0.0 && self.fraction < 1.0) {
            return Err(context.error("fraction", format!("{} must be between 0 and 1", self.fraction)));
        }
        for (name, values) in [("error_deltas", &self.error_deltas), ("error_etas", &self.error_etas)] {
            if values.is_empty() {
                return Err(context.error(&format!("{scale}.{name}"), "[] must have at least one value"));
            }
            for value in values {
                context.positive(&format!("{scale}.{name}"), *value)?;
            }
        }
        let draws = usize::try_from(self.draws).unwrap_or(usize::MAX);
        for (name, size) in [
            ("draws", draws),
            ("spec_steps", self.spec_steps),
            ("gd_steps", self.gd_steps),
            ("points", self.points),
            ("marks", self.marks),
        ] {
            context.at_least_one(&format!("{scale}.{name}"), size)?;
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// Under the key `mixture`: `prior` and `limit` by component.
    ///
    /// For the rules `specgd` and `gd`, on the splits `closed-form` and `simulation`; groups have parts as `L2/c0` (layers, component):
    ///
    /// - `alpha` over time, from e^(−δ); `unit`, group `L2`: the time at which the majority component is learned;
    /// - `saturation` (`specgd`), in the limit δ → ∞, groups `L2/c0` and, for the mixture with short means, `short/L2/c0`;
    /// - `spread`, group `L2`: later over earlier time of the majority and the minority component less 1, in the limit for `specgd`, from
    ///   e^(−δ) for `gd`, for which `spread_limit` has its limit for L ≥ 2;
    /// - `deviation`, groups `aligned/delta=4`, `gaussian/delta=4/draw=0`, `aligned/eta=0.01`, `gaussian/eta=0.01/draw=0`: the largest
    ///   distance from the idealized flow; on `closed-form` what the theory says of the aligned one.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mixture = Mixture::new(self.mixture.clone())?;
        let short = Mixture::new(self.short_mixture.clone())?;
        let mut records = Vec::new();
        for (c, (prior, limit)) in mixture.priors().iter().zip(mixture.components().limits()).enumerate() {
            let base = Record::at_step(0).of("mixture").split("closed-form").group(&c.to_string());
            records.push(base.clone().metric("prior").value(*prior));
            records.push(base.metric("limit").value(limit));
        }
        for depth in 1..=self.depths {
            for (name, rule) in RULES {
                records.extend(self.growth(&mixture, name, rule, depth)?);
            }
        }
        records.extend(self.saturation(&mixture, "")?);
        records.extend(self.saturation(&short, "short/")?);
        records.extend(self.spreads(&mixture)?);
        records.extend(self.delta_errors(&mixture)?);
        records.extend(self.eta_errors(&mixture)?);
        Ok(records.into())
    }
}

impl Depth {
    fn network(&self, depth: usize) -> Result<Network, Error> {
        Ok(if depth == 1 { Network::LINEAR } else { Network::new(depth, Some(self.delta))? })
    }

    fn growth(&self, mixture: &Mixture, name: &str, rule: Rule, depth: usize) -> Result<Vec<Record>, Error> {
        let network = self.network(depth)?;
        let times = growth_times(&mixture.components(), &network, rule, self.fraction)?;
        let unit = times[mixture.majority()];
        let horizon = 1.3 * times.iter().copied().fold(0.0, f64::max);
        let steps = if rule == Rule::Gd { self.gd_steps } else { self.spec_steps };
        let eta = horizon / steps as f64;
        let dense = (0..self.points).map(|i| horizon * i as f64 / (self.points - 1).max(1) as f64).collect();
        let simulated = marks(steps, self.marks).into_iter().map(|n| n as f64 * eta).collect();
        let unit = Record::at_step(0).of(name).split("closed-form").metric("unit").group(&format!("L{depth}")).value(unit);
        let mut records = vec![unit];
        for (split, times, source) in
            [("closed-form", dense, Source::ClosedForm), ("simulation", simulated, Source::Simulation { eta })]
        {
            for row in trajectory(mixture, &TrajectoryConfig { rule, times, network, source })? {
                let base = Record::at_step(whole(row.t / eta) as u64).time(row.t).of(name).split(split).metric("alpha");
                let values = row.alpha.iter().enumerate();
                records.extend(values.map(|(c, alpha)| base.clone().group(&format!("L{depth}/c{c}")).value(*alpha)));
            }
        }
        Ok(records)
    }

    fn saturation(&self, mixture: &Mixture, prefix: &str) -> Result<Vec<Record>, Error> {
        let base = |split: &str| Record::at_step(0).of("specgd").split(split).metric("saturation");
        let mut records = Vec::new();
        for depth in 1..=self.predicted_depths {
            for (c, time) in mixture.saturation_times(&Network::new(depth, None)?).into_iter().enumerate() {
                records.push(base("closed-form").group(&format!("{prefix}L{depth}/c{c}")).value(time));
            }
        }
        for depth in 1..=self.depths {
            for (c, time) in self.simulated_saturation(mixture, depth)?.into_iter().enumerate() {
                records.push(base("simulation").group(&format!("{prefix}L{depth}/c{c}")).value(time));
            }
        }
        Ok(records)
    }

    fn simulated_saturation(&self, mixture: &Mixture, depth: usize) -> Result<Vec<f64>, Error> {
        let network = Network::new(depth, (depth > 1).then_some(VANISHING))?;
        let last = mixture.saturation_times(&network).into_iter().fold(0.0, f64::max);
        crossings(mixture, &network, Rule::SpecGd, last / (self.spec_steps as f64 - 0.5), 1.0 - 1e-9, 1.1 * last)
    }

    fn spreads(&self, mixture: &Mixture) -> Result<Vec<Record>, Error> {
        let base = |rule: &str, split: &str, depth: usize| {
            Record::at_step(0).of(rule).split(split).metric("spread").group(&format!("L{depth}"))
        };
        let (minority, majority) = (mixture.minority(), mixture.majority());
        let mut records = Vec::new();
        for depth in 1..=self.predicted_depths {
            let spread = mixture.saturation_spread(&Network::new(depth, None)?);
            records.push(base("specgd", "closed-form", depth).value(spread));
            let times = growth_times(&mixture.components(), &self.network(depth)?, Rule::Gd, self.fraction)?;
            records.push(base("gd", "closed-form", depth).value(times[minority] / times[majority] - 1.0));
            if depth > 1 {
                let limit = mixture.priors()[majority] / mixture.priors()[minority] - 1.0;
                records.push(base("gd", "closed-form", depth).metric("spread_limit").value(limit));
            }
        }
        for depth in 1..=self.depths {
            let times = self.simulated_saturation(mixture, depth)?;
            records.push(base("specgd", "simulation", depth).value(times[majority] / times[minority] - 1.0));
            let network = self.network(depth)?;
            let last = growth_times(&mixture.components(), &network, Rule::Gd, self.fraction)?.into_iter().fold(0.0, f64::max);
            let times = crossings(mixture, &network, Rule::Gd, last / self.gd_steps as f64, self.fraction, 1.3 * last)?;
            records.push(base("gd", "simulation", depth).value(times[minority] / times[majority] - 1.0));
        }
        Ok(records)
    }

    fn delta_errors(&self, mixture: &Mixture) -> Result<Vec<Record>, Error> {
        let base = |split: &str, group: &str| Record::at_step(0).of("specgd").split(split).metric("deviation").group(group);
        let moments = mixture.matrix_moments()?;
        let mut records = Vec::new();
        for &delta in &self.error_deltas {
            let network = Network::new(self.error_layers, Some(delta))?;
            let eta = (-delta).exp() / 20.0;
            let predicted = delta_deviation(&mixture.components(), &network).into_iter().fold(0.0, f64::max);
            records.push(base("closed-form", &format!("aligned/delta={delta}")).value(predicted));
            let aligned = specgd_deviation(&moments, &network, Start::Aligned, eta, mixture.seed())?;
            records.push(base("simulation", &format!("aligned/delta={delta}")).value(aligned.alpha.max(aligned.off_diagonal)));
            for draw in 0..self.draws {
                let seed = mixture.seed().wrapping_add(draw);
                let found = specgd_deviation(&moments, &network, Start::Gaussian, eta, seed)?;
                let group = format!("gaussian/delta={delta}/draw={draw}");
                records.push(base("simulation", &group).value(found.alpha.max(found.off_diagonal)));
            }
        }
        Ok(records)
    }

    fn eta_errors(&self, mixture: &Mixture) -> Result<Vec<Record>, Error> {
        let base =
            |rule: &str, split: &str, group: &str| Record::at_step(0).of(rule).split(split).metric("deviation").group(group);
        let (moments, components) = (mixture.matrix_moments()?, mixture.components());
        let network = Network::new(self.error_layers, Some(VANISHING))?;
        let slow = Network::new(self.error_layers, Some(EULER_DELTA))?;
        let horizon = growth_times(&components, &slow, Rule::Gd, 0.99)?.into_iter().fold(0.0, f64::max);
        let mut records = Vec::new();
        for &eta in &self.error_etas {
            let group = format!("aligned/eta={eta}");
            let ends = alternation(&components, &network, eta)?;
            let predicted =
                ends.iter().zip(components.limits()).map(|((low, high), a)| (high - a).max(a - low)).fold(0.0, f64::max);
            records.push(base("specgd", "closed-form", &group).value(predicted));
            let aligned = specgd_deviation(&moments, &network, Start::Aligned, eta, mixture.seed())?;
            records.push(base("specgd", "simulation", &group).value(aligned.alpha));
            for draw in 0..self.draws {
                let found = specgd_deviation(&moments, &network, Start::Gaussian, eta, mixture.seed().wrapping_add(draw))?;
                let group = format!("gaussian/eta={eta}/draw={draw}");
                records.push(base("specgd", "simulation", &group).value(found.alpha.max(found.off_diagonal)));
            }
            let steps = whole(horizon / eta);
            let times: Vec<f64> = marks(steps, self.points).into_iter().map(|n| n as f64 * eta).collect();
            let first_order = euler_error(&components, &slow, &times)?;
            let predicted = first_order.iter().flatten().fold(0.0_f64, |largest, e| largest.max(e.abs())) * eta;
            records.push(base("gd", "closed-form", &group).value(predicted));
            let follow =
                |source| trajectory(mixture, &TrajectoryConfig { rule: Rule::Gd, times: times.clone(), network: slow, source });
            let (flow, walked) = (follow(Source::ClosedForm)?, follow(Source::Simulation { eta })?);
            let pairs = flow.iter().zip(&walked).flat_map(|(flow, walked)| flow.alpha.iter().zip(&walked.alpha));
            records.push(base("gd", "simulation", &group).value(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)));
        }
        Ok(records)
    }
}

/// The times at which simulated components first reach `fraction` of their limits, infinite after `end`; between two steps by interpolation of
/// a layer's value.
fn crossings(mixture: &Mixture, network: &Network, rule: Rule, eta: f64, fraction: f64, end: f64) -> Result<Vec<f64>, Error> {
    let root = 1.0 / network.depth() as f64;
    let wanted: Vec<f64> = mixture.components().limits().into_iter().map(|limit| (fraction * limit).powf(root)).collect();
    let moments = mixture.matrix_moments()?;
    let mut simulation = Simulation::new(&moments, network, rule, eta, mixture.seed())?;
    let layers =
        |simulation: &Simulation| -> Vec<f64> { simulation.alpha().into_iter().map(|a| a.max(0.0).powf(root)).collect() };
    let mut found = vec![f64::INFINITY; wanted.len()];
    let mut before = layers(&simulation);
    while simulation.step() as f64 * eta < end && found.iter().any(|time| time.is_infinite()) {
        simulation.advance()?;
        let now = layers(&simulation);
        for (c, time) in found.iter_mut().enumerate() {
            if time.is_infinite() && now[c] >= wanted[c] {
                *time = eta * (simulation.step() as f64 - (now[c] - wanted[c]) / (now[c] - before[c]));
            }
        }
        before = now;
    }
    Ok(found)
}
