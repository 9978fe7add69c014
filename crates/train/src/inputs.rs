//! What a network is given, batch by batch.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use isorate_data::{EncodedPairs, Examples, Normalization, TokenWindows};

use crate::Error;

/// The rows of a set, from which batches are made.
#[derive(Clone)]
pub(crate) enum Inputs {
    /// Images with one label each; `normalization` is applied to values in [0, 1].
    Images { examples: Arc<dyn Examples + Send + Sync>, normalization: Option<Normalization> },
    /// Windows of tokens: a target for each place. `rows` are those of the windows that take part.
    Windows { windows: Arc<TokenWindows>, rows: Arc<[usize]> },
    /// Pairs of sentences with one label each.
    Pairs { pairs: Arc<EncodedPairs>, labels: Arc<[u32]> },
}

impl Inputs {
    pub(crate) fn images(examples: impl Examples + Send + 'static) -> Self {
        Self::Images { examples: Arc::new(examples), normalization: None }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Images { examples, .. } => examples.len(),
            Self::Windows { rows, .. } => rows.len(),
            Self::Pairs { labels, .. } => labels.len(),
        }
    }

    /// Rows that are measured at once: some megabytes of activations or logits.
    pub(crate) fn measured_at_once(&self) -> usize {
        match self {
            Self::Images { examples, .. } => (400_000 / examples.dim()).clamp(16, 500),
            Self::Windows { .. } => 16,
            Self::Pairs { .. } => 32,
        }
    }

    /// The inputs and the targets of some rows: images \[n, channels, height, width\] and classes \[n\]; token ids \[n, context\] and the
    /// next ones \[n, context\]; ids, types and mask \[n, 3, length\] and classes \[n\].
    pub(crate) fn batch(&self, rows: &[usize], device: &Device) -> Result<(Tensor, Tensor), Error> {
        match self {
            Self::Images { examples, normalization } => {
                let mut pixels = vec![0.0; rows.len() * examples.dim()];
                examples.read(rows, &mut pixels)?;
                let [channels, height, width] = examples.shape();
                if let Some(normalization) = normalization {
                    normalization.apply(height * width, &mut pixels);
                }
                let labels: Vec<u32> = rows.iter().map(|&row| examples.labels()[row]).collect();
                let images = Tensor::from_vec(pixels, (rows.len(), channels, height, width), device)?;
                Ok((images, Tensor::from_vec(labels, rows.len(), device)?))
            }
            Self::Windows { windows, rows: chosen } => {
                let of: Vec<usize> = rows.iter().map(|&row| chosen[row]).collect();
                let size = of.len() * windows.context();
                let (mut inputs, mut targets) = (vec![0; size], vec![0; size]);
                windows.read(&of, &mut inputs, &mut targets)?;
                let shape = (of.len(), windows.context());
                Ok((Tensor::from_vec(inputs, shape, device)?, Tensor::from_vec(targets, shape, device)?))
            }
            Self::Pairs { pairs, labels } => {
                let length = pairs.length;
                let mut values = Vec::with_capacity(rows.len() * 3 * length);
                for &row in rows {
                    for part in [&pairs.ids, &pairs.type_ids, &pairs.attention_mask] {
                        values.extend_from_slice(&part[row * length..][..length]);
                    }
                }
                let targets: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
                let inputs = Tensor::from_vec(values, (rows.len(), 3, length), device)?;
                Ok((inputs, Tensor::from_vec(targets, rows.len(), device)?))
            }
        }
    }
}
