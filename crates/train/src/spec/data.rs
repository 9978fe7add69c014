//! What a network is trained and measured on.

use isorate_data::ClassImbalance;
use serde::{Deserialize, Serialize};

use super::{Context, unknown};
use crate::Error;

/// Image sets that are in the program, with the images in their training and test parts.
const EMBEDDED: [(&str, [usize; 2]); 2] = [("mnist", [12_000, 4_000]), ("fashion-mnist", [12_000, 4_000])];
/// Complete image sets.
const COMPLETE: [(&str, [usize; 2]); 4] = [
    ("mnist", [60_000, 10_000]),
    ("fashion-mnist", [60_000, 10_000]),
    ("cifar-10", [50_000, 10_000]),
    ("cifar-100", [50_000, 10_000]),
];
/// The sets that exist.
const SETS: [&str; 7] = ["colored", "imbalanced", "dominoes", "group-task", "celeba", "multi-nli", "text"];

/// A data set, as a specification describes it; `set` names the construction.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "set", rename_all = "kebab-case")]
pub(crate) enum DataSpec {
    /// Colored-MNIST.
    Colored(Colored),
    /// Images with class imbalance; validation and test images keep the proportions of the source.
    Imbalanced(Imbalanced),
    /// Two images on top of each other.
    Dominoes(Dominoes),
    /// The groups of CelebA from images of Fashion-MNIST.
    GroupTask(GroupTask),
    /// CelebA: blond hair by gender.
    Celeba(Celeba),
    /// MultiNLI: entailment by negation.
    MultiNli(MultiNli),
    /// Text, to predict the next token of.
    Text(Text),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Colored {
    /// Fraction of the training images in their digit's own colour.
    pub(crate) correlation: f64,
    pub(crate) train: usize,
    /// Held-out training images, coloured like the test images.
    pub(crate) validation: usize,
    pub(crate) test: usize,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Imbalanced {
    /// The image set.
    pub(crate) images: String,
    /// `step:20`, `exponential:0.01` or `heavy-tail`, applied to the training images.
    pub(crate) imbalance: String,
    /// Images before the imbalance leaves some out.
    pub(crate) train: usize,
    pub(crate) validation: usize,
    pub(crate) test: usize,
}

impl Imbalanced {
    /// The law of the class sizes; none if the text is not one, which `check` refuses.
    pub(crate) fn law(&self) -> Option<ClassImbalance> {
        self.imbalance.parse().ok()
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dominoes {
    /// The lower halves, which tell the class: `fashion-mnist` (coat, dress) or `cifar-10` (automobile, truck). The upper ones are
    /// MNIST's 0 and 1.
    pub(crate) bottom: String,
    /// Other articles of `fashion-mnist`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) articles: Option<Articles>,
    /// Share of the training dominoes whose halves agree.
    pub(crate) correlation: f64,
    /// Held-out dominoes of each group, for the choice of step sizes.
    pub(crate) validation_per_group: usize,
    /// Held-out dominoes of each group that the decoding regression is fitted on.
    pub(crate) decode_per_group: usize,
}

/// Which two articles of Fashion-MNIST are the classes of dominoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Articles {
    /// T-shirt or shirt.
    Shirts,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupTask {
    pub(crate) train: usize,
    pub(crate) validation: usize,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Celeba {}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MultiNli {
    /// The most tokens of a pair.
    pub(crate) length: usize,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    /// `sotu`, which is in the program, or `tiny-stories`.
    pub(crate) corpus: String,
    /// Token types; `sotu` has 4,096.
    pub(crate) vocabulary: usize,
    /// Tokens of a window.
    pub(crate) context: usize,
    /// Windows that are trained on.
    pub(crate) train: usize,
    /// Windows of held-out training documents.
    pub(crate) validation: usize,
    /// Windows of test documents.
    pub(crate) test: usize,
}

impl DataSpec {
    /// The names of the kinds of set, for messages.
    pub(super) fn known() -> &'static [&'static str] {
        &SETS
    }

    /// `colored`, `imbalanced`, ….
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Colored(_) => "colored",
            Self::Imbalanced(_) => "imbalanced",
            Self::Dominoes(_) => "dominoes",
            Self::GroupTask(_) => "group-task",
            Self::Celeba(_) => "celeba",
            Self::MultiNli(_) => "multi-nli",
            Self::Text(_) => "text",
        }
    }

    /// Whether a network sees images, text or pairs of sentences.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Text(_) => Form::Tokens,
            Self::MultiNli(_) => Form::Pairs,
            _ => Form::Images,
        }
    }

