//! The text sets, in prose of our own.

use isorate_local_hub::Commit;
use polars::prelude::{Column, IntoColumn, NamedFrom, Series};

use super::{SmallSource, SmallSplit, parquet};

/// Premise, hypothesis and label: 0 entailment, 1 neutral, 2 contradiction.
const PAIRS: [(&str, &str, i64); 9] = [
    ("The ferry leaves at six every morning.", "A ferry leaves early in the day.", 0),
    ("The ferry leaves at six every morning.", "The ferry is painted blue.", 1),
    ("The ferry leaves at six every morning.", "The ferry never leaves before noon.", 2),
    ("Two gardeners pruned the old pear tree.", "Somebody worked on a tree.", 0),
    ("Two gardeners pruned the old pear tree.", "The pears will be sold at the market.", 1),
    ("Two gardeners pruned the old pear tree.", "Nobody touched the pear tree.", 2),
    ("She read the letter twice before she answered.", "She answered a letter.", 0),
    ("She read the letter twice before she answered.", "There was nothing but good news in the letter.", 1),
    ("She read the letter twice before she answered.", "She gave no answer.", 2),
];

fn strings(name: &str, values: Vec<String>) -> Column {
    Series::new(name.into(), values).into_column()
}

/// A sentence as a tree of two branches, as the columns of parses have it: brackets alone, or with categories.
fn parse(sentence: &str, open: &str, leaf: impl Fn(&str) -> String) -> String {
    let words: Vec<String> = sentence.trim_end_matches('.').split(' ').map(leaf).collect();
    let (last, first) = words.split_last().expect("a sentence has words");
    first.iter().rev().fold(last.clone(), |rest, word| format!("{open} {word} {rest} )"))
}

pub(super) fn multi_nli() -> SmallSource {
    let file = |rows: usize, genres: &[&str], seed: usize| {
        let rows: Vec<usize> = (0..rows).collect();
        let pair = |row: &usize| PAIRS[(row + seed) % PAIRS.len()];
        let of = |value: &dyn Fn(&usize) -> String| rows.iter().map(value).collect::<Vec<String>>();
        let binary = |text: &str| parse(text, "(", str::to_owned);
        let full = |text: &str| format!("(ROOT {})", parse(text, "(X", |word| format!("(W {word})")));
        let prompts: Vec<i32> = rows.iter().map(|&row| i32::try_from(row / 3 + 100 * seed).expect("few rows")).collect();
        let labels: Vec<i64> = rows.iter().map(|row| pair(row).2).collect();
        let columns = vec![
            Series::new("promptID".into(), prompts).into_column(),
            strings("pairID", of(&|row| format!("{}{}", row / 3 + 100 * seed, ["e", "n", "c"][row % 3]))),
            strings("premise", of(&|row| pair(row).0.to_owned())),
            strings("premise_binary_parse", of(&|row| binary(pair(row).0))),
            strings("premise_parse", of(&|row| full(pair(row).0))),
            strings("hypothesis", of(&|row| pair(row).1.to_owned())),
            strings("hypothesis_binary_parse", of(&|row| binary(pair(row).1))),
            strings("hypothesis_parse", of(&|row| full(pair(row).1))),
            strings("genre", of(&|row| genres[row % genres.len()].to_owned())),
            Series::new("label".into(), labels).into_column(),
        ];
        parquet(columns, 16)
    };
    let (matched, mismatched) =
        (["fiction", "government", "slate", "telephone", "travel"], ["facetoface", "letters", "nineeleven", "oup", "verbatim"]);
    let commit = Commit::new()
        .file("data/train-00000-of-00001.parquet", file(45, &matched, 0))
        .file("data/validation_matched-00000-of-00001.parquet", file(9, &matched, 1))
        .file("data/validation_mismatched-00000-of-00001.parquet", file(9, &mismatched, 2));
    let split = |name, rows| SmallSplit { name, rows: vec![rows] };
    let splits = vec![split("train", 45), split("validation_matched", 9), split("validation_mismatched", 9)];
    SmallSource { name: "multi-nli", commit, splits }
}

/// Story number `index`.
fn story(index: usize) -> String {
    let (name, pet) = (["Ida", "Tom", "Wren", "Oskar"][index % 4], ["cat", "snail", "duck"][index % 3]);
    format!(
        "One day, {name} went to the pond with a {pet}. The {pet} saw a big leaf and wanted it.\n\n\"It is yours,\" said {name}. \
         They went home and had soup, and the {pet} slept under the leaf for {} nights.",
        index + 2
    )
}

pub(super) fn tiny_stories() -> SmallSource {
    let file = |stories: std::ops::Range<usize>| parquet(vec![strings("text", stories.map(story).collect())], 8);
    // The names of the hub carry a tail that says which run wrote them.
    let tails = ["2d5a1467fff1081b", "5852b56a2bd28fd9", "a26307300439e943", "d243063613e5a057"];
    let mut commit = Commit::new().file("data/validation-00000-of-00001-869c898b519ad725.parquet", file(100..108));
    for (shard, tail) in tails.iter().enumerate() {
        let path = format!("data/train-{shard:05}-of-00004-{tail}.parquet");
        commit = commit.file(&path, file(shard * 12..(shard + 1) * 12));
    }
    let splits = vec![SmallSplit { name: "train", rows: vec![48] }, SmallSplit { name: "validation", rows: vec![8] }];
    SmallSource { name: "tiny-stories", commit, splits }
}
