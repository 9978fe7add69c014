//! What it costs to get from the embedded files to coloured images: 12,000 + 4,000 of them, on all threads there are
//! (`RAYON_NUM_THREADS` sets their number).

use divan::Bencher;
use divan::counter::ItemsCount;
use isorate_data::{
    ColorLaw, DominoClasses, DominoSettings, DominoSource, EmbeddedDataset, Images, Split, colorize, colorize_background,
    dominoes, fashion_mnist, mnist,
};

fn main() {
    divan::main();
}

fn load(dataset: &EmbeddedDataset) -> [Images; 2] {
    Split::ALL.map(|split| dataset.load(split).expect("embedded data are valid"))
}

fn items(sets: &[Images]) -> ItemsCount {
    ItemsCount::new(sets.iter().map(Images::len).sum::<usize>())
}

#[divan::bench(args = ["mnist", "fashion-mnist"], sample_count = 20, sample_size = 1)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let dataset = if name == "mnist" { mnist() } else { fashion_mnist() };
    bencher.counter(items(&load(dataset))).bench_local(|| load(dataset));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn colour(bencher: Bencher<'_, '_>) {
    let sets = load(mnist());
    bencher.counter(items(&sets)).bench_local(|| {
        sets.each_ref().map(|images| colorize(images, &ColorLaw::correlated(0.99), 1, "bench").expect("ten grey classes"))
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn decode_and_colour(bencher: Bencher<'_, '_>) {
    bencher.counter(items(&load(mnist()))).bench_local(|| {
        load(mnist()).map(|images| colorize(&images, &ColorLaw::correlated(0.99), 1, "bench").expect("ten grey classes"))
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn colour_background(bencher: Bencher<'_, '_>) {
    let sets = load(mnist());
    bencher
        .counter(items(&sets))
        .bench_local(|| sets.each_ref().map(|images| colorize_background(images, 0.99, 1, "bench").expect("ten grey classes")));
}

/// 2,400 training and 800 test dominoes.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn mnist_fashion_dominoes(bencher: Bencher<'_, '_>) {
    let (digits, articles) = (load(mnist()), load(fashion_mnist()));
    let settings = DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation: 0.95, held_out: 100 };
    bencher.bench_local(|| {
        let [top, bottom] = [&digits, &articles].map(|[train, test]| DominoSource { train, test });
        dominoes(top, bottom, &settings, 1).expect("enough images")
    });
}
