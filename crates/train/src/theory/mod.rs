//! Runs of the theory: one file for each kind of experiment, from its settings to its records.

mod checks;
mod condition1;
mod condition_map;
mod depth;
mod diagnosis;
mod early_stopping;
mod finite_samples;
mod loss_gaps;
mod muon_overshoot;
mod newton_schulz;
mod shampoo;
mod sharp;
mod spectral_power;
mod trajectories;

use std::collections::BTreeMap;

use isorate_data::{ImageSources, Origin};
use isorate_results::{Outcome, Record};
use isorate_theory::{Mixture, MixtureConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::checks::check_run;
use crate::Error;
use crate::runner::Product;
use crate::spec::{Context, Scale};

/// The settings of a run that needs no data and no network, at one scale.
///
/// In a specification file the settings stand at the top, and those that differ between scales under `[scale.smoke]`,
/// `[scale.default]` and `[scale.paper]`; here they are merged.
pub(crate) trait TheoryRun: std::fmt::Debug + Send + Sync + Settings {
    /// Fails with the name of the setting that breaks a rule; `scale` begins the names of settings that belong to the scale.
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error>;

    /// The seed that the run is stored under.
    fn seed(&self) -> u64;

    /// The image sets that it measures, if any.
    fn image_sets(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The numbers, and words that belong to them. `images` has the sets of [`Self::image_sets`].
    fn execute(&self, images: &ImageSources) -> Result<Findings, Error>;
}

/// Settings as they stand in a run's identity.
pub(crate) trait Settings {
    fn settings(&self) -> Value;
}

impl<T: Serialize> Settings for T {
    fn settings(&self) -> Value {
        // Numbers, names and lists: nothing that JSON could refuse but a number that is not finite, which `check` refuses first.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

/// What a theory run found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) records: Vec<Record>,
    pub(crate) notes: BTreeMap<String, String>,
}

impl From<Vec<Record>> for Findings {
    fn from(records: Vec<Record>) -> Self {
        Self { records, notes: BTreeMap::new() }
    }
}

type Parse = fn(&str) -> Result<Box<dyn TheoryRun>, toml::de::Error>;

/// A kind of experiment, and how its settings are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TheoryKind {
    /// As `kind` in a specification file.
    pub(crate) name: &'static str,
    parse: Parse,
}

pub(crate) const KINDS: &[TheoryKind] = &[
    TheoryKind { name: "trajectories", parse: parse::<trajectories::Trajectories> },
    TheoryKind { name: "depth", parse: parse::<depth::Depth> },
    TheoryKind { name: "loss-gaps", parse: parse::<loss_gaps::LossGaps> },
    TheoryKind { name: "early-stopping", parse: parse::<early_stopping::EarlyStopping> },
    TheoryKind { name: "finite-samples", parse: parse::<finite_samples::FiniteSamples> },
    TheoryKind { name: "newton-schulz", parse: parse::<newton_schulz::NewtonSchulzResponse> },
    TheoryKind { name: "shampoo", parse: parse::<shampoo::ShampooTrajectories> },
    TheoryKind { name: "condition-1", parse: parse::<condition1::Condition1> },
    TheoryKind { name: "sharp-constants", parse: parse::<sharp::SharpConstants> },
    TheoryKind { name: "condition-map", parse: parse::<condition_map::ConditionMap> },
    TheoryKind { name: "theory-checks", parse: parse::<checks::Checks> },
    TheoryKind { name: "spectral-power", parse: parse::<spectral_power::SpectralPower> },
    TheoryKind { name: "muon-overshoot", parse: parse::<muon_overshoot::MuonOvershoot> },
    TheoryKind { name: "diagnosis", parse: parse::<diagnosis::Diagnosis> },
];

fn parse<T: TheoryRun + DeserializeOwned + 'static>(text: &str) -> Result<Box<dyn TheoryRun>, toml::de::Error> {
    Ok(Box::new(toml::from_str::<T>(text)?))
}

/// A theory experiment at each of its scales.
#[derive(Debug)]
pub struct Theory {
    kind: TheoryKind,
    smoke: Box<dyn TheoryRun>,
    default: Box<dyn TheoryRun>,
    paper: Option<Box<dyn TheoryRun>>,
}

impl Theory {
    /// Reads and checks all scales.
    pub(crate) fn parse(text: &str, kind: TheoryKind, context: &Context) -> Result<Self, Error> {
        let table: toml::Table = context.toml(text)?;
        let Some(toml::Value::Table(scales)) = table.get("scale") else {
            return Err(context.error("scale", "there are no scales\nhint: give [scale.smoke] and [scale.default]"));
        };
        let known = [Scale::Smoke, Scale::Default, Scale::Paper].map(Scale::name);
        if let Some(name) = scales.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(context.error("scale", crate::unknown("scale", name, &known)));
        }
        let at = |scale: Scale| -> Result<Option<Box<dyn TheoryRun>>, Error> {
            let name = scale.name();
            let sizes = match scales.get(name) {
                None => return Ok(None),
                Some(toml::Value::Table(sizes)) => sizes,
                Some(_) => return Err(context.error(&format!("scale.{name}"), "must be a table")),
            };
            let mut merged = table.clone();
            for key in ["title", "kind", "scale"] {
                merged.remove(key);
            }
            for (key, value) in sizes {
                if merged.insert(key.clone(), value.clone()).is_some() {
                    return Err(context.error(&format!("scale.{name}.{key}"), "stands at the top too; a setting has one place"));
                }
            }
            // Read as text, so that a message can show the line that it is about.
            let text = merged.to_string();
            let run = (kind.parse)(&text).map_err(|error| {
                context.error(&format!("scale.{name} with the settings at the top"), error.to_string().trim_end())
            })?;
            run.check(context, &format!("scale.{name}"))?;
            Ok(Some(run))
        };
        let needed = |scale: Scale, run: Option<Box<dyn TheoryRun>>| {
            run.ok_or_else(|| context.error(&format!("scale.{}", scale.name()), "is missing, and every experiment needs it"))
        };
        Ok(Self {
            kind,
            smoke: needed(Scale::Smoke, at(Scale::Smoke)?)?,
            default: needed(Scale::Default, at(Scale::Default)?)?,
            paper: at(Scale::Paper)?,
        })
    }

    fn get(&self, scale: Scale) -> Option<&dyn TheoryRun> {
        match scale {
            Scale::Smoke => Some(&*self.smoke),
            Scale::Default => Some(&*self.default),
            Scale::Paper => self.paper.as_deref(),
        }
    }

    /// The run at a scale, if there is one.
    pub(crate) fn at(this: &std::sync::Arc<Self>, scale: Scale, origin: &Origin) -> Result<Option<ScaledTheory>, Error> {
        let Some(run) = this.get(scale) else { return Ok(None) };
        let images = ImageSources::find(&run.image_sets(), origin)?;
        Ok(Some(ScaledTheory { theory: this.clone(), scale, images }))
    }
}

