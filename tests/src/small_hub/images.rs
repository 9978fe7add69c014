//! The image sets: embedded digits and clothes, encoded, resized and coloured as the real sets need it.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{DynamicImage, ExtendedColorType, GrayImage, RgbImage};
use isorate_data::{EmbeddedDataset, Images, Split};
use isorate_local_hub::Commit;
use polars::prelude::{Column, IntoColumn, NamedFrom, Series, StructChunked};

use super::{SmallSource, SmallSplit, parquet};

/// Embedded images to take examples from.
struct Stock(Images);

impl Stock {
    fn of(set: &EmbeddedDataset) -> Self {
        Self(set.load(Split::Test).expect("embedded images"))
    }

    /// Image `index`, grey.
    fn grey(&self, index: usize) -> GrayImage {
        let pixels = self.0.image(index).expect("there are 4,000").to_vec();
        GrayImage::from_raw(28, 28, pixels).expect("28 × 28 pixels")
    }

    /// Image `index` at this size, in a colour that the index decides.
    fn colored(&self, index: usize, width: u32, height: u32) -> RgbImage {
        let colors = [[255, 64, 64], [64, 255, 64], [64, 64, 255], [255, 255, 64], [64, 255, 255], [255, 64, 255]];
        let color: [u8; 3] = colors[index % colors.len()];
        let grey = resize(&self.grey(index), width, height, FilterType::Triangle);
        RgbImage::from_fn(width, height, |x, y| {
            let value = u16::from(grey.get_pixel(x, y).0[0]);
            image::Rgb(color.map(|channel| u8::try_from(value * u16::from(channel) / 255).expect("at most 255")))
        })
    }
}

/// As PNG, which most sets have.
fn png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(if image.color().has_color() { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    let mut writer = encoder.write_header().expect("a small image");
    writer.write_image_data(image.as_bytes()).expect("as many pixels as announced");
    writer.finish().expect("memory does not fail");
    bytes
}

/// As JPEG, which CelebA and Waterbirds have.
fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.encode(image, image.width(), image.height(), ExtendedColorType::Rgb8).expect("a small image");
    bytes
}

/// The hub's `Image`: a struct of the file's bytes and its name.
fn image_column(name: &str, files: &[Vec<u8>], extension: &str) -> Column {
    let bytes: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let paths: Vec<String> = (0..files.len()).map(|row| format!("{row:06}.{extension}")).collect();
    let fields = [Series::new("bytes".into(), bytes), Series::new("path".into(), paths)];
    StructChunked::from_series(name.into(), files.len(), fields.iter()).expect("fields of one length").into_column()
}

fn integers(name: &str, values: &[usize]) -> Column {
    let values: Vec<i64> = values.iter().map(|&value| i64::try_from(value).expect("a small number")).collect();
    Series::new(name.into(), values).into_column()
}

/// Class or group of every row: `rows[k]` times `k`, mixed in a fixed order.
fn mixed(rows: &[usize]) -> Vec<usize> {
    let mut left = rows.to_vec();
    let mut mixed = Vec::new();
    while left.iter().any(|&count| count > 0) {
        for (class, count) in left.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            *count -= 1;
            mixed.push(class);
        }
    }
    mixed
}

fn split(name: &'static str, rows: &[usize]) -> SmallSplit {
    SmallSplit { name, rows: rows.to_vec() }
}

/// A parquet file of grey images, image and label, whose images have those labels.
fn grey_file(stock: &Stock, rows: &[usize]) -> Vec<u8> {
    let labels = mixed(rows);
    let mut next = vec![0; rows.len()];
    let files: Vec<Vec<u8>> = labels
        .iter()
        .map(|&label| {
            let found = (next[label]..stock.0.len()).find(|&index| stock.0.labels()[index] as usize == label);
            let index = found.expect("the set has as many of each class");
            next[label] = index + 1;
            png(&stock.grey(index).into())
        })
        .collect();
    parquet(vec![image_column("image", &files, "png"), integers("label", &labels)], 64)
}

const DIGITS: [[usize; 10]; 2] = [[12, 14, 12, 12, 11, 10, 12, 13, 11, 12], [2, 3, 2, 2, 2, 1, 2, 2, 2, 2]];

pub(super) fn mnist() -> SmallSource {
    let splits = vec![split("train", &DIGITS[0]), split("test", &DIGITS[1])];
    SmallSource { name: "mnist", commit: digits(), splits }
}

/// MNIST in small: the files of the commit.
///
/// # Panics
/// Never, unless an encoder is broken.
pub fn digits() -> Commit {
    let stock = Stock::of(isorate_data::mnist());
    let [train, test] = DIGITS.map(|rows| grey_file(&stock, &rows));
    Commit::new()
        .file("README.md", "# Digits\n")
        .file("mnist/train-00000-of-00001.parquet", train)
        .file("mnist/test-00000-of-00001.parquet", test)
}

/// A file of four digits under a wrong name of the label's column, with a file that is no image, or with a label that is no class.
///
/// # Panics
/// Never, unless an encoder is broken.
pub fn digits_file(label_column: &str, last_image: Option<&[u8]>, last_label: usize) -> Vec<u8> {
    let stock = Stock::of(isorate_data::mnist());
    let mut files: Vec<Vec<u8>> = (0..4).map(|index| png(&stock.grey(index).into())).collect();
    if let Some(bytes) = last_image {
        files[3] = bytes.to_vec();
    }
    parquet(vec![image_column("image", &files, "png"), integers(label_column, &[0, 1, 2, last_label])], 64)
}

