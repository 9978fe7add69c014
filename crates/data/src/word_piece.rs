//! WordPiece, the tokenizer of BERT.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use tokenizers::models::wordpiece::WordPiece as Model;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{Tokenizer, TruncationParams, TruncationStrategy};

use crate::DataError;

const UNKNOWN: &str = "[UNK]";
const CLASS: &str = "[CLS]";
const SEPARATOR: &str = "[SEP]";
const PADDING: &str = "[PAD]";
/// `[CLS] a [SEP] b [SEP]` with one token in each sentence.
const SHORTEST: usize = 5;

/// How long the rows of an [`EncodedPairs`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As long as the longest pair encoded with them: less work for the model, and with the attention mask the same result.
    Longest,
    /// As long as the longest pair may be.
    Fixed,
}

/// Pairs of sentences as BERT takes them: three matrices of `rows × length`, row after row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPairs {
    /// The number of pairs.
    pub rows: usize,
    /// Tokens of each, with padding.
    pub length: usize,
    /// Ids of the tokens of `[CLS] first [SEP] second [SEP]`, then of `[PAD]`.
    pub ids: Vec<u32>,
    /// 1 from the first token of the second sentence to the last `[SEP]`, 0 elsewhere.
    pub type_ids: Vec<u32>,
    /// 1 for tokens, 0 for padding.
    pub attention_mask: Vec<u32>,
}

/// WordPiece as in BERT (Devlin et al. 2019): sentences are cleaned, made small and freed of accents where the model is uncased, cut at spaces and
/// punctuation, and each word into the longest pieces of the vocabulary from the left.
///
/// A pair that is too long loses tokens at the end of its longer sentence until it fits. Where both must be cut, the `tokenizers`
/// library, and so this type, cuts both to half, the odd token going to the longer one; the older Python code takes tokens off
/// one by one, which can leave the odd token to the other sentence.
///
/// ```
/// use isorate_data::{Padding, WordPiece};
/// let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nit\nrain\n##s\nis\nwet\n.\n";
/// let bert = WordPiece::from_vocabulary(vocabulary, "vocab.txt", 8)?;
/// let pairs = bert.encode_pairs(&[("It rains.", "Wet")], Padding::Fixed)?;
/// assert_eq!(pairs.ids, [2, 4, 5, 6, 9, 3, 8, 3]);
/// assert_eq!(pairs.type_ids, [0, 0, 0, 0, 0, 0, 1, 1]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub struct WordPiece {
    name: String,
    tokenizer: Tokenizer,
    longest: usize,
    padding: u32,
}

impl WordPiece {
    /// Reads a `tokenizer.json` or an uncased BERT's `vocab.txt`, whichever it is. A pair has at most `longest` tokens, `[CLS]` and `[SEP]` counted.
    ///
    /// # Errors
    /// As [`Self::from_vocabulary`] and [`Self::from_json`]; [`DataError::Io`] when the file cannot be read.
    pub fn open(path: &Path, longest: usize) -> Result<Self, DataError> {
        let text = fs_err::read_to_string(path)?;
        let name = path.display().to_string();
        if text.trim_start().starts_with('{') {
            Self::from_json(&text, &name, longest)
        } else {
            Self::from_vocabulary(&text, &name, longest)
        }
    }

    /// The tokenizer of an uncased BERT with the vocabulary of a `vocab.txt`: one token a line, its id the number of the line from 0.
    /// `name` stands for the file in messages.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when a token comes twice or one of `[UNK]`, `[CLS]`, `[SEP]`, `[PAD]` is missing;
    /// [`DataError::Setting`] when `longest` is below 5.
    pub fn from_vocabulary(vocabulary: &str, name: &str, longest: usize) -> Result<Self, DataError> {
        let error = |reason: String| DataError::Tokenizer { name: name.to_owned(), reason };
        let mut lines = BTreeMap::new();
        for (line, token) in (0u32..).zip(vocabulary.lines()) {
            if let Some(first) = lines.insert(token.trim_end(), line) {
                return Err(error(format!("line {}: {token:?} stands in line {} as well", line + 1, first + 1)));
            }
        }
        let id = |token: &str| {
            let line =
                lines.get(token).ok_or_else(|| error(format!("{token} is missing\nhint: this is no vocabulary of a BERT")));
            line.map(|&line| (token.to_owned(), line))
        };
        let (separator, class) = (id(SEPARATOR)?, id(CLASS)?);
        let map = Model::read_bytes(vocabulary.as_bytes()).map_err(|e| error(e.to_string()))?;
        let model = Model::builder().vocab(map).unk_token(UNKNOWN.to_owned()).build().map_err(|e| error(e.to_string()))?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer
            .with_normalizer(Some(BertNormalizer::new(true, true, None, true)))
            .map_err(|e| error(e.to_string()))?
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_post_processor(Some(BertProcessing::new(separator, class)));
        Self::new(tokenizer, name, longest)
    }

