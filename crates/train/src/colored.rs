//! Colored-MNIST with the sizes and the seed of one run: the splits, and the same on a device.

use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use isorate_data::{
    ColorLaw, ColoredImages, ImageSource, Images, LFF_JITTER_STD, Sampling, Split, colorize, draw, hold_out, stream,
};
use serde_json::{Value, json};

use crate::Error;
use crate::evaluate::EvaluationSet;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColoredMnistRun {
    pub(crate) digits: ImageSource,
    pub(crate) correlation: f64,
    pub(crate) train: usize,
    pub(crate) validation: usize,
    pub(crate) test: usize,
    pub(crate) seed: u64,
}

/// The three coloured sets of a run.
pub(crate) struct ColoredSets {
    /// Coloured with the correlation.
    pub(crate) train: ColoredImages,
    /// Other training images, coloured like the test set.
    pub(crate) validation: ColoredImages,
    /// Test images, colours uniform and independent of the digit.
    pub(crate) test: ColoredImages,
}

impl ColoredMnistRun {
    /// Everything that the images depend on but the seed, which the run's identity holds.
    pub(crate) fn spec(&self) -> Value {
        json!({
            "name": "colored-mnist",
            "source": self.digits.label(),
            "checksum": self.digits.checksums(),
            "correlation": self.correlation,
            "palette": "LfF",
            "jitter_std": LFF_JITTER_STD,
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        })
    }

    /// Draws the images of each set, classes in their proportions, and colours them.
    pub(crate) fn build(&self) -> Result<ColoredSets, Error> {
        let images = self.digits.load(Split::Train)?;
        let used = draw(
            images.labels(),
            images.classes(),
            self.train + self.validation,
            Sampling::Stratified,
            &mut stream(self.seed, "train", 0),
        )?;
        let images = images.select(&used)?;
        let parts = hold_out(images.labels(), images.classes(), self.validation, Sampling::Stratified, self.seed)?;
        let test = self.digits.load(Split::Test)?;
        let chosen = draw(test.labels(), test.classes(), self.test, Sampling::Stratified, &mut stream(self.seed, "test", 0))?;
        let colour = |images: &Images, indices: &[usize], law: &ColorLaw, purpose: &str| -> Result<ColoredImages, Error> {
            Ok(colorize(&images.select(indices)?, law, self.seed, purpose)?)
        };
        Ok(ColoredSets {
            train: colour(&images, &parts.train, &ColorLaw::correlated(self.correlation), "train")?,
            validation: colour(&images, &parts.validation, &ColorLaw::UNIFORM, "validation")?,
            test: colour(&test, &chosen, &ColorLaw::UNIFORM, "test")?,
        })
    }
}

/// The three sets on a device.
pub(crate) struct Prepared {
    /// \[n, 2352\], in \[0, 1\].
    pub(crate) train: Tensor,
    /// \[n\].
    pub(crate) train_labels: Tensor,
    /// Validation and test.
    pub(crate) held_out: [EvaluationSet; 2],
    pub(crate) classes: usize,
}

impl ColoredMnistRun {
    fn prepare(&self, device: &Device) -> Result<Prepared, Error> {
        let ColoredSets { train, validation, test } = self.build()?;
        let evaluation = |split, set: &ColoredImages| {
            let majority = set.groups().into_iter().map(|group| !group.is_minority()).collect();
            EvaluationSet::new(split, set.pixels(), set.labels(), majority, set.classes(), device)
        };
        Ok(Prepared {
            train: Tensor::from_slice(train.pixels(), (train.len(), train.dim()), device)?,
            train_labels: Tensor::from_slice(train.labels(), train.len(), device)?,
            held_out: [evaluation("validation", &validation)?, evaluation("test", &test)?],
            classes: train.classes(),
        })
    }
}

/// The data of the last few seeds, shared by the runs that use them.
#[derive(Default)]
pub(crate) struct DataCache(Mutex<Vec<(ColoredMnistRun, Arc<Prepared>)>>);

impl DataCache {
    /// Two workers can be at two seeds.
    const KEPT: usize = 2;

    pub(crate) fn get(&self, run: &ColoredMnistRun, device: &Device) -> Result<Arc<Prepared>, Error> {
        // Held while the data are made: a second worker that wants the same waits instead of making them again.
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, data)) = kept.iter().find(|(other, _)| other == run) {
            return Ok(Arc::clone(data));
        }
        let data = Arc::new(run.prepare(device)?);
        if kept.len() == Self::KEPT {
            kept.remove(0);
        }
        kept.push((run.clone(), Arc::clone(&data)));
        Ok(data)
    }
}
