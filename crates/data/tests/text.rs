//! The embedded text and its tokenizer are what their README says; the tokenizer of BERT does what BERT's own does.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;
use std::io::Cursor;

use isorate_data::{
    Bpe, EncodedPairs, Padding, Split, TokenBins, TokenStream, TokenWindows, WordPiece, fashion_mnist, mnist, state_of_the_union,
};
use polars::prelude::*;

/// As `assets/sotu/README.md` records them: training part, validation part, tokenizer.
const RECORDED: [&str; 3] = [
    "f3a38f92019ff7bb6c7dba774109b2d3426af671badde1803da080f3240af233",
    "9cad8d74cb4f9cbe4bcc1a63a6d2450717cadeca706ff3f61dceca0a34346ec9",
    "49ab44e29fd8fc5b0b01756900d7f68ae114a28c456f41a95ae9751de213887e",
];

fn speeches(split: Split) -> Vec<String> {
    state_of_the_union().load(split).unwrap()
}

/// The column `name`, which the reader leaves out.
fn names(split: Split) -> Vec<String> {
    let table = ParquetReader::new(Cursor::new(state_of_the_union().bytes(split))).finish().unwrap();
    table.column("name").unwrap().str().unwrap().iter().map(|name| name.unwrap().to_owned()).collect()
}

#[test]
fn bytes_are_the_recorded_ones() {
    let readme = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sotu/README.md")).unwrap();
    let [train, validation] = Split::ALL.map(|split| state_of_the_union().checksum(split));
    for (found, recorded) in [train, validation, Bpe::embedded().unwrap().checksum()].iter().zip(RECORDED) {
        assert_eq!(found, recorded);
        assert!(readme.contains(recorded), "assets/sotu/README.md does not have {recorded}");
    }
    let names = names(Split::Test).join(", ");
    assert!(readme.replace('\n', " ").contains(&names), "{names}");
    let images = [mnist(), fashion_mnist()].iter().flat_map(|set| Split::ALL.map(|split| set.bytes(split).len())).sum::<usize>();
    let text = Split::ALL.map(|split| state_of_the_union().bytes(split).len()).iter().sum::<usize>();
    let all = images + text + Bpe::embedded().unwrap().to_json().len();
    assert!(all <= 16_000_000, "{all} bytes are embedded");
}

/// What is known of the source: 233 speeches, one or two for most years from 1790 to 2021. One of every ten successive ones is held out.
#[test]
fn the_split_spans_all_years() {
    let [train, validation] = Split::ALL.map(names);
    assert_eq!((train.len(), validation.len()), (210, 23));
    let mut all = [train, validation.clone()].concat();
    all.sort();
    let year = |name: &String| name[..4].parse::<u32>().unwrap();
    assert_eq!((year(&all[0]), year(&all[232])), (1790, 2021));
    for (block, held_out) in all.chunks_exact(10).zip(&validation) {
        assert!(block.contains(held_out), "{held_out} is not in {block:?}");
    }
    let [train, validation] = Split::ALL.map(|split| speeches(split).iter().map(String::len).sum::<usize>());
    assert_eq!((train, validation), (9_507_459, 1_253_954));
    let words: Vec<String> = Split::ALL.map(speeches).concat();
    let words = words.iter().flat_map(|speech| speech.split_whitespace()).count();
    assert!((1_700_000..2_000_000).contains(&words), "{words}");
}

#[test]
fn every_speech_decodes_to_itself() {
    let bpe = Bpe::embedded().unwrap();
    for speech in Split::ALL.map(speeches).concat() {
        let ids = bpe.encode(&speech).unwrap();
        assert!(ids.iter().all(|&id| id != bpe.end_of_text() && (id as usize) < bpe.vocabulary()));
        assert_eq!(bpe.decode(&ids).unwrap(), speech);
    }
}

/// The order of the documents and the number of threads, which change the order of the trainer's hash maps, do not change the result.
#[test]
fn training_gives_the_embedded_tokenizer() {
    let mut documents = speeches(Split::Train);
    documents.reverse();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let bpe = threads.install(|| Bpe::train(documents.into_iter().map(Ok), 4_096)).unwrap();
    assert_eq!(bpe.checksum(), Bpe::embedded().unwrap().checksum());
}

/// A smaller vocabulary is the beginning of a larger one: merges are taken one by one.
#[test]
fn a_smaller_vocabulary_is_the_beginning() {
    let small = Bpe::train(speeches(Split::Train).into_iter().map(Ok), 600).unwrap();
    let large = Bpe::embedded().unwrap();
    for id in 0..600 {
        assert_eq!(small.token(id), large.token(id));
    }
}

