//! Shampoo with accumulated statistics beside GD and `SpecGD`.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    Accumulation, Mixture, MixtureConfig, Network, Rule, Shampoo, Simulation, Source, TrajectoryConfig, shampoo_average,
    shampoo_sum, trajectory,
};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, marks, whole};
use crate::Error;
use crate::spec::Context;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShampooTrajectories {
    mixture: MixtureConfig,
    /// β₂ of the average, which has bias correction.
    decay: f64,
    /// The last time.
    horizon: f64,
    /// Step size η of the simulation.
    step_size: f64,
    /// Times of the closed form, evenly spaced.
    points: usize,
    /// Times of the simulation, evenly spaced.
    marks: usize,
}

impl TheoryRun for ShampooTrajectories {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        check_mixture(&self.mixture, context)?;
        let setting = |name: &str| format!("{scale}.{name}");
        Shampoo::average(self.decay).check().map_err(|error| context.error("decay", error.to_string()))?;
        if self.decay == 0.0 {
            return Err(context.error("decay", "0 has no memory: that is SpecGD, which is shown beside it"));
        }
        context.positive("horizon", self.horizon)?;
        context.positive(&setting("step_size"), self.step_size)?;
        if self.step_size > self.horizon {
            return Err(
                context.error(&setting("step_size"), format!("{} must be at most the horizon, {}", self.step_size, self.horizon))
            );
        }
        context.at_least_one(&setting("points"), self.points)?;
        context.at_least_one(&setting("marks"), self.marks)
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// `alpha` by component for `gd`, `specgd`, `shampoo-average` and `shampoo-sum`, on the splits `closed-form` and `simulation`. The time is
    /// η · step, but for `shampoo-sum` 2 η √step. Under the key `mixture`: `prior` and `limit` by component.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mixture = Mixture::new(self.mixture.clone())?;
        let (c, eta) = (mixture.components(), self.step_size);
        let mut records = Vec::new();
        for (index, (prior, limit)) in mixture.priors().iter().zip(c.limits()).enumerate() {
            let base = Record::at_step(0).of("mixture").split("closed-form").group(&index.to_string());
            records.push(base.clone().metric("prior").value(*prior));
            records.push(base.metric("limit").value(limit));
        }
        let dense: Vec<f64> = (0..self.points).map(|i| self.horizon * i as f64 / (self.points - 1).max(1) as f64).collect();
        let steps = marks(whole(self.horizon / eta * (1.0 + 1e-12) - 0.5), self.marks);
        let clocks: Vec<f64> = dense.iter().map(|clock| 0.25 * clock * clock).collect();
        let plain = |rule| -> Result<Vec<Vec<f64>>, Error> {
            let config = TrajectoryConfig { rule, times: dense.clone(), network: Network::LINEAR, source: Source::ClosedForm };
            Ok(trajectory(&mixture, &config)?.into_iter().map(|row| row.alpha).collect())
        };
        let average = Accumulation::Average { decay: self.decay, bias_correction: true };
        // The clock θ of the sum is at a mark t after (t/(2η))² steps.
        let squares = steps.iter().map(|&n| whole(0.25 * (n as f64).powi(2))).collect();
        let all = [
            ("gd", Rule::Gd, plain(Rule::Gd)?, steps.clone()),
            ("specgd", Rule::SpecGd, plain(Rule::SpecGd)?, steps.clone()),
            (
                "shampoo-average",
                Rule::Shampoo(Shampoo { accumulation: average, ..Shampoo::SUM }),
                shampoo_average(&c, (1.0 - self.decay) / eta, true, &dense)?,
                steps,
            ),
            ("shampoo-sum", Rule::Shampoo(Shampoo::SUM), shampoo_sum(&c, 0.0, &clocks)?, squares),
        ];
        let moments = mixture.matrix_moments()?;
        for (name, rule, theory, steps) in all {
            let base = |split: &str| Record::at_step(0).of(name).split(split).metric("alpha");
            for (time, row) in dense.iter().zip(theory) {
                records
                    .extend(row.iter().enumerate().map(|(c, a)| base("closed-form").time(*time).group(&c.to_string()).value(*a)));
            }
            let mut simulation = Simulation::new(&moments, &Network::LINEAR, rule, eta, mixture.seed())?;
            for step in steps {
                while simulation.step() < step {
                    simulation.advance()?;
                }
                let time = if name == "shampoo-sum" { 2.0 * eta * (step as f64).sqrt() } else { eta * step as f64 };
                for (c, alpha) in simulation.alpha().into_iter().enumerate() {
                    let record = Record { step: step as u64, ..base("simulation") };
                    records.push(record.time(time).group(&c.to_string()).value(alpha));
                }
            }
        }
        Ok(records.into())
    }
}
