//! Image sets from a hub on this machine, through the cache of verified files, and what becomes of a file that only its reader can see to be wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;

use isorate_data::{BatchOptions, Batches, DataError, Examples, HubImages, Memory, Order, Published};
use isorate_hub::{Hub, HubError, Source, source};
use isorate_local_hub::{Commit, LocalHub, Repository};
use polars::prelude::*;

fn png(color: [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 30, 20);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&color.repeat(600)).unwrap();
    bytes
}

/// A file of Waterbirds: image, label and place of each row.
fn parquet(rows: &[(Vec<u8>, i64, i64)]) -> Vec<u8> {
    let column = |name: &str, values: Vec<i64>| Series::new(name.into(), values).into_column();
    let files: Vec<&[u8]> = rows.iter().map(|row| row.0.as_slice()).collect();
    let image = StructChunked::from_series("image".into(), rows.len(), [Series::new("bytes".into(), files)].iter());
    let labels = rows.iter().map(|row| row.1).collect();
    let places = rows.iter().map(|row| row.2).collect();
    let columns = vec![image.unwrap().into_column(), column("label", labels), column("place", places)];
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut DataFrame::new(rows.len(), columns).unwrap()).unwrap();
    bytes
}

/// Good training files; a validation file with a label that is no class; a test file with an image that is none.
fn local_hub(folder: &Path) -> (LocalHub, Hub, &'static Source) {
    let commit = Commit::new()
        .file("data/train-00000-of-00002.parquet", parquet(&[(png([1, 2, 3]), 0, 0), (png([4, 5, 6]), 0, 0)]))
        .file("data/train-00001-of-00002.parquet", parquet(&[(png([7, 8, 9]), 1, 1)]))
        .file("data/validation-00000-of-00001.parquet", parquet(&[(png([1, 2, 3]), 0, 0), (png([1, 2, 3]), 2, 0)]))
        .file("data/test-00000-of-00001.parquet", parquet(&[(png([1, 2, 3]), 0, 0), (b"<html>".to_vec(), 1, 0)]));
    let manifest = folder.join("manifest.toml");
    let text = include_str!("../../hub/manifest.toml");
    let begin = text.find("[[source]]\nname = \"waterbirds\"").unwrap();
    let end = text[begin + 1..].find("[[source]]").unwrap() + begin + 1;
    let set = source("waterbirds").unwrap();
    std::fs::write(&manifest, text[begin..end].replace(&set.revision, &commit.id())).unwrap();
    let local = LocalHub::start(vec![Repository::dataset(&set.id).commit(commit)]);
    let hub =
        Hub::builder().endpoint(local.url()).cache_dir(folder.join("hub")).offline(false).manifest(manifest).build().unwrap();
    (local, hub, set)
}

fn open<'h>(hub: &'h Hub, name: &str, split: &str) -> Result<HubImages<'h>, DataError> {
    HubImages::open(hub, name, split, Memory::default(), &())
}

#[test]
fn a_set_is_read_from_the_cache_shard_after_shard() {
    let folder = tempfile::tempdir().unwrap();
    let (_local, hub, set) = local_hub(folder.path());
    assert!(
        matches!(open(&hub, "waterbirds", "train").err().unwrap(), DataError::Hub(e) if matches!(*e, HubError::Missing { .. }))
    );
    hub.fetch(set, &()).unwrap();
    let train = open(&hub, "waterbirds", "train").unwrap();
    assert_eq!((train.labels(), train.images().counts()), (&[0, 0, 1][..], vec![2, 0, 0, 1]));
    assert_eq!(train.images().published("train"), Published::OtherSize { rows: 3, published: 4795 });
    assert_eq!(train.commit().len(), 40);
    let options = BatchOptions { order: Order::GroupBalanced, ..BatchOptions::shuffled(2, 1) };
    for batch in Batches::new(&train, options).unwrap().epoch(0).unwrap().take(1).map(Result::unwrap) {
        assert_eq!(batch.groups.iter().sum::<u32>(), 3);
        for (row, pixels) in batch.rows.iter().zip(batch.pixels.chunks(train.dim())) {
            assert_eq!(pixels[0].to_bits(), ([1.0, 4.0, 7.0][*row] / 255.0f32).to_bits());
        }
    }
    assert_eq!(train.to_images().unwrap().shape(), [3, 224, 224]);
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside_and_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let (local, hub, set) = local_hub(folder.path());
    hub.fetch(set, &()).unwrap();
    let text = |error: DataError| {
        let DataError::SetAside { error: wrong, aside, set } = &error else { panic!("not set aside: {error}") };
        assert!(aside.exists() && set == "waterbirds");
        let message = error.to_string().replace(&aside.display().to_string(), "ASIDE");
        message.replace(wrong.mismatch().unwrap().file, "FILE")
    };
    // Seen when the set is opened.
    insta::assert_snapshot!(text(open(&hub, "waterbirds", "validation").err().unwrap()), @r"
    FILE: row 1: label 2 is outside 0..2
    hint: the file was set aside as ASIDE; `isorate fetch waterbirds` takes it again
    ");
    assert!(matches!(hub.cached(set, &()), Err(HubError::Missing { .. })));
    local.forget_requests();
    hub.fetch(set, &()).unwrap();
    assert_eq!(local.downloads().len(), 1, "only what was set aside is downloaded: {:?}", local.downloads());
    // Seen when the image is decoded.
    let test = open(&hub, "waterbirds", "test").unwrap();
    let error = test.read(&[0, 1], &mut vec![0.0; 2 * test.dim()]).unwrap_err();
    insta::assert_snapshot!(text(error), @r#"
    FILE: row 1, column "image": undecodable image: Invalid PNG signature.
    hint: the file was set aside as ASIDE; `isorate fetch waterbirds` takes it again
    "#);
    assert!(matches!(hub.cached(set, &()), Err(HubError::Missing { .. })));
}

#[test]
fn names_and_splits_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_local, hub, set) = local_hub(folder.path());
    hub.fetch(set, &()).unwrap();
    insta::assert_snapshot!(
        open(&hub, "imagenet", "train").err().unwrap(),
        @r#"image set = "imagenet": there are mnist, fashion-mnist, cifar-10, cifar-100, celeba, waterbirds"#
    );
    insta::assert_snapshot!(
        open(&hub, "waterbirds", "valid").err().unwrap(),
        @r#"split = "valid": waterbirds has test, train, validation"#
    );
}