#[test]
fn tokens_and_bins() {
    let bpe = Bpe::embedded().unwrap();
    let [train, validation] = Split::ALL.map(|split| TokenStream::in_memory(&bpe, speeches(split).into_iter().map(Ok)).unwrap());
    let bins = TokenBins::new(train.counts(), 10).unwrap();
    let mut report = String::new();
    for (name, tokens, bytes) in [("train", &train, 9_507_459.0), ("validation", &validation, 1_253_954.0)] {
        let unseen = tokens.counts().iter().filter(|&&count| count == 0).count();
        let per_token = bytes / tokens.len() as f64;
        writeln!(
            report,
            "{name}: {} tokens, {per_token:.2} bytes each; {unseen} of {} types do not occur",
            tokens.len(),
            bpe.vocabulary()
        )
        .unwrap();
    }
    writeln!(report, "\nbin  types  tokens (train)     %  tokens (validation)     %  most and least frequent type").unwrap();
    let [in_train, in_validation] = [&train, &validation].map(|tokens| bins.tokens_of(tokens.counts()));
    assert_eq!(in_train, bins.tokens());
    let share = |tokens: u64, stream: &TokenStream| 100.0 * tokens as f64 / stream.len() as f64;
    let mut order: Vec<u32> = (0..4_096).collect();
    order.sort_by_key(|&id| std::cmp::Reverse(train.counts()[id as usize]));
    for bin in 0..bins.len() {
        let types: Vec<u32> = order.iter().copied().filter(|&id| bins.bin(id) == bin).collect();
        let name = |id: Option<&u32>| format!("{:?} {}", bpe.token(*id.unwrap()).unwrap(), train.counts()[*id.unwrap() as usize]);
        writeln!(
            report,
            "{bin:>3}  {:>5}  {:>14}  {:>4.1}  {:>19}  {:>4.1}  {}, {}",
            bins.types()[bin],
            in_train[bin],
            share(in_train[bin], &train),
            in_validation[bin],
            share(in_validation[bin], &validation),
            name(types.first()),
            name(types.last())
        )
        .unwrap();
    }
    let windows = [train, validation].map(|tokens| TokenWindows::new(tokens, 128).unwrap().len());
    writeln!(report, "\nwindows of 128: {} + {}", windows[0], windows[1]).unwrap();
    insta::assert_snapshot!(report);
}

/// The types and encodings of `bert_reference.txt`, made by `bert_reference.py` with BERT's tokenizer in Python.
struct Reference {
    vocabulary: String,
    pairs: Vec<(String, String, Vec<u32>, Vec<u32>)>,
}

fn reference() -> Reference {
    let text = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bert_reference.txt")).unwrap();
    let (mut types, mut pairs) = (Vec::new(), Vec::new());
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let numbers = |text: &str| text.split(' ').map(|number| number.parse().unwrap()).collect();
        match fields[..] {
            // No word has a hyphen in it, so none is made of these.
            ["types", count] => types = (0..count.parse().unwrap()).map(|id: usize| format!("-{id}")).collect(),
            ["token", id, token] => token.clone_into(&mut types[id.parse::<usize>().unwrap()]),
            ["pair", first, second, ids, type_ids] => {
                let text = |text: &str| text.replace("\\t", "\t");
                pairs.push((text(first), text(second), numbers(ids), numbers(type_ids)));
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!((types.len(), pairs.len()), (30_522, 17));
    Reference { vocabulary: types.join("\n"), pairs }
}

#[test]
fn pairs_are_encoded_as_berts_own_tokenizer_does() {
    let Reference { vocabulary, pairs } = reference();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.txt");
    fs_err::write(&path, &vocabulary).unwrap();
    let bert = WordPiece::open(&path, 128).unwrap();
    assert_eq!((bert.vocabulary(), bert.id("[CLS]"), bert.id("[SEP]")), (30_522, Some(101), Some(102)));
    let texts: Vec<(&str, &str)> = pairs.iter().map(|pair| (pair.0.as_str(), pair.1.as_str())).collect();
    let EncodedPairs { rows, length, ids, type_ids, attention_mask } = bert.encode_pairs(&texts, Padding::Fixed).unwrap();
    assert_eq!((rows, length), (17, 128));
    for (row, (first, second, expected_ids, expected_types)) in pairs.iter().enumerate() {
        let n = expected_ids.len();
        let row = row * length..(row + 1) * length;
        assert_eq!(ids[row.clone()][..n], *expected_ids, "{first} | {second}");
        assert_eq!(type_ids[row.clone()][..n], *expected_types, "{first} | {second}");
        assert!(ids[row.clone()][n..].iter().chain(&type_ids[row.clone()][n..]).all(|&id| id == 0));
        assert_eq!(attention_mask[row].iter().sum::<u32>() as usize, n);
    }
    // The longest pairs are cut to 128, and one alone is as long as it is.
    assert!(pairs.iter().filter(|pair| pair.2.len() == 128).count() == 3);
    let alone = bert.encode_pairs(&texts[..1], Padding::Longest).unwrap();
    assert_eq!(alone.ids, pairs[0].2);
}
