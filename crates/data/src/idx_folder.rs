//! MNIST and Fashion-MNIST as their authors publish them: four IDX files in a folder.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::{DataError, Images, Split, parse_idx_images, parse_idx_labels};

/// Magic bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The largest of the four files, 60,000 images of 28×28, has 47 MB. A compressed file may not grow beyond this.
const LARGEST: u64 = 256 << 20;

/// The training and the test images in a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`
/// and `t10k-labels-idx1-ubyte`, each as it is or compressed with gzip, with or without `.gz` at its end. Fashion-MNIST comes in this form from Debian's
/// package `dataset-fashion-mnist`, in `/usr/share/datasets/fashion-mnist`.
///
/// # Errors
/// [`DataError::Idx`] when a file is missing, is not what its header says, or has other than one label for each image;
/// [`DataError::Label`] for a label that is not below `classes`; [`DataError::Io`] when a file cannot be read.
pub fn idx_folder(folder: &Path, classes: usize) -> Result<[Images; 2], DataError> {
    Ok([idx_split(folder, Split::Train, classes)?, idx_split(folder, Split::Test, classes)?])
}

/// One of the two that [`idx_folder`] reads.
pub(crate) fn idx_split(folder: &Path, split: Split, classes: usize) -> Result<Images, DataError> {
    let prefix = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let (path, bytes) = read(folder, &format!("{prefix}-images-idx3-ubyte"), "images")?;
    let ([count, height, width], pixels) = parse_idx_images(&bytes, &path.display().to_string())?;
    let (path, bytes) = read(folder, &format!("{prefix}-labels-idx1-ubyte"), "labels")?;
    let name = path.display().to_string();
    let labels = parse_idx_labels(&bytes, &name)?;
    if labels.len() != count {
        let reason = format!("{} labels, but the images beside it are {count}", labels.len());
        return Err(DataError::Idx { name, expected: "labels", reason });
    }
    crate::images::check_labels(&name, &labels.iter().map(|&label| label.into()).collect::<Vec<u32>>(), classes)?;
    Images::new([1, height, width], classes, pixels.to_vec(), labels.iter().map(|&label| label.into()).collect())
}

/// The content of one of the four files, decompressed.
fn read(folder: &Path, name: &str, expected: &'static str) -> Result<(PathBuf, Vec<u8>), DataError> {
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    let Some(path) = candidates.iter().find(|path| path.is_file()) else {
        let reason = format!("neither it nor {name}.gz is there\nhint: the folder must hold the four IDX files of the set");
        return Err(DataError::Idx { name: candidates[0].display().to_string(), expected, reason });
    };
    let bytes = fs_err::read(path)?;
    if !bytes.starts_with(&GZIP) {
        return Ok((path.clone(), bytes));
    }
    let error = |reason: String| DataError::Idx { name: path.display().to_string(), expected, reason };
    let mut content = Vec::new();
    GzDecoder::new(bytes.as_slice())
        .take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(|e| error(format!("it cannot be decompressed: {e}\nhint: an interrupted download or copy looks like this")))?;
    if content.len() as u64 > LARGEST {
        return Err(error(format!("it decompresses to more than {LARGEST} bytes, which no file of these sets has")));
    }
    Ok((path.clone(), content))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
        bytes.extend(dims.iter().flat_map(|side| side.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Two training images and one test image of 1×2.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs_err::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &idx(&[2, 1, 2], &[1, 2, 3, 4]));
        write("train-labels-idx1-ubyte.gz", &gzip(&idx(&[2], &[0, 1])));
        write("t10k-images-idx3-ubyte.gz", &gzip(&idx(&[1, 1, 2], &[5, 6])));
        // Decompressed by a browser, the name as it was.
        write("t10k-labels-idx1-ubyte.gz", &idx(&[1], &[1]));
        folder
    }

    fn error(folder: &tempfile::TempDir) -> String {
        let text = idx_folder(folder.path(), 2).unwrap_err().to_string();
        text.replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn raw_and_compressed_files_are_read() {
        let [train, test] = idx_folder(folder().path(), 2).unwrap();
        assert_eq!((train.shape(), train.pixels(), train.labels()), ([1, 1, 2], &[1, 2, 3, 4][..], &[0, 1][..]));
        assert_eq!((test.pixels(), test.labels()), (&[5, 6][..], &[1][..]));
        assert_ne!(train.checksum(), test.checksum());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let broken = |name: &str, bytes: Option<&[u8]>| {
            let folder = folder();
            let path = folder.path().join(name);
            match bytes {
                Some(bytes) => fs_err::write(path, bytes).unwrap(),
                None => fs_err::remove_file(path).unwrap(),
            }
            error(&folder)
        };
        insta::assert_snapshot!(broken("train-images-idx3-ubyte", None), @r"
        DIR/train-images-idx3-ubyte: not an IDX file of images: neither it nor train-images-idx3-ubyte.gz is there
        hint: the folder must hold the four IDX files of the set
        ");
        let labels = "train-labels-idx1-ubyte.gz";
        insta::assert_snapshot!(broken(labels, Some(&gzip(&idx(&[1], &[0])))), @"DIR/train-labels-idx1-ubyte.gz: not an IDX file of labels: 1 labels, but the images beside it are 2");
        insta::assert_snapshot!(broken(labels, Some(&gzip(&idx(&[2], &[0, 2])))), @"DIR/train-labels-idx1-ubyte.gz: row 1: label 2 is outside 0..2");
        let whole = gzip(&idx(&[2], &[0, 1]));
        let cut = broken(labels, Some(&whole[..whole.len() - 9]));
        assert!(cut.contains("it cannot be decompressed") && cut.contains("hint:"), "{cut}");
        let bomb = broken(labels, Some(&gzip(&vec![0; usize::try_from(LARGEST).unwrap() + 1])));
        assert!(bomb.contains("decompresses to more than"), "{bomb}");
    }
}
