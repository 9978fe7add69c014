//! Image sets.

use isorate_data::{
    ColorLaw, ColoredImages, DominoClasses, DominoSettings, DominoSource, Examples, Group, GroupTaskSizes, GroupedImages, Groups,
    Images, Normalization, Sampling, Split, colorize, draw, hold_out, stream,
};

use super::{HeldOut, Outputs, Parts, RowParts, Sets};
use crate::Error;
use crate::inputs::Inputs;
use crate::source::Source;
use crate::spec::data;

/// Draws the images of each set, classes in their proportions, and colours them: the training images with the correlation, the others
/// with colours that are uniform and independent of the digit.
pub(super) fn colored(data: &data::Colored, digits: &Source, seed: u64) -> Result<Sets, Error> {
    let [train, validation, test] = drawn(digits, [data.train, data.validation, data.test], seed)?;
    let colour = |images: &Images, law: &ColorLaw, purpose: &str| -> Result<ColoredImages, Error> {
        Ok(colorize(images, law, seed, purpose)?)
    };
    let train = colour(&train, &ColorLaw::correlated(data.correlation), "train")?;
    let held_out = |split, set: ColoredImages| {
        let minority = set.groups().into_iter().map(Group::is_minority).collect();
        HeldOut::new(split, set, minority)
    };
    Ok(Sets {
        held_out: vec![
            held_out("validation", colour(&validation, &ColorLaw::UNIFORM, "validation")?),
            held_out("test", colour(&test, &ColorLaw::UNIFORM, "test")?),
        ],
        outputs: Outputs::Classes(train.classes()),
        train: Inputs::images(train),
        decode: None,
    })
}

/// Draws the images of each set, classes in their proportions, and leaves out of the training images what the law of the class sizes
/// says. The classes that it leaves smaller than the largest are the minority.
pub(super) fn imbalanced(data: &data::Imbalanced, source: &Source, seed: u64) -> Result<Sets, Error> {
    let [train, validation, test] = drawn(source, [data.train, data.validation, data.test], seed)?;
    let train = match data.law() {
        Some(law) => train.select(&law.subset(train.labels(), train.classes(), seed)?)?,
        None => train,
    };
    let counts = train.class_counts();
    let largest = counts.iter().copied().max().unwrap_or(0);
    // Half of the largest class parts the two halves of a step, and the head from the tail of the other laws.
    let small: Vec<bool> = counts.iter().map(|&count| 2 * count < largest).collect();
    let held_out = |split, set: Images| {
        let minority = set.labels().iter().map(|&label| small[label as usize]).collect();
        HeldOut::new(split, set, minority)
    };
    Ok(Sets {
        held_out: vec![held_out("validation", validation), held_out("test", test)],
        outputs: Outputs::Classes(train.classes()),
        train: Inputs::images(train),
        decode: None,
    })
}

/// Training, validation and test images, drawn with the classes in their proportions.
fn drawn(source: &Source, [train, validation, test]: [usize; 3], seed: u64) -> Result<[Images; 3], Error> {
    let images = source.load(Split::Train)?;
    let used = draw(images.labels(), images.classes(), train + validation, Sampling::Stratified, &mut stream(seed, "train", 0))?;
    let images = images.select(&used)?;
    let parts = hold_out(images.labels(), images.classes(), validation, Sampling::Stratified, seed)?;
    let tested = source.load(Split::Test)?;
    let chosen = draw(tested.labels(), tested.classes(), test, Sampling::Stratified, &mut stream(seed, "test", 0))?;
    Ok([images.select(&parts.train)?, images.select(&parts.validation)?, tested.select(&chosen)?])
}

