//! Examples of each group of a data set as a picture.

use isorate_data::{Entry, Examples, Opened, OpenedSplit, stream};
use isorate_figures::{ContactSheet, MOST_PICTURES, Picture, Strip};
use rand::seq::SliceRandom as _;

use super::text::{percent, thousands};

/// More groups than these are not told apart on a page: then it is classes, and of those the first.
const MOST_STRIPS: usize = 24;

pub fn sheet(entry: &Entry, opened: &Opened<'_>, seed: u64) -> anyhow::Result<ContactSheet> {
    let Some(split) = opened.splits.iter().find(|split| split.images.is_some()) else {
        anyhow::bail!("{}: it has no images to draw\nhint: leave --out out", entry.name);
    };
    let parts = parts(split);
    let left_out = parts.len().saturating_sub(MOST_STRIPS);
    let strips = parts.into_iter().take(MOST_STRIPS).map(|part| strip(split, part, seed)).collect::<anyhow::Result<_>>()?;
    let more = if left_out > 0 { format!(" {left_out} more classes are not shown.") } else { String::new() };
    Ok(ContactSheet {
        title: format!("{}, {}: {} images", entry.name, split.name, thousands(split.rows)),
        strips,
        caption: format!(
            "{}. Random examples, seed {seed}. Origin: {}. Licence: {}.{more}",
            capital(entry.description),
            opened.origin,
            opened.licence
        ),
    })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A name and the rows it stands for.
struct Part {
    name: String,
    rows: Vec<usize>,
}

/// The groups, if there are few enough; else each class in two: where attribute and class agree, and where they do not; else the classes.
fn parts(split: &OpenedSplit<'_>) -> Vec<Part> {
    let by = |count: usize, name: &dyn Fn(usize) -> String, of: &dyn Fn(usize) -> usize| {
        let mut parts: Vec<Part> = (0..count).map(|index| Part { name: name(index), rows: Vec::new() }).collect();
        for row in 0..split.rows {
            parts[of(row)].rows.push(row);
        }
        parts
    };
    let classes = split.class_names.len();
    match &split.groups {
        Some(groups) if groups.count() <= MOST_STRIPS => by(groups.count(), &|g| groups.name(g), &|row| groups.group(row)),
        Some(groups) if groups.attribute_names().len() == classes && 2 * classes <= MOST_STRIPS => {
            let name = |index: usize| {
                let kind = if index.is_multiple_of(2) { "aligned" } else { "conflicting" };
                format!("{}, {kind}", split.class_names[index / 2])
            };
            by(2 * classes, &name, &|row| 2 * split.labels[row] as usize + usize::from(!groups.is_aligned(row)))
        }
        _ => by(classes, &|class| split.class_names[class].clone(), &|row| split.labels[row] as usize),
    }
}

fn strip(split: &OpenedSplit<'_>, mut part: Part, seed: u64) -> anyhow::Result<Strip> {
    let detail = format!("{} rows, {}%", thousands(part.rows.len()), percent(part.rows.len(), split.rows));
    part.rows.shuffle(&mut stream(seed, &format!("contact sheet {}", part.name), 0));
    part.rows.truncate(MOST_PICTURES);
    let Some(images) = &split.images else { unreachable!("a sheet is drawn of a split with images") };
    let mut values = vec![0.0; part.rows.len() * images.dim()];
    images.read(&part.rows, &mut values)?;
    let pictures = values.chunks_exact(images.dim()).map(|values| picture(images.as_ref(), values)).collect();
    Ok(Strip { name: part.name, detail, pictures })
}

/// In 8 bits; two channels become red and green.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
fn picture(images: &dyn Examples, values: &[f32]) -> Picture {
    let [channels, height, width] = images.shape();
    let mut pixels: Vec<u8> = values.iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    let channels = if channels == 2 {
        pixels.resize(3 * height * width, 0);
        3
    } else {
        channels
    };
    Picture { shape: [channels, height, width], pixels }
}
