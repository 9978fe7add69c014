//! What it costs to turn text into tokens: the validation part of the embedded text with the BPE, and pairs of its sentences with a
//! `WordPiece`. `RAYON_NUM_THREADS` sets the number of threads of what is encoded in parallel.

use std::fmt::Write as _;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use isorate_data::{Bpe, Padding, Split, TokenStream, TokenWindows, WordPiece, state_of_the_union};

fn main() {
    divan::main();
}

fn bpe() -> Bpe {
    Bpe::embedded().expect("the embedded tokenizer is valid")
}

fn speeches() -> Vec<String> {
    state_of_the_union().load(Split::Test).expect("embedded data are valid")
}

fn tokens(bpe: &Bpe) -> TokenStream {
    TokenStream::in_memory(bpe, speeches().into_iter().map(Ok)).expect("there are speeches")
}

/// One thread; the items are tokens.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn encode_one_by_one(bencher: Bencher<'_, '_>) {
    let (bpe, speeches) = (bpe(), speeches());
    let count = speeches.iter().map(|text| bpe.encode(text).expect("any text can be encoded").len()).sum::<usize>();
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(speeches.iter().map(String::len).sum::<usize>()))
        .bench_local(|| speeches.iter().map(|text| bpe.encode(text).expect("any text can be encoded").len()).sum::<usize>());
}

/// All threads, with the copy of the texts; the items are tokens.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn stream_in_memory(bencher: Bencher<'_, '_>) {
    let (bpe, speeches) = (bpe(), speeches());
    let count = usize::try_from(tokens(&bpe).len()).expect("they are in memory");
    bencher.counter(ItemsCount::new(count)).bench_local(|| TokenStream::in_memory(&bpe, speeches.iter().cloned().map(Ok)));
}

/// Batches of 32 windows of 128 tokens in shuffled order; the items are tokens.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn windows(bencher: Bencher<'_, '_>) {
    let windows = TokenWindows::new(tokens(&bpe()), 128).expect("there are enough tokens");
    let order = windows.shuffled(0, 0);
    let mut buffers = [vec![0; 32 * 128], vec![0; 32 * 128]];
    bencher.counter(ItemsCount::new(order.len() / 32 * 32 * 128)).bench_local(|| {
        for batch in order.chunks_exact(32) {
            let [inputs, targets] = &mut buffers;
            windows.read(batch, inputs, targets).expect("the windows are there");
        }
    });
}

/// Pairs of sentences of the speeches, at most 128 tokens each; the vocabulary has letters and the 4,000 most frequent words.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn word_piece_pairs(bencher: Bencher<'_, '_>) {
    let text = speeches().concat().to_lowercase();
    let mut counts = std::collections::BTreeMap::new();
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| w.len() > 1).for_each(|w| *counts.entry(w).or_insert(0usize) += 1);
    let mut words: Vec<(usize, &str)> = counts.into_iter().map(|(word, count)| (count, word)).collect();
    words.sort_unstable_by_key(|&(count, _)| std::cmp::Reverse(count));
    let mut vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n.\n,\n".to_owned();
    for c in 'a'..='z' {
        write!(vocabulary, "{c}\n##{c}\n").expect("a string can be written");
    }
    words.iter().take(4000).for_each(|(_, word)| vocabulary.extend([word, "\n"]));
    let bert = WordPiece::from_vocabulary(&vocabulary, "vocabulary of the bench", 128).expect("each word comes once");
    let sentences: Vec<&str> = text.split_inclusive(". ").collect();
    let pairs: Vec<(&str, &str)> = sentences.as_chunks::<2>().0.iter().map(|&[first, second]| (first, second)).collect();
    bencher.counter(ItemsCount::new(pairs.len())).bench_local(|| bert.encode_pairs(&pairs, Padding::Longest));
}
