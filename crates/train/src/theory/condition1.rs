//! How far the trajectories move for a given residual of Condition 1, and the residual of real data.

use isorate_data::{
    Centering, ColorLaw, ImageSources, Images, LabelledFeatures, Moments, Sampling, Split, colorize, draw, stream,
};
use isorate_results::Record;
use isorate_theory::{MatrixMoments, Mixture, MixtureConfig, Rule, movement, perturbed};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture};
use crate::Error;
use crate::runner::single_threaded;
use crate::spec::Context;

const RULES: [(&str, Rule); 3] = [("gd", Rule::Gd), ("ngd", Rule::Ngd), ("specgd", Rule::SpecGd)];

/// The fewest steps of a movement.
const FEWEST_STEPS: usize = 20;

/// The sides of the images, for their number of pixels.
const PIXELS: usize = 28 * 28;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition1 {
    /// Where the components come from.
    mixture: MixtureConfig,
    /// ‖B‖_F/‖S_xx‖_F, ascending.
    residuals: Vec<f64>,
    /// The share of equal colours in the classes of Colored-MNIST.
    correlation: f64,
    /// Random B for each residual.
    draws: usize,
    /// Steps of the simulations from 0 to min a_c*.
    steps: usize,
    /// Training images of MNIST, and of Colored-MNIST; none for 0.
    mnist: usize,
    colored_mnist: usize,
}

impl TheoryRun for Condition1 {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let mixture = check_mixture(&self.mixture, context)?;
        if self.residuals.is_empty() {
            return Err(context.error("residuals", "[] must have at least one"));
        }
        for &residual in &self.residuals {
            context.positive("residuals", residual)?;
        }
        if !(0.0..=1.0).contains(&self.correlation) {
            return Err(context.error("correlation", format!("{} must be from 0 to 1", self.correlation)));
        }
        context.at_least_one(&format!("{scale}.draws"), self.draws)?;
        if self.steps < FEWEST_STEPS {
            return Err(context.error(&format!("{scale}.steps"), format!("{} must be at least {FEWEST_STEPS}", self.steps)));
        }
        for (name, count) in [("mnist", self.mnist), ("colored_mnist", self.colored_mnist)] {
            // A stratified draw needs an image of each class.
            if count != 0 && !(10..=12_000).contains(&count) {
                return Err(context.error(&format!("{scale}.{name}"), format!("{count} must be 0, or from 10 to 12000")));
            }
        }
        for &residual in &self.residuals {
            for draw in 0..self.draws {
                perturbed(&mixture, residual, draw)
                    .map_err(|error| context.error("residuals", format!("{residual}: {error}\nhint: choose smaller ones")))?;
            }
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    fn image_sets(&self) -> Vec<&str> {
        if self.mnist + self.colored_mnist > 0 { vec!["mnist"] } else { Vec::new() }
    }

    /// Under the keys `gd`, `ngd` and `specgd`, largest over (0, min a_c*] and relative to what is learned by then:
    /// `movement` of W and `component_movement` of α, both on the split `simulation`, and on `first-order` `movement` and
    /// `largest_movement`, that of the worst residual of the same size. The step counts the residuals, which stand under the key
    /// `moments` as `residual`; groups are the draws, `0`, `1`, ….
    ///
    /// The same of real data at step 0 under the group `mnist`, whose `moments` also have `span` and `leakage` (the two parts of
    /// ‖B‖_F, relative to ‖S_xx‖_F), and `angle` of each component (groups `mnist-0`, …) to its eigenvector; the group
    /// `colored-mnist` has its `residual`.
    fn execute(&self, images: &ImageSources) -> Result<Findings, Error> {
        single_threaded(|| {
            let mixture = Mixture::new(self.mixture.clone())?;
            let mut records = Vec::new();
            for (step, &residual) in self.residuals.iter().enumerate() {
                records.push(Record::at_step(step as u64).of("moments").metric("residual").value(residual));
                for draw in 0..self.draws {
                    let moments = perturbed(&mixture, residual, draw)?;
                    records.extend(self.movements(&moments, mixture.horizon(), step, &draw.to_string())?);
                }
            }
            let mut findings = Findings::from(records);
            for source in images.iter() {
                let images = source.load(Split::Train)?;
                if self.mnist > 0 {
                    findings.records.extend(self.real(&images, &mut findings.notes)?);
                }
                if self.colored_mnist > 0 {
                    findings.records.push(self.colored(&images)?);
                }
                findings.notes.extend(source.checksums_of(Split::Train));
            }
            Ok(findings)
        })
    }
}

impl Condition1 {
    fn movements(&self, moments: &MatrixMoments, horizon: f64, step: usize, group: &str) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for (name, rule) in RULES {
            let found = movement(moments, rule, horizon, self.steps)?;
            let base = Record::at_step(step as u64).of(name).group(group);
            for (split, metric, value) in [
                ("simulation", "movement", found.weights),
                ("simulation", "component_movement", found.components),
                ("first-order", "movement", found.first_order),
                ("first-order", "largest_movement", found.largest_first_order),
            ] {
                records.push(base.clone().split(split).metric(metric).value(value));
            }
        }
        Ok(records)
    }

    fn real(&self, images: &Images, notes: &mut std::collections::BTreeMap<String, String>) -> Result<Vec<Record>, Error> {
        let chosen =
            draw(images.labels(), images.classes(), self.mnist, Sampling::Stratified, &mut stream(self.seed(), "train", 0))?;
        let images = images.select(&chosen)?;
        let moments =
            Moments::new(&LabelledFeatures::new(images.pixels(), PIXELS, images.labels(), images.classes())?, Centering::Raw)?;
        let moments = MatrixMoments::given(moments.sigma_yx(), moments.sigma_xx().to_owned())?;
        let found = moments.condition1()?;
        // ‖B‖ = absolute and ‖S_xx‖ = absolute/relative.
        let scale = found.absolute / found.relative;
        let base = Record::at_step(0).of("moments").group("mnist");
        let mut records: Vec<Record> =
            [("residual", found.relative), ("span", found.span / scale), ("leakage", found.leakage / scale)]
                .map(|(metric, value)| base.clone().metric(metric).value(value))
                .into();
        for (c, matched) in found.matched.iter().enumerate() {
            records.push(base.clone().group(&format!("mnist-{c}")).metric("angle").value(matched.angle));
        }
        let horizon = moments.components().limits().into_iter().fold(f64::INFINITY, f64::min);
        records.extend(self.movements(&moments, horizon, 0, "mnist")?);
        notes.insert("mnist/horizon".into(), horizon.to_string());
        Ok(records)
    }

    fn colored(&self, images: &Images) -> Result<Record, Error> {
        let chosen = draw(
            images.labels(),
            images.classes(),
            self.colored_mnist,
            Sampling::Stratified,
            &mut stream(self.seed(), "train", 0),
        )?;
        let images = colorize(&images.select(&chosen)?, &ColorLaw::correlated(self.correlation), self.seed(), "train")?;
        let features = LabelledFeatures::new(images.pixels(), images.dim(), images.labels(), images.classes())?;
        let residual = Moments::new(&features, Centering::Raw)?.residual();
        Ok(Record::at_step(0).of("moments").group("colored-mnist").metric("residual").value(residual))
    }
}
