//! The image sets of the hub: their columns, their classes and attributes, and how images are brought to one size.

use crate::geometry::Step;
use crate::shards::{Kind, Wanted};

/// A column of classes or of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The column.
    pub column: &'static str,
    /// Whether the column is `bool`, which is read as 0 and 1. Otherwise it is `i64`.
    pub is_flag: bool,
    /// Values are below this.
    pub count: usize,
    /// What each value stands for; empty where the values are only numbers.
    pub names: &'static [&'static str],
}

impl Variable {
    const fn class(column: &'static str, names: &'static [&'static str]) -> Self {
        Self { column, is_flag: false, count: names.len(), names }
    }

    const fn flag(column: &'static str, names: &'static [&'static str; 2]) -> Self {
        Self { column, is_flag: true, count: 2, names }
    }

    const fn number(column: &'static str, count: usize) -> Self {
        Self { column, is_flag: false, count, names: &[] }
    }

    pub(crate) fn wanted(&self) -> Wanted<'static> {
        Wanted { name: self.column, kind: if self.is_flag { Kind::Flag } else { Kind::Integer } }
    }
}

/// An image set in the schema that it has on the hub.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageSet {
    /// Short name, as in the manifest of `isorate-hub`.
    pub name: &'static str,
    /// The column of images: a struct with the binary field `bytes`, which holds PNG or JPEG.
    pub image: &'static str,
    /// What a network learns to tell, `y`.
    pub class: Variable,
    /// What is correlated with it, `a`.
    pub attribute: Option<Variable>,
    /// Further columns.
    pub others: &'static [Variable],
    /// Channels, height and width of every image in the files, where the set has one size.
    pub stored: Option<[usize; 3]>,
    /// How images are brought to one size. A set with steps is in colour: its grey images are repeated to three channels.
    pub steps: &'static [Step],
    /// Rows in each group `y · n_attributes + a` (without an attribute: in each class), as published, for each split.
    published: &'static [(&'static str, &'static [usize])],
}

impl ImageSet {
    /// Channels, height and width of the images after the steps, or `None` when they are those of the files.
    pub fn shape(&self) -> Option<[usize; 3]> {
        self.steps.last().map(|step| [3, step.size()[0], step.size()[1]]).or(self.stored)
    }

    /// The published number of rows in each group of a split (without an attribute: in each class), where it is known.
    pub fn published(&self, split: &str) -> Option<&'static [usize]> {
        self.published.iter().find(|(name, _)| *name == split).map(|(_, counts)| *counts)
    }

    /// All columns but the images: class, attribute, others.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Variable> {
        std::iter::once(&self.class).chain(&self.attribute).chain(self.others)
    }

    /// The set of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        IMAGE_SETS.iter().find(|set| set.name == name)
    }
}

/// How the groups of some rows compare with the published ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The published counts of this split are not known here.
    Unknown,
    /// Fewer or more rows than were published: a part of the set, or a stand-in. There is nothing to compare.
    OtherSize {
        /// Rows here.
        rows: usize,
        /// Rows published.
        published: usize,
    },
    /// As many rows as published, and as many in each group.
    Agree,
    /// As many rows as published, but not in each group.
    Differ {
        /// The published counts.
        published: &'static [usize],
    },
}