    pub(super) fn check(&self, context: &Context, setting: &str) -> Result<(), Error> {
        let at_least_one = |name: &str, size: usize| context.at_least_one(&format!("{setting}.{name}"), size);
        let fraction = |name: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(context.error(&format!("{setting}.{name}"), format!("{value} must lie in [0, 1]")))
            }
        };
        match self {
            Self::Colored(data) => {
                fraction("correlation", data.correlation)?;
                for (name, size) in [("train", data.train), ("validation", data.validation), ("test", data.test)] {
                    at_least_one(name, size)?;
                }
                at_most(context, setting, &COMPLETE, "mnist", data.train, data.validation, data.test, "")
            }
            Self::Imbalanced(data) => {
                let names: Vec<&str> = COMPLETE.iter().map(|(name, _)| *name).collect();
                if !names.contains(&data.images.as_str()) {
                    return Err(context.error(&format!("{setting}.images"), unknown("image set", &data.images, &names)));
                }
                if let Err(rule) = data.imbalance.parse::<ClassImbalance>() {
                    return Err(context.error(&format!("{setting}.imbalance"), format!("`{}` {rule}", data.imbalance)));
                }
                for (name, size) in [("train", data.train), ("validation", data.validation), ("test", data.test)] {
                    at_least_one(name, size)?;
                }
                at_most(context, setting, &COMPLETE, &data.images, data.train, data.validation, data.test, "")
            }
            Self::Dominoes(data) => {
                let known = ["fashion-mnist", "cifar-10"];
                if !known.contains(&data.bottom.as_str()) {
                    return Err(context.error(&format!("{setting}.bottom"), unknown("image set", &data.bottom, &known)));
                }
                if data.articles.is_some() && data.bottom != "fashion-mnist" {
                    let message = format!("are of `fashion-mnist`, and `bottom` is `{}`", data.bottom);
                    return Err(context.error(&format!("{setting}.articles"), message));
                }
                fraction("correlation", data.correlation)?;
                at_least_one("validation_per_group", data.validation_per_group)?;
                at_least_one("decode_per_group", data.decode_per_group)
            }
            Self::GroupTask(data) => {
                at_least_one("train", data.train)?;
                at_least_one("validation", data.validation)
            }
            Self::Celeba(_) => Ok(()),
            Self::MultiNli(data) => at_least_one("length", data.length),
            Self::Text(data) => {
                let known = ["sotu", "tiny-stories"];
                if !known.contains(&data.corpus.as_str()) {
                    return Err(context.error(&format!("{setting}.corpus"), unknown("corpus", &data.corpus, &known)));
                }
                if data.corpus == "sotu" && data.vocabulary != 4096 {
                    let message = format!("{} must be 4096, the types of the embedded tokenizer", data.vocabulary);
                    return Err(context.error(&format!("{setting}.vocabulary"), message));
                }
                for (name, size) in
                    [("context", data.context), ("train", data.train), ("validation", data.validation), ("test", data.test)]
                {
                    at_least_one(name, size)?;
                }
                Ok(())
            }
        }
    }

    /// Whether the embedded sets are enough.
    pub(crate) fn check_embedded(&self, context: &Context, setting: &str) -> Result<(), Error> {
        let not_embedded = |name: &str| {
            let message = format!("`{name}` is not in the program\nhint: `isorate fetch {name}`, then --data hub");
            Err(context.error(setting, message))
        };
        let hint = "\nhint: `isorate fetch` and --data hub take the complete set";
        match self {
            Self::Colored(data) => at_most(context, setting, &EMBEDDED, "mnist", data.train, data.validation, data.test, hint),
            Self::Imbalanced(data) if EMBEDDED.iter().any(|(name, _)| *name == data.images) => {
                at_most(context, setting, &EMBEDDED, &data.images, data.train, data.validation, data.test, hint)
            }
            Self::Imbalanced(data) => not_embedded(&data.images),
            Self::Dominoes(data) if data.bottom != "fashion-mnist" => not_embedded(&data.bottom),
            Self::Celeba(_) => not_embedded("celeba"),
            Self::MultiNli(_) => not_embedded("multi-nli"),
            Self::Text(data) if data.corpus != "sotu" => not_embedded(&data.corpus),
            _ => Ok(()),
        }
    }
}

/// What a network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Images,
    Tokens,
    Pairs,
}

/// Whether an image set has as many images as are asked for.
#[allow(clippy::too_many_arguments, reason = "three sizes, and where they stand")]
fn at_most(
    context: &Context,
    setting: &str,
    sets: &[(&str, [usize; 2])],
    images: &str,
    train: usize,
    validation: usize,
    test: usize,
    hint: &str,
) -> Result<(), Error> {
    let Some((name, [most_train, most_test])) = sets.iter().find(|(name, _)| *name == images) else { return Ok(()) };
    let together = train.saturating_add(validation);
    for (part, what, size, most) in
        [("train", "train and validation images together", together, *most_train), ("test", "test images", test, *most_test)]
    {
        if size > most {
            let message =
                format!("{size} {what}, and {name} has {most}{}{hint}", if hint.is_empty() { "" } else { " in the program" });
            return Err(context.error(&format!("{setting}.{part}"), message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use isorate_data::{Split, fashion_mnist, mnist};

    use super::EMBEDDED;

    #[test]
    fn the_embedded_sizes_are_those_of_the_data() {
        for (set, (name, sizes)) in [mnist(), fashion_mnist()].into_iter().zip(EMBEDDED) {
            assert_eq!(set.name, name);
            for (split, size) in Split::ALL.into_iter().zip(sizes) {
                assert_eq!(set.load(split).unwrap().len(), size);
            }
        }
    }
}
