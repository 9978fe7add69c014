//! Specification files: their form, and every rule they must keep.

pub(crate) mod data;
pub(crate) mod model;
mod training;

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use self::training::{Case, ScheduleName};
pub use self::training::{OptimizerSpec, Training, TrainingScale};
use crate::Error;
use crate::theory::{self, Theory};

/// How much is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Seconds: shows that everything works, not what is true.
    Smoke,
    /// Minutes on two cores, with embedded data.
    Default,
    /// The paper's models and data.
    Paper,
}

impl Scale {
    /// `smoke`, `default` or `paper`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Default => "default",
            Self::Paper => "paper",
        }
    }
}

/// One value for each scale.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scales<T> {
    smoke: T,
    default: T,
    paper: Option<T>,
}

impl<T> Scales<T> {
    fn get(&self, scale: Scale) -> Option<&T> {
        match scale {
            Scale::Smoke => Some(&self.smoke),
            Scale::Default => Some(&self.default),
            Scale::Paper => self.paper.as_ref(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Scale, &T)> {
        [Scale::Smoke, Scale::Default, Scale::Paper].into_iter().filter_map(|scale| Some((scale, self.get(scale)?)))
    }
}

/// A checked specification.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The file's stem: the name of the experiment in the store.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// What is to be computed.
    pub kind: Kind,
    pub(crate) file: String,
}

/// The kinds of experiment there are.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Networks trained on a data set by several optimizers.
    Training(Box<Training>),
    /// A computation in the theory, without data and networks.
    Theory(Arc<Theory>),
}

#[derive(Deserialize)]
struct Head {
    title: String,
    kind: String,
}

impl Experiment {
    /// Reads and checks a specification file; its stem becomes the experiment's name.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(&fs_err::read_to_string(path)?, &id, &file)
    }

    /// Checks the text of a specification.
    pub fn parse(text: &str, id: &str, file: &str) -> Result<Self, Error> {
        let context = Context { file };
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err(context.error("(file name)", format!("`{id}` names the experiment: only letters, digits, - and _")));
        }
        let Head { title, kind } = context.toml(text)?;
        let kind = match kind.as_str() {
            "training" => {
                context.names(text)?;
                let training: Training = context.toml(text)?;
                training.check(&context)?;
                Kind::Training(Box::new(training))
            }
            other => {
                let Some(kind) = theory::KINDS.iter().find(|kind| kind.name == other) else {
                    let known: Vec<&str> = ["training"].into_iter().chain(theory::KINDS.iter().map(|kind| kind.name)).collect();
                    return Err(context.error("kind", unknown("kind", other, &known)));
                };
                Kind::Theory(Arc::new(Theory::parse(text, *kind, &context)?))
            }
        };
        Ok(Self { id: id.to_owned(), title, kind, file: file.to_owned() })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { file: &self.file }
    }

    pub(crate) fn no_scale(&self, scale: Scale) -> Error {
        self.context().error(&format!("scale.{}", scale.name()), "this experiment has no such scale\nhint: use --scale default")
    }
}

/// Where errors are: every rule that is broken is reported with its file and setting.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    file: &'a str,
}

impl<'a> Context<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self { file }
    }

    pub(crate) fn error(&self, setting: &str, message: impl Into<String>) -> Error {
        Error::Spec { file: self.file.to_owned(), setting: setting.to_owned(), message: message.into() }
    }

    pub(crate) fn toml<T: DeserializeOwned>(&self, text: &str) -> Result<T, Error> {
        toml::from_str(text)
            .map_err(|error| Error::Parse { file: self.file.to_owned(), message: error.to_string().trim_end().to_owned() })
    }

    /// Fails with the nearest name for a set or a network that does not exist, where TOML's own message would list variants.
    fn names(&self, text: &str) -> Result<(), Error> {
        let table: toml::Table = self.toml(text)?;
        let scales = table.get("scale").and_then(toml::Value::as_table);
        for (scale, settings) in scales.into_iter().flatten() {
            let cases = settings.get("cases").and_then(toml::Value::as_array);
            for (i, case) in cases.into_iter().flatten().enumerate() {
                let key = case.get("key").and_then(toml::Value::as_str).map_or_else(|| i.to_string(), str::to_owned);
                for (part, name, what, known) in
                    [("data", "set", "data set", data::DataSpec::known()), ("model", "name", "model", model::ModelSpec::known())]
                {
                    let found = case.get(part).and_then(|part| part.get(name)).and_then(toml::Value::as_str);
                    if let Some(found) = found.filter(|found| !known.contains(found)) {
                        return Err(self.error(&format!("scale.{scale}.cases.{key}.{part}.{name}"), unknown(what, found, known)));
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn positive(&self, setting: &str, value: f64) -> Result<(), Error> {
        if value.is_finite() && value > 0.0 {
            Ok(())
        } else {
            Err(self.error(setting, format!("{value} must be positive and finite")))
        }
    }

    pub(crate) fn at_least_one(&self, setting: &str, value: usize) -> Result<(), Error> {
        if value > 0 { Ok(()) } else { Err(self.error(setting, "0 must be at least 1")) }
    }

    pub(crate) fn seeds(&self, setting: &str, seeds: &[u64]) -> Result<(), Error> {
        if seeds.is_empty() {
            return Err(self.error(setting, "[] must name at least one seed"));
        }
        match seeds.iter().enumerate().find(|(i, seed)| seeds[..*i].contains(seed)) {
            Some((_, seed)) => Err(self.error(setting, format!("{seed} stands there twice; seeds must differ"))),
            None => Ok(()),
        }
    }
}

/// Says that a name is unknown, with the nearest one there is, or all of them.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3))
        .min();
    match nearest {
        Some((_, nearest)) => format!("unknown {what} `{name}`\nhint: did you mean `{nearest}`? There are {}", known.join(", ")),
        None => format!("unknown {what} `{name}`\nhint: there are {}", known.join(", ")),
    }
}
