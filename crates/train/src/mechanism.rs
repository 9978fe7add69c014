//! What a network has learned inside: the components of the data's moment, and the ranks of its weights.

use candle_core::Device;
use isorate_optim::{Role, Spectrum};
use isorate_results::Record;

use crate::Error;
use crate::evaluate::softmax;
use crate::inputs::Inputs;
use crate::learned::LearnedSpectrum;
use crate::network::Network;
use crate::sets::Sets;

/// Images that the learned spectrum is measured on at most, at even distances.
const SAMPLE: usize = 2000;

/// Components of images, with the rows that they are measured on.
pub(crate) struct Mechanism {
    inputs: Inputs,
    rows: Vec<usize>,
    split: &'static str,
    /// What each is called, and its directions: those of the classes, or of class and attribute.
    spectra: Vec<(Name, LearnedSpectrum)>,
}

/// How the components of a spectrum are called.
#[derive(Clone, Copy)]
enum Name {
    /// By their numbers.
    Number,
    /// It has one component, which has a name.
    Only(&'static str),
}

impl Mechanism {
    /// What there is to measure in networks that are trained on `sets`; none where inputs are not images.
    ///
    /// Commonly the components of the training images' cross-moment with their classes, on the split `train`. Where a class and a
    /// spurious attribute agree in almost every training image their components cannot be told apart there: with group-balanced
    /// images at hand (`sets.decode`), the one component of two classes, `core`, and the one of two attributes, `spurious`, are
    /// taken and measured on those, split `balanced`. Predictions that follow the attribute have learned 1 of `spurious` and, as the
    /// two are independent there, 0 of `core` but for the finite number of images.
    pub(crate) fn new(sets: &Sets) -> Result<Option<Self>, Error> {
        let (inputs, split) = match &sets.decode {
            Some(balanced) => (balanced, "balanced"),
            None => (&sets.train, "train"),
        };
        let Inputs::Images { examples, .. } = inputs else { return Ok(None) };
        let count = examples.len().min(SAMPLE);
        let rows: Vec<usize> = (0..count).map(|i| i * examples.len() / count).collect();
        let mut pixels = vec![0.0; rows.len() * examples.dim()];
        examples.read(&rows, &mut pixels)?;
        let of = |labels: &[u32], classes| -> Result<LearnedSpectrum, Error> {
            let labels: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
            LearnedSpectrum::new(&pixels, examples.dim(), &labels, classes)
        };
        let spectra = match examples.groups().filter(|_| sets.decode.is_some()) {
            Some(groups) => vec![
                (Name::Only("spurious"), of(groups.attributes(), groups.attribute_names().len())?),
                (Name::Only("core"), of(groups.labels(), groups.class_names().len())?),
            ],
            None => vec![(Name::Number, of(examples.labels(), examples.classes())?)],
        };
        Ok(Some(Self { inputs: inputs.clone(), rows, split, spectra }))
    }

    /// Metric `learned_s_yx`: the singular values of the components.
    pub(crate) fn components(&self, base: &Record) -> Vec<Record> {
        self.records(base, "learned_s_yx", |spectrum| spectrum.s_yx().to_vec())
    }

    /// Metric `learned`: the share of each component that the network has learned, see [`LearnedSpectrum`].
    pub(crate) fn measure(&self, network: &Network, device: &Device, base: &Record) -> Result<Vec<Record>, Error> {
        let mut probabilities = Vec::new();
        for rows in self.rows.chunks(self.inputs.measured_at_once()) {
            let (images, _) = self.inputs.batch(rows, device)?;
            for mut row in network.logits(&images)?.to_vec2::<f32>()? {
                softmax(&mut row);
                probabilities.append(&mut row);
            }
        }
        Ok(self.records(base, "learned", |spectrum| spectrum.learned(&probabilities)))
    }

    fn records(&self, base: &Record, metric: &str, values: impl Fn(&LearnedSpectrum) -> Vec<f64>) -> Vec<Record> {
        let base = base.clone().split(self.split).metric(metric);
        let of = |(name, spectrum): &(Name, LearnedSpectrum)| -> Vec<Record> {
            let group = |c: usize| match name {
                Name::Number => c.to_string(),
                Name::Only(name) => (*name).to_owned(),
            };
            values(spectrum).into_iter().enumerate().map(|(c, value)| base.clone().group(&group(c)).value(value)).collect()
        };
        self.spectra.iter().flat_map(of).collect()
    }
}

/// Metric `stable_rank`, ‖W‖_F²/‖W‖₂²: of the `head`, and the mean over the other matrices and filters, `hidden`. Nothing for a
/// matrix that is not finite.
pub(crate) fn stable_ranks(network: &Network, base: &Record) -> Result<Vec<Record>, Error> {
    let base = base.clone().split("train").metric("stable_rank");
    let (mut hidden, mut records) = (Vec::new(), Vec::new());
    for parameter in network.parameters() {
        if !matches!(parameter.role, Role::Head | Role::Matrix) {
            continue;
        }
        let rank = match Spectrum::of(parameter.var.as_tensor(), Some(1)) {
            Ok(spectrum) => spectrum.stable_rank,
            Err(isorate_optim::Error::NonFiniteMatrix) => continue,
            Err(error) => return Err(error.into()),
        };
        match parameter.role {
            Role::Head => records.push(base.clone().group("head").value(rank)),
            Role::Matrix => hidden.push(rank),
            Role::Embedding | Role::Vector => {}
        }
    }
    if !hidden.is_empty() {
        records.push(base.group("hidden").value(hidden.iter().sum::<f64>() / hidden.len() as f64));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use isorate_data::Origin;

    use super::*;
    use crate::sets::DataRun;

    /// Predictions that follow the digit have learned all of the spurious component and, but for the finite number of images, nothing of
    /// the core; those that follow the article the other way round.
    #[test]
    fn class_and_attribute_are_told_apart_on_balanced_images() {
        let spec = "set = 'dominoes'\nbottom = 'fashion-mnist'\narticles = 'shirts'\ncorrelation = 0.95\nvalidation_per_group = 10\n\
                    decode_per_group = 100";
        let sets = DataRun::new(&toml::from_str(spec).unwrap(), &Origin::Embedded, 0).unwrap().build().unwrap();
        let mechanism = Mechanism::new(&sets).unwrap().unwrap();
        let Some(Inputs::Images { examples, .. }) = &sets.decode else { panic!("dominoes are images") };
        let groups = examples.groups().unwrap();
        for (labels, expected) in [(groups.attributes(), [1.0, 0.0]), (groups.labels(), [0.0, 1.0])] {
            let follows: Vec<f32> = labels.iter().flat_map(|&label| [f32::from(label == 0), f32::from(label == 1)]).collect();
            let records = mechanism.records(&Record::at_step(0), "learned", |spectrum| spectrum.learned(&follows));
            for (name, expected) in ["spurious", "core"].into_iter().zip(expected) {
                let record = records.iter().find(|record| record.group == name).unwrap();
                assert_eq!(record.split, "balanced");
                assert!((record.value - expected).abs() < 0.25, "{name}: {} for {expected}", record.value);
                assert!(expected < 0.5 || (record.value - 1.0).abs() < 1e-6, "{name}: {}", record.value);
            }
        }
    }
}
