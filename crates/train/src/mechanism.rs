//! What a network has learned inside: the components of the data's moment, and the ranks of its weights.

use candle_core::Device;
use isorate_optim::{Role, Spectrum};
use isorate_results::Record;

use crate::Error;
use crate::evaluate::softmax;
use crate::inputs::Inputs;
use crate::learned::LearnedSpectrum;
use crate::network::Network;

/// Training images that the learned spectrum is measured on, at even distances.
const SAMPLE: usize = 2000;

/// The components of the training images, with the rows that they are measured on.
pub(crate) struct Mechanism {
    inputs: Inputs,
    rows: Vec<usize>,
    spectrum: LearnedSpectrum,
}

impl Mechanism {
    /// None for inputs that are not images.
    pub(crate) fn new(inputs: &Inputs) -> Result<Option<Self>, Error> {
        let Inputs::Images { examples, .. } = inputs else { return Ok(None) };
        let count = examples.len().min(SAMPLE);
        let rows: Vec<usize> = (0..count).map(|i| i * examples.len() / count).collect();
        let mut pixels = vec![0.0; rows.len() * examples.dim()];
        examples.read(&rows, &mut pixels)?;
        let labels: Vec<u32> = rows.iter().map(|&row| examples.labels()[row]).collect();
        let spectrum = LearnedSpectrum::new(&pixels, examples.dim(), &labels, examples.classes())?;
        Ok(Some(Self { inputs: inputs.clone(), rows, spectrum }))
    }

    /// Metric `learned_s_yx`: the singular values of the components.
    pub(crate) fn components(&self, base: &Record) -> Vec<Record> {
        let base = base.clone().split("train").metric("learned_s_yx");
        self.spectrum.s_yx().iter().enumerate().map(|(c, &s)| base.clone().group(&c.to_string()).value(s)).collect()
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
        let base = base.clone().split("train").metric("learned");
        let learned = self.spectrum.learned(&probabilities);
        Ok(learned.iter().enumerate().map(|(c, &share)| base.clone().group(&c.to_string()).value(share)).collect())
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
