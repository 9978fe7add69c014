//! Draws a contact sheet (PNG) of every construction on embedded data, one row for each group:
//!
//! ```text
//! cargo run --release -p isorate-data --example contact_sheets -- OUT_DIR
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use isorate_data::{
    ColorLaw, DominoClasses, DominoSettings, DominoSource, GroupTaskSizes, GroupedImages, IRM_TEST_FLIP, IRM_TRAIN_FLIPS, Images,
    Split, TwoColorLaw, colorize, colorize_background, dominoes, fashion_mnist, group_task, mnist, two_colors,
};

/// Images in a row.
const ACROSS: usize = 16;
/// Each pixel is drawn as a square of so many.
const ZOOM: usize = 2;
/// Between images, in drawn pixels.
const GAP: usize = 4;

fn main() -> ExitCode {
    let Some(out) = std::env::args().nth(1) else {
        eprintln!("usage: contact_sheets OUT_DIR");
        return ExitCode::from(2);
    };
    match draw_all(Path::new(&out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw_all(out: &Path) -> Result<(), Box<dyn Error>> {
    fs_err::create_dir_all(out)?;
    let [digits, test_digits] = Split::ALL.map(|split| mnist().load(split));
    let [articles, test_articles] = Split::ALL.map(|split| fashion_mnist().load(split));
    let (digits, test_digits, articles, test_articles) = (digits?, test_digits?, articles?, test_articles?);

    draw(out, "colored-mnist", &as_grouped(&digits)?)?;
    draw(out, "biased-mnist", &colorize_background(&digits, 0.99, 1, "train")?)?;
    for (name, flip) in [("irm-train", IRM_TRAIN_FLIPS[0]), ("irm-test", IRM_TEST_FLIP)] {
        draw(out, name, &two_colors(&digits, &TwoColorLaw::environment(flip), 1, name)?)?;
    }
    let sets = dominoes(
        DominoSource { train: &digits, test: &test_digits },
        DominoSource { train: &articles, test: &test_articles },
        &DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation: 0.95, held_out: 100 },
        1,
    )?;
    draw(out, "dominoes-train", &sets.train.images)?;
    draw(out, "dominoes-balanced", &sets.balanced.images)?;
    draw(out, "dominoes-core-only", &sets.test.core_only()?)?;
    let task = group_task(&articles, &test_articles, GroupTaskSizes::EMBEDDED, 1)?;
    draw(out, "group-task-train", &task.train)?;
    draw(out, "group-task-test", &task.test)
}

/// Colored-MNIST with its pixels as bytes.
fn as_grouped(digits: &Images) -> Result<GroupedImages, Box<dyn Error>> {
    let set = colorize(digits, &ColorLaw::correlated(0.99), 1, "train")?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels are in [0, 1]")]
    let pixels = set.pixels().iter().map(|pixel| (pixel * 255.0).round() as u8).collect();
    Ok(GroupedImages::new(Images::new(set.shape(), 10, pixels, set.labels().to_vec())?, set.cells().clone())?)
}

/// One row for each group that has images, at most twenty: its first images.
fn draw(out: &Path, name: &str, set: &GroupedImages) -> Result<(), Box<dyn Error>> {
    let groups = set.groups();
    let counts = groups.counts();
    let shown: Vec<usize> = (0..groups.count()).filter(|&group| counts[group] > 0).take(20).collect();
    let [channels, height, width] = set.images().shape();
    let (down, right) = (height * ZOOM + GAP, width * ZOOM + GAP);
    let (sheet_height, sheet_width) = (shown.len() * down + GAP, ACROSS * right + GAP);
    let mut sheet = vec![96; sheet_height * sheet_width * 3];
    for (place, &group) in shown.iter().enumerate() {
        println!("{name}, row {place}: {} ({} images)", groups.name(group), counts[group]);
        for (column, row) in (0..set.len()).filter(|&row| groups.group(row) == group).take(ACROSS).enumerate() {
            let image = set.images().image(row).expect("rows are in range");
            for (i, j) in (0..height * ZOOM).flat_map(|i| (0..width * ZOOM).map(move |j| (i, j))) {
                let pixel = (i / ZOOM) * width + j / ZOOM;
                // Grey in all three, two channels as red and green.
                let color = [0, 1, 2].map(|channel| match (channels, channel) {
                    (1, _) => image[pixel],
                    (2, 2) => 0,
                    _ => image[channel * height * width + pixel],
                });
                let target = (GAP + place * down + i) * sheet_width + GAP + column * right + j;
                sheet[target * 3..][..3].copy_from_slice(&color);
            }
        }
    }
    let file = fs_err::File::create(out.join(format!("{name}.png")))?;
    let mut encoder = png::Encoder::new(file, u32::try_from(sheet_width)?, u32::try_from(sheet_height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&sheet)?;
    Ok(())
}