/// The classes of MNIST.
pub(crate) const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// The classes of Fashion-MNIST.
pub(crate) const CLOTHES: [&str; 10] =
    ["t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// The image sets of the hub.
///
/// Groups of CelebA and Waterbirds as in Sagawa et al. 2020, "Distributionally Robust Neural Networks for Group Shifts", whose code
/// also has the steps to one size: for CelebA the centre 178 × 178 is resized to 224 × 224; Waterbirds are resized to 256 × 256 whatever
/// their proportions, and the centre 224 × 224 of that is taken (for evaluation; its augmentation of training images, random resized
/// crops and flips, is not done here). Normalization follows in a batch, see [`Normalization`](crate::Normalization).
pub static IMAGE_SETS: [ImageSet; 6] = [
    ImageSet {
        name: "mnist",
        image: "image",
        class: Variable::class("label", &DIGITS),
        attribute: None,
        others: &[],
        stored: Some([1, 28, 28]),
        steps: &[],
        published: &[
            ("train", &[5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
            ("test", &[980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ],
    },
    ImageSet {
        name: "fashion-mnist",
        image: "image",
        class: Variable::class("label", &CLOTHES),
        attribute: None,
        others: &[],
        stored: Some([1, 28, 28]),
        steps: &[],
        published: &[("train", &[6000; 10]), ("test", &[1000; 10])],
    },
    ImageSet {
        name: "cifar-10",
        image: "img",
        class: Variable::class(
            "label",
            &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        ),
        attribute: None,
        others: &[],
        stored: Some([3, 32, 32]),
        steps: &[],
        published: &[("train", &[5000; 10]), ("test", &[1000; 10])],
    },
    ImageSet {
        name: "cifar-100",
        image: "img",
        class: Variable::class("fine_label", &CIFAR_100_FINE),
        attribute: None,
        others: &[Variable::class("coarse_label", &CIFAR_100_COARSE)],
        stored: Some([3, 32, 32]),
        steps: &[],
        published: &[("train", &[500; 100]), ("test", &[100; 100])],
    },
    ImageSet {
        name: "celeba",
        image: "image",
        class: Variable::flag("Blond_Hair", &["dark", "blond"]),
        attribute: Some(Variable::flag("Male", &["female", "male"])),
        others: &CELEBA_OTHERS,
        stored: None,
        steps: &[Step::CenterCrop { height: 178, width: 178 }, Step::Resize { height: 224, width: 224 }],
        published: &[
            ("train", &[71_629, 66_874, 22_880, 1_387]),
            ("valid", &[8_535, 8_276, 2_874, 182]),
            ("test", &[9_767, 7_535, 2_480, 180]),
        ],
    },
    ImageSet {
        name: "waterbirds",
        image: "image",
        class: Variable::class("label", &["landbird", "waterbird"]),
        attribute: Some(Variable::class("place", &["land", "water"])),
        // The species, `bird`, is not read: nothing needs it.
        others: &[],
        stored: None,
        steps: &[Step::Resize { height: 256, width: 256 }, Step::CenterCrop { height: 224, width: 224 }],
        published: &[
            ("train", &[3_498, 184, 56, 1_057]),
            ("validation", &[467, 466, 133, 133]),
            ("test", &[2_255, 2_255, 642, 642]),
        ],
    },
];

const CIFAR_100_FINE: [&str; 100] = [
    "apple",
    "aquarium_fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn_mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple_tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak_tree",
    "orange",
    "orchid",
    "otter",
    "palm_tree",
    "pear",
    "pickup_truck",
    "pine_tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet_pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow_tree",
    "wolf",
    "woman",
    "worm",
];

const CIFAR_100_COARSE: [&str; 20] = [
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
];

/// People are numbered from 1 to 10,177.
const CELEB_ID: Variable = Variable::number("celeb_id", 10_178);

/// `celeb_id` and the 38 attributes besides `Blond_Hair` and `Male`.
const CELEBA_OTHERS: [Variable; 39] = {
    const COLUMNS: [&str; 38] = [
        "5_o_Clock_Shadow",
        "Arched_Eyebrows",
        "Attractive",
        "Bags_Under_Eyes",
        "Bald",
        "Bangs",
        "Big_Lips",
        "Big_Nose",
        "Black_Hair",
        "Blurry",
        "Brown_Hair",
        "Bushy_Eyebrows",
        "Chubby",
        "Double_Chin",
        "Eyeglasses",
        "Goatee",
        "Gray_Hair",
        "Heavy_Makeup",
        "High_Cheekbones",
        "Mouth_Slightly_Open",
        "Mustache",
        "Narrow_Eyes",
        "No_Beard",
        "Oval_Face",
        "Pale_Skin",
        "Pointy_Nose",
        "Receding_Hairline",
        "Rosy_Cheeks",
        "Sideburns",
        "Smiling",
        "Straight_Hair",
        "Wavy_Hair",
        "Wearing_Earrings",
        "Wearing_Hat",
        "Wearing_Lipstick",
        "Wearing_Necklace",
        "Wearing_Necktie",
        "Young",
    ];
    let mut others = [CELEB_ID; 39];
    let mut i = 0;
    while i < COLUMNS.len() {
        others[i + 1] = Variable::flag(COLUMNS[i], &["no", "yes"]);
        i += 1;
    }
    others
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_counts_add_up() {
        let rows = |name: &str, split: &str| -> usize { ImageSet::named(name).unwrap().published(split).unwrap().iter().sum() };
        assert_eq!((rows("mnist", "train"), rows("mnist", "test")), (60_000, 10_000));
        assert_eq!((rows("fashion-mnist", "train"), rows("fashion-mnist", "test")), (60_000, 10_000));
        assert_eq!((rows("cifar-10", "train"), rows("cifar-100", "test")), (50_000, 10_000));
        assert_eq!((rows("celeba", "train"), rows("celeba", "valid"), rows("celeba", "test")), (162_770, 19_867, 19_962));
        assert_eq!(
            (rows("waterbirds", "train"), rows("waterbirds", "validation"), rows("waterbirds", "test")),
            (4_795, 1_199, 5_794)
        );
    }

    #[test]
    fn columns_and_names_are_told_apart() {
        for set in &IMAGE_SETS {
            let columns: std::collections::BTreeSet<&str> = set.variables().map(|v| v.column).collect();
            assert_eq!(columns.len(), set.variables().count(), "{}", set.name);
            for variable in set.variables().filter(|v| !v.names.is_empty()) {
                let names: std::collections::BTreeSet<&&str> = variable.names.iter().collect();
                assert_eq!(names.len(), variable.count, "{} {}", set.name, variable.column);
            }
            for (split, counts) in set.published {
                let groups = set.class.count * set.attribute.map_or(1, |a| a.count);
                assert_eq!(counts.len(), groups, "{} {split}", set.name);
            }
        }
        assert_eq!(ImageSet::named("celeba").unwrap().variables().filter(|v| v.is_flag).count(), 40);
        assert_eq!(ImageSet::named("celeba").unwrap().shape(), Some([3, 224, 224]));
        assert_eq!(ImageSet::named("imagenet"), None);
    }
}