pub(super) fn fashion_mnist() -> SmallSource {
    let stock = Stock::of(isorate_data::fashion_mnist());
    let (train, test) = ([6; 10], [2; 10]);
    let commit = Commit::new()
        .file("fashion_mnist/train-00000-of-00001.parquet", grey_file(&stock, &train))
        .file("fashion_mnist/test-00000-of-00001.parquet", grey_file(&stock, &test));
    SmallSource { name: "fashion-mnist", commit, splits: vec![split("train", &train), split("test", &test)] }
}

fn small_photographs(stock: &Stock, count: usize) -> Column {
    let files: Vec<Vec<u8>> = (0..count).map(|index| png(&stock.colored(index, 32, 32).into())).collect();
    image_column("img", &files, "png")
}

pub(super) fn cifar_10() -> SmallSource {
    let stock = Stock::of(isorate_data::fashion_mnist());
    let file = |rows: &[usize]| {
        let labels = mixed(rows);
        parquet(vec![small_photographs(&stock, labels.len()), integers("label", &labels)], 16)
    };
    let (train, test) = ([5, 14, 3, 3, 3, 3, 3, 3, 3, 14], [2; 10]);
    let commit = Commit::new()
        .file("plain_text/train-00000-of-00001.parquet", file(&train))
        .file("plain_text/test-00000-of-00001.parquet", file(&test));
    SmallSource { name: "cifar-10", commit, splits: vec![split("train", &train), split("test", &test)] }
}

pub(super) fn cifar_100() -> SmallSource {
    let stock = Stock::of(isorate_data::mnist());
    let file = |rows: &[usize]| {
        let fine = mixed(rows);
        let coarse: Vec<usize> = fine.iter().map(|class| class % 20).collect();
        let columns =
            vec![small_photographs(&stock, fine.len()), integers("fine_label", &fine), integers("coarse_label", &coarse)];
        parquet(columns, 50)
    };
    let (train, test) = ([6; 100], [1; 100]);
    let commit = Commit::new()
        .file("cifar100/train-00000-of-00001.parquet", file(&train))
        .file("cifar100/test-00000-of-00001.parquet", file(&test));
    SmallSource { name: "cifar-100", commit, splits: vec![split("train", &train), split("test", &test)] }
}

/// The 40 attributes of CelebA in the order of its columns.
const ATTRIBUTES: &str = "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair \
    Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male \
    Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns \
    Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young";

pub(super) fn celeba() -> SmallSource {
    let stock = Stock::of(isorate_data::fashion_mnist());
    let mut commit = Commit::new();
    let mut splits = Vec::new();
    // Groups dark female, dark male, blond female, blond male, in the proportions of the published training set.
    for (name, shards, rows) in [("train", 19, [17, 16, 4, 1]), ("valid", 3, [3, 3, 1, 1]), ("test", 3, [4, 3, 1, 1])] {
        let groups = mixed(&rows);
        for (index, groups) in groups.chunks(groups.len().div_ceil(shards)).enumerate() {
            let files: Vec<Vec<u8>> = (0..groups.len()).map(|row| jpeg(&stock.colored(index * 8 + row, 178, 218))).collect();
            let people: Vec<usize> = (0..groups.len()).map(|row| index * 8 + row + 1).collect();
            let mut columns = vec![image_column("image", &files, "jpg"), integers("celeb_id", &people)];
            columns.extend(ATTRIBUTES.split_whitespace().enumerate().map(|(column, attribute)| {
                let value = |row: usize| match attribute {
                    "Blond_Hair" => groups[row] / 2 == 1,
                    "Male" => groups[row] % 2 == 1,
                    _ => (row + index + column).is_multiple_of(3),
                };
                Series::new(attribute.into(), (0..groups.len()).map(value).collect::<Vec<bool>>()).into_column()
            }));
            let path = format!("img_align+identity+attr/{name}-{index:05}-of-{shards:05}.parquet");
            commit = commit.file(&path, parquet(columns, 2));
        }
        splits.push(split(name, &rows));
    }
    SmallSource { name: "celeba", commit, splits }
}

pub(super) fn waterbirds() -> SmallSource {
    let stock = Stock::of(isorate_data::mnist());
    let mut commit = Commit::new();
    let mut splits = Vec::new();
    // Groups land on land, land on water, water on land, water on water.
    for (name, rows) in [("train", [14, 2, 1, 4]), ("validation", [3, 3, 1, 1]), ("test", [4, 4, 1, 1])] {
        let groups = mixed(&rows);
        // Photographs of all sizes, lying and standing.
        let size = |row: usize| if row.is_multiple_of(2) { (60, 40) } else { (45, 70) };
        let files: Vec<Vec<u8>> = (0..groups.len()).map(|row| jpeg(&stock.colored(row, size(row).0, size(row).1))).collect();
        let of = |value: fn(usize) -> usize| groups.iter().map(|&group| value(group)).collect::<Vec<usize>>();
        let columns = vec![
            image_column("image", &files, "jpg"),
            integers("label", &of(|group| group / 2)),
            integers("place", &of(|group| group % 2)),
            integers("bird", &of(|group| group * 40 + 3)),
        ];
        commit = commit.file(&format!("data/{name}-00000-of-00001.parquet"), parquet(columns, 8));
        splits.push(split(name, &rows));
    }
    SmallSource { name: "waterbirds", commit, splits }
}
