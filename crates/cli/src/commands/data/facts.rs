//! What is said of a data set, as numbers and names.

use isorate_data::{Entry, Opened, OpenedSplit, imbalance_ratio};
use serde::Serialize;

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct Facts {
    pub name: String,
    pub description: String,
    pub form: &'static str,
    pub origin: String,
    pub licence: String,
    pub citation: String,
    pub files: Vec<File>,
    pub splits: Vec<Split>,
}

#[derive(Debug, Serialize)]
pub struct File {
    pub name: String,
    /// None for a part of the program.
    pub path: Option<String>,
    pub bytes: u64,
    pub checksum: String,
}

#[derive(Debug, Serialize)]
pub struct Split {
    pub name: String,
    pub rows: usize,
    pub classes: Vec<Share>,
    /// The largest class over the smallest one that has rows; none without classes, or with one class.
    pub class_imbalance_ratio: Option<f64>,
    pub groups: Vec<Share>,
    pub group_imbalance_ratio: Option<f64>,
    /// Tokens by the frequency of their type, the most frequent types first.
    pub token_bins: Vec<TokenBin>,
    pub examples: Vec<String>,
}

/// The tokens whose types are about as frequent.
#[derive(Debug, Serialize)]
pub struct TokenBin {
    /// How many types, and the most frequent one.
    pub types: String,
    pub tokens: usize,
}

/// Some of the rows of a split.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    pub name: String,
    pub rows: usize,
    /// As others counted the complete set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<usize>,
}

impl Facts {
    pub fn of(entry: &Entry, opened: &Opened<'_>) -> Self {
        Self {
            name: entry.name.to_owned(),
            description: entry.description.to_owned(),
            form: entry.form.name(),
            origin: opened.origin.clone(),
            licence: opened.licence.clone(),
            citation: opened.citation.clone(),
            files: opened
                .files
                .iter()
                .map(|file| File {
                    name: file.name.clone(),
                    path: file.path.as_ref().map(|path| path.display().to_string()),
                    bytes: file.bytes,
                    checksum: file.checksum.clone(),
                })
                .collect(),
            splits: opened.splits.iter().map(Split::of).collect(),
        }
    }
}

impl Split {
    fn of(split: &OpenedSplit<'_>) -> Self {
        let counts = split.class_counts();
        let share = |name: String, rows, published| Share { name, rows, published };
        let group_counts = split.groups.as_ref().map(isorate_data::Groups::counts).unwrap_or_default();
        let published = |group: usize| split.published_groups.as_ref().and_then(|counts| counts.get(group).copied());
        Self {
            name: split.name.clone(),
            rows: split.rows,
            classes: split.class_names.iter().zip(&counts).map(|(name, &rows)| share(name.clone(), rows, None)).collect(),
            class_imbalance_ratio: imbalance_ratio(&counts),
            groups: split
                .groups
                .iter()
                .flat_map(|groups| (0..groups.count()).map(|group| (group, groups.name(group))))
                .map(|(group, name)| share(name, group_counts[group], published(group)))
                .collect(),
            group_imbalance_ratio: imbalance_ratio(&group_counts),
            token_bins: split
                .token_bins
                .iter()
                .map(|(types, tokens)| TokenBin { types: types.clone(), tokens: usize::try_from(*tokens).unwrap_or(usize::MAX) })
                .collect(),
            examples: split.texts.clone(),
        }
    }
}