/// A theory experiment at one of its scales.
#[derive(Clone, Debug)]
pub(crate) struct ScaledTheory {
    theory: std::sync::Arc<Theory>,
    scale: Scale,
    images: ImageSources,
}

impl ScaledTheory {
    fn run(&self) -> &dyn TheoryRun {
        self.theory.get(self.scale).expect("made for a scale that is there")
    }

    pub(crate) fn seed(&self) -> u64 {
        self.run().seed()
    }

    pub(crate) fn label(&self) -> String {
        self.theory.kind.name.replace('-', " ")
    }

    /// Everything that the numbers depend on.
    pub(crate) fn spec(&self) -> Value {
        let mut spec = self.run().settings();
        spec["kind"] = json!(self.theory.kind.name);
        // The embedded sets are those that the settings speak of.
        let others: BTreeMap<&str, Value> = self
            .images
            .iter()
            .filter(|source| source.origin() != &Origin::Embedded)
            .map(|source| (source.name(), json!({ "source": source.label(), "checksum": source.checksums() })))
            .collect();
        if !others.is_empty() {
            spec["images"] = json!(others);
        }
        spec
    }

    pub(crate) fn checksums(&self) -> BTreeMap<String, String> {
        self.images.checksums()
    }

    pub(crate) fn execute(&self) -> Result<Product, Error> {
        let Findings { records, notes } = self.run().execute(&self.images)?;
        Ok(Product { outcome: Outcome::Finished, records, notes, steps: 0, train_seconds: 0.0 })
    }
}

fn check_mixture(config: &MixtureConfig, context: &Context) -> Result<Mixture, Error> {
    Mixture::new(config.clone()).map_err(|error| context.error("mixture", error.to_string()))
}

/// The nearest number of steps.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "specifications allow positive sizes only")]
fn whole(steps: f64) -> usize {
    steps.round() as usize
}

/// `count` + 1 numbers of steps, evenly spread over 0..=`steps`, without repetition.
fn marks(steps: usize, count: usize) -> Vec<usize> {
    let mut marks: Vec<usize> = (0..=count).map(|i| i * steps / count).collect();
    marks.dedup();
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_whole_steps_from_first_to_last() {
        assert_eq!(marks(100, 4), [0, 25, 50, 75, 100]);
        assert_eq!(marks(3, 10), [0, 1, 2, 3]);
        assert_eq!(marks(0, 4), [0]);
    }
}