/// Dominoes; of each group of the balanced hold-out the first are for validation, the others to decode with.
pub(super) fn dominoes(data: &data::Dominoes, top: &Source, bottom: &Source, seed: u64) -> Result<Sets, Error> {
    let (top_train, top_test) = (top.load(Split::Train)?, top.load(Split::Test)?);
    let (bottom_train, bottom_test) = (bottom.load(Split::Train)?, bottom.load(Split::Test)?);
    let classes = match data.articles {
        Some(data::Articles::Shirts) => DominoClasses::MNIST_SHIRTS,
        None if data.bottom == "cifar-10" => DominoClasses::MNIST_CIFAR,
        None => DominoClasses::MNIST_FASHION,
    };
    let held_out = data.validation_per_group + data.decode_per_group;
    let made = isorate_data::dominoes(
        DominoSource { train: &top_train, test: &top_test },
        DominoSource { train: &bottom_train, test: &bottom_test },
        &DominoSettings { classes, correlation: data.correlation, held_out },
        seed,
    )?;
    let groups = made.balanced.images.groups();
    let mut seen = vec![0; groups.count()];
    let (mut validation, mut decode) = (Vec::new(), Vec::new());
    for row in 0..groups.len() {
        let seen = &mut seen[groups.group(row)];
        if *seen < data.validation_per_group {
            validation.push(row);
        } else {
            decode.push(row);
        }
        *seen += 1;
    }
    let aligned = |set: &GroupedImages| (0..set.len()).map(|row| !set.groups().is_aligned(row)).collect();
    let held_out = |split, set: GroupedImages| {
        let minority = aligned(&set);
        HeldOut::new(split, set, minority)
    };
    let core_only = made.test.core_only()?;
    Ok(Sets {
        held_out: vec![
            held_out("validation", made.balanced.images.select(&validation)?),
            held_out("test", made.test.images),
            held_out("core-only", core_only),
        ],
        decode: Some(Inputs::images(made.balanced.images.select(&decode)?)),
        train: Inputs::images(made.train.images),
        outputs: Outputs::Classes(2),
    })
}

/// The groups of CelebA from images of Fashion-MNIST.
pub(super) fn group_task(data: &data::GroupTask, source: &Source, seed: u64) -> Result<Sets, Error> {
    let sizes = GroupTaskSizes { train: data.train, validation: data.validation };
    let task = isorate_data::group_task(&source.load(Split::Train)?, &source.load(Split::Test)?, sizes, seed)?;
    let rare = rare_groups(task.train.groups());
    Ok(Sets {
        held_out: vec![grouped("validation", task.validation, &rare), grouped("test", task.test, &rare)],
        outputs: Outputs::Classes(2),
        train: Inputs::images(task.train),
        decode: None,
    })
}

/// CelebA as it is split: blond hair by gender. Images are decoded when they are asked for.
pub(super) fn celeba(source: &Source) -> Result<Sets, Error> {
    let set = |split| source.on_demand(split);
    let train = set("train")?;
    let rare = train.groups().map(rare_groups).unwrap_or_default();
    let normalized = |inputs| match inputs {
        Inputs::Images { examples, .. } => Inputs::Images { examples, normalization: Some(Normalization::imagenet()) },
        other => other,
    };
    let mut held_out = Vec::new();
    for (split, name) in [("validation", "valid"), ("test", "test")] {
        let mut measured = grouped(split, set(name)?, &rare);
        measured.inputs = normalized(measured.inputs);
        held_out.push(measured);
    }
    Ok(Sets { held_out, outputs: Outputs::Classes(train.classes()), train: normalized(Inputs::images(train)), decode: None })
}

/// The groups that are rarer in training than the other groups of their class: those against the correlation.
pub(super) fn rare_groups(groups: &Groups) -> Vec<bool> {
    let (counts, attributes) = (groups.counts(), groups.attribute_names().len());
    let largest_of_class = |group: usize| {
        let class = group / attributes;
        counts[class * attributes..(class + 1) * attributes].iter().copied().max().unwrap_or(0)
    };
    (0..counts.len()).map(|group| 2 * counts[group] < largest_of_class(group)).collect()
}

fn grouped(split: &'static str, set: impl Examples + Send + 'static, rare: &[bool]) -> HeldOut {
    let minority = match set.groups() {
        Some(groups) => (0..groups.len()).map(|row| rare[groups.group(row)]).collect(),
        None => Vec::new(),
    };
    HeldOut::new(split, set, minority)
}

impl HeldOut {
    /// `minority` says of each row whether it is of the minority.
    fn new(split: &'static str, set: impl Examples + Send + 'static, minority: Vec<bool>) -> Self {
        let groups = set.groups().map(|groups| ((0..groups.len()).map(|row| groups.group(row)).collect(), groups.count()));
        let parts = RowParts { labels: set.labels().to_vec(), classes: set.classes(), minority, groups };
        Self { split, inputs: Inputs::images(set), parts: Parts::Rows(parts) }
    }
}