    /// The tokenizer of a `tokenizer.json` of the `tokenizers` library. Truncation and padding written there are replaced.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when it cannot be read, has no WordPiece, does not make `[CLS] a [SEP] b [SEP]` of a pair, or lacks one of the
    /// special tokens; [`DataError::Setting`] when `longest` is below 5.
    pub fn from_json(json: &str, name: &str, longest: usize) -> Result<Self, DataError> {
        let error = |reason: String| DataError::Tokenizer { name: name.to_owned(), reason };
        let tokenizer = Tokenizer::from_bytes(json).map_err(|e| error(e.to_string()))?;
        if !matches!(tokenizer.get_model(), tokenizers::models::ModelWrapper::WordPiece(_)) {
            return Err(error("the model is not WordPiece, as BERT's is".to_owned()));
        }
        Self::new(tokenizer, name, longest)
    }

    fn new(mut tokenizer: Tokenizer, name: &str, longest: usize) -> Result<Self, DataError> {
        let error = |reason: String| DataError::Tokenizer { name: name.to_owned(), reason };
        if longest < SHORTEST {
            let rule = format!("must be at least {SHORTEST}: three special tokens and one of each sentence");
            return Err(DataError::setting("longest pair", longest, rule));
        }
        let id = |token: &str| tokenizer.token_to_id(token).ok_or_else(|| error(format!("{token} is missing")));
        let [_, class, separator, padding] = [id(UNKNOWN)?, id(CLASS)?, id(SEPARATOR)?, id(PADDING)?];
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| error(e.to_string()))?;
        let empty = tokenizer.encode_fast(("", ""), true).map_err(|e| error(e.to_string()))?;
        if (empty.get_ids(), empty.get_type_ids()) != (&[class, separator, separator], &[0, 0, 1]) {
            return Err(error("a pair of sentences does not become [CLS] a [SEP] b [SEP], as BERT has it".to_owned()));
        }
        // Truncation with a stride or without room for the special tokens is where the library's arithmetic fails; neither can be here.
        let truncation =
            TruncationParams { max_length: longest, strategy: TruncationStrategy::LongestFirst, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| error(e.to_string()))?;
        // A sentence with the characters "[SEP]" is a sentence like any other.
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { name: name.to_owned(), tokenizer, longest, padding })
    }

    /// The number of types.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The id of a token, such as `[CLS]`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Encodes each pair, in order, in parallel.
    ///
    /// # Errors
    /// [`DataError::Empty`] without a pair; [`DataError::Tokenizer`] should the tokenizer fail.
    pub fn encode_pairs(&self, pairs: &[(&str, &str)], padding: Padding) -> Result<EncodedPairs, DataError> {
        if pairs.is_empty() {
            return Err(DataError::Empty { name: "sentence pairs".to_owned() });
        }
        let encode = |&(first, second): &(&str, &str)| {
            let encoding = self.tokenizer.encode_fast((first, second), true);
            encoding.map_err(|e| DataError::Tokenizer { name: self.name.clone(), reason: e.to_string() })
        };
        let encodings = pairs.par_iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let length = match padding {
            Padding::Fixed => self.longest,
            Padding::Longest => encodings.iter().map(|encoding| encoding.get_ids().len()).max().unwrap_or(0),
        };
        let rows = pairs.len();
        let [mut ids, mut type_ids, mut attention_mask] = [(); 3].map(|()| Vec::with_capacity(rows * length));
        for (row, encoding) in (1..=rows).zip(&encodings) {
            ids.extend_from_slice(encoding.get_ids());
            ids.resize(row * length, self.padding);
            type_ids.extend_from_slice(encoding.get_type_ids());
            type_ids.resize(row * length, 0);
            attention_mask.extend_from_slice(encoding.get_attention_mask());
            attention_mask.resize(row * length, 0);
        }
        Ok(EncodedPairs { rows, length, ids, type_ids, attention_mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##a\n##b\n";

    fn bert(longest: usize) -> WordPiece {
        WordPiece::from_vocabulary(VOCABULARY, "v", longest).unwrap()
    }

    #[test]
    fn long_pairs_lose_the_end_of_the_longer_sentence() {
        let lengths = |first: usize, second: usize, longest: usize| {
            let (first, second) = ("a ".repeat(first), "b ".repeat(second));
            let ids = bert(longest).encode_pairs(&[(&first, &second)], Padding::Longest).unwrap().ids;
            (ids.iter().filter(|&&id| id == 4).count(), ids.iter().filter(|&&id| id == 5).count())
        };
        assert_eq!(lengths(3, 4, 10), (3, 4));
        assert_eq!(lengths(9, 2, 10), (5, 2));
        assert_eq!(lengths(2, 9, 10), (2, 5));
        assert_eq!(lengths(900, 2, 10), (5, 2));
        assert_eq!(lengths(9, 8, 10), (4, 3));
        assert_eq!(lengths(8, 9, 10), (3, 4));
        assert_eq!(lengths(9, 9, 5), (1, 1));
    }

    #[test]
    fn rows_are_padded_to_one_length() {
        let pairs = [("a", "b"), ("ab", "bab A"), ("", "x")];
        let encoded = bert(12).encode_pairs(&pairs, Padding::Longest).unwrap();
        assert_eq!((encoded.rows, encoded.length), (3, 9));
        assert_eq!(encoded.ids[..9], [2, 4, 3, 5, 3, 0, 0, 0, 0]);
        assert_eq!(encoded.ids[9..18], [2, 4, 7, 3, 5, 6, 7, 4, 3]);
        assert_eq!(encoded.ids[18..], [2, 3, 1, 3, 0, 0, 0, 0, 0]);
        assert_eq!(encoded.type_ids[..9], [0, 0, 0, 1, 1, 0, 0, 0, 0]);
        assert_eq!(encoded.attention_mask[18..], [1, 1, 1, 1, 0, 0, 0, 0, 0]);
        let fixed = bert(12).encode_pairs(&pairs, Padding::Fixed).unwrap();
        assert_eq!((fixed.length, fixed.ids.len(), fixed.attention_mask.iter().sum::<u32>()), (12, 36, 5 + 9 + 4));
    }

    #[test]
    fn special_tokens_come_from_us_alone() {
        let ids = bert(12).encode_pairs(&[("[SEP]", "a")], Padding::Longest).unwrap().ids;
        assert_eq!(ids.iter().filter(|&&id| id == 3).count(), 2);
    }

    #[test]
    fn what_is_no_bert_is_refused() {
        let error = |vocabulary: &str, longest| WordPiece::from_vocabulary(vocabulary, "v", longest).err().unwrap();
        insta::assert_snapshot!(error(VOCABULARY, 4), @"longest pair = 4: must be at least 5: three special tokens and one of each sentence");
        insta::assert_snapshot!(error("[PAD]\na\na\n", 8), @r#"v: line 3: "a" stands in line 2 as well"#);
        insta::assert_snapshot!(error("[PAD]\na\n", 8), @r"
        v: [SEP] is missing
        hint: this is no vocabulary of a BERT
        ");
        insta::assert_snapshot!(error("[CLS]\n[SEP]\n[PAD]\n", 8), @"v: [UNK] is missing");
        let json = crate::Bpe::embedded().unwrap().to_json().to_owned();
        let error = |json: &str| WordPiece::from_json(json, "t", 8).err().unwrap();
        insta::assert_snapshot!(error(&json), @"t: the model is not WordPiece, as BERT's is");
        assert!(error("{").to_string().starts_with("t: "));
        let error = bert(8).encode_pairs(&[], Padding::Fixed).unwrap_err();
        insta::assert_snapshot!(error, @"sentence pairs: no rows; a data set needs at least one");
    }
}
