//! Byte-level byte pair encoding.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{AddedToken, Tokenizer};

use crate::DataError;

/// What stands between documents; its id is 0.
const END_OF_TEXT: &str = "<|endoftext|>";
/// The end of text and the 256 bytes.
const SMALLEST: usize = 257;
/// Ids are stored in 16 bits.
const LARGEST: usize = 1 << 16;
/// A pair that occurs once is chance.
const MIN_FREQUENCY: u64 = 2;

/// The tokenizer of the embedded text, as the example `train_bpe` makes it.
static EMBEDDED: &[u8] = include_bytes!("../assets/sotu/tokenizer.json");

/// A byte-level BPE as GPT-2 has it (Sennrich et al. 2016; Radford et al. 2019): text is cut into words by GPT-2's pattern, a word is a
/// sequence of bytes, and learned merges join them. Nothing is normalized and every byte is a token, so any text can be encoded
/// and decodes to itself.
///
/// Ids: 0 is the end of text, 1 to 256 are the bytes, and one follows for each merge, the most frequent first.
///
/// ```
/// use isorate_data::Bpe;
/// let bpe = Bpe::embedded()?;
/// let ids = bpe.encode("The state of the Union is strong.")?;
/// assert_eq!(ids.len(), 9);
/// assert_eq!(bpe.decode(&ids)?, "The state of the Union is strong.");
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub struct Bpe {
    name: String,
    tokenizer: Tokenizer,
    vocabulary: usize,
    json: String,
}

impl Bpe {
    /// The tokenizer with 4,096 types that was trained on the training part of
    /// [`state_of_the_union`](crate::state_of_the_union).
    ///
    /// # Errors
    /// None: the tests of this crate read it.
    pub fn embedded() -> Result<Self, DataError> {
        Self::from_json(EMBEDDED, "embedded tokenizer of sotu")
    }

    /// Learns merges until there are `vocabulary` types. Memory holds the distinct words, not the documents.
    ///
    /// The result does not depend on the order of the documents or the number of threads: merges are taken by the frequency of the pair,
    /// equal ones by the smaller ids. (The trainer of the `tokenizers` crate iterates hash maps. It may queue a pair twice, and then
    /// their order could matter, only if two different merges make the same token; that is checked, and an error.)
    ///
    /// # Errors
    /// The first error of the documents. [`DataError::Setting`] for a vocabulary outside 257 to 65,536 or larger than what
    /// the documents give; [`DataError::Tokenizer`] should the training fail.
    pub fn train(
        documents: impl Iterator<Item = Result<String, DataError>> + Send,
        vocabulary: usize,
    ) -> Result<Self, DataError> {
        if !(SMALLEST..=LARGEST).contains(&vocabulary) {
            let rule = format!("must be in {SMALLEST}..={LARGEST}: the end of text, 256 bytes and the merges");
            return Err(DataError::setting("vocabulary", vocabulary, rule));
        }
        let name = "training of a tokenizer";
        let mut tokenizer = Tokenizer::new(BPE::default());
        // No space before the first word, which the decoder could not tell from a real one.
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
        tokenizer.with_decoder(Some(ByteLevel::new(false, false, true)));
        let trainer = BpeTrainer::builder()
            .vocab_size(vocabulary)
            .min_frequency(MIN_FREQUENCY)
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build();
        // The trainer takes texts only: an error ends them, and is looked at afterwards.
        let failed = Mutex::new(None);
        let texts = documents.map_while(|document| {
            document.map_err(|error| *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error)).ok()
        });
        let trained = tokenizer.train(&mut TrainerWrapper::from(trainer), texts).map(|_| ());
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        trained.map_err(|e| broken(name, &e.to_string()))?;
        let json = tokenizer.to_string(false).map_err(|e| broken(name, &e.to_string()))?;
        let bpe = Self::from_json(json.as_bytes(), name)?;
        if bpe.vocabulary != vocabulary {
            let rule = format!("the documents give {} types\nhint: ask for at most as many", bpe.vocabulary);
            return Err(DataError::setting("vocabulary", vocabulary, rule));
        }
        Ok(bpe)
    }

    /// Reads a `tokenizer.json` as [`Self::to_json`] gives it. `name` stands for the file in messages.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when it is not one, or not with a byte for each of 256 types, an end of text at id 0, and a type for each merge.
    pub fn from_json(bytes: &[u8], name: &str) -> Result<Self, DataError> {
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| broken(name, &e.to_string()))?;
        // The end of text comes from us alone: a document that holds these characters is encoded as any other text.
        tokenizer.set_encode_special_tokens(true);
        let vocabulary = tokenizer.get_vocab_size(true);
        if !(SMALLEST..=LARGEST).contains(&vocabulary) {
            return Err(broken(name, &format!("{vocabulary} types, but must be {SMALLEST}..={LARGEST}")));
        }
        if tokenizer.token_to_id(END_OF_TEXT) != Some(0) {
            return Err(broken(name, "the id of the end of text must be 0"));
        }
        let json = tokenizer.to_string(false).map_err(|e| broken(name, &e.to_string()))?;
        let merges = merges(&json).map_err(|reason| broken(name, &reason))?;
        if merges + SMALLEST != vocabulary {
            let rule = format!("{merges} merges for {vocabulary} types: each type but {SMALLEST} must come from one merge");
            return Err(broken(name, &rule));
        }
        Ok(Self { name: name.to_owned(), tokenizer, vocabulary, json })
    }

    /// The tokenizer as a `tokenizer.json` of the `tokenizers` library. The same tokenizer gives the same text.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// BLAKE3 of [`Self::to_json`] in hexadecimal.
    pub fn checksum(&self) -> String {
        blake3::hash(self.json.as_bytes()).to_hex().to_string()
    }

    /// The number of types: every id is below it.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The id that stands between documents.
    #[allow(clippy::unused_self, reason = "which id it is belongs to the tokenizer")]
    pub fn end_of_text(&self) -> u32 {
        0
    }

    /// The characters that a type stands for, as `tokenizer.json` writes them: "Ġ" is a space.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The ids of a text; never [`Self::end_of_text`].
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] should the tokenizer fail.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|e| broken(&self.name, &e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// [`Self::encode`] of each text, in order, in parallel.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_all(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, DataError> {
        texts.par_iter().map(|text| self.encode(text)).collect()
    }

    /// The text of ids. Bytes that are not UTF-8, as when a character is cut, become U+FFFD.
    ///
    /// # Errors
    /// [`DataError::Setting`] for an id that is not below [`Self::vocabulary`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        if let Some(past) = ids.iter().find(|&&id| id as usize >= self.vocabulary) {
            return Err(DataError::setting("token", past, format!("must be below {}", self.vocabulary)));
        }
        self.tokenizer.decode(ids, false).map_err(|e| broken(&self.name, &e.to_string()))
    }
}

/// The number of merges in a `tokenizer.json`.
fn merges(json: &str) -> Result<usize, String> {
    let json: serde_json::Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    if json["model"]["type"] != "BPE" {
        return Err(format!("the model is {}, and must be \"BPE\"", json["model"]["type"]));
    }
    json["model"]["merges"].as_array().map(Vec::len).ok_or_else(|| "the model has no merges".to_owned())
}

fn broken(name: &str, reason: &str) -> DataError {
    DataError::Tokenizer { name: name.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_decodes_to_itself(text in "(\\PC|\\s|[\u{0}-\u{ff}]|<\\|endoftext\\|>){0,60}") {
            static BPE: std::sync::LazyLock<Bpe> = std::sync::LazyLock::new(|| Bpe::embedded().unwrap());
            let ids = BPE.encode(&text).unwrap();
            prop_assert!(ids.iter().all(|&id| (1..4_096).contains(&id)));
            prop_assert_eq!(BPE.decode(&ids).unwrap(), text);
        }
    }

    fn texts(shift: usize) -> Vec<String> {
        let words = ["the ", "then ", "other ", "there, ", "he\n", "ää ", "no", "tho"];
        (0..400).map(|i| (0..9).map(|j| words[((i + shift) % 400 * 7 + j * j) % words.len()]).collect()).collect()
    }

    fn train(texts: Vec<String>, vocabulary: usize) -> Result<Bpe, DataError> {
        Bpe::train(texts.into_iter().map(Ok), vocabulary)
    }

    #[test]
    fn training_depends_on_the_texts_alone() {
        let bpe = train(texts(0), 270).unwrap();
        assert_eq!(bpe.vocabulary(), 270);
        let other = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(other.install(|| train(texts(100), 270)).unwrap().to_json(), bpe.to_json());
        assert_eq!(bpe.checksum(), train(texts(0), 270).unwrap().checksum());
        // The most frequent pair of bytes first.
        assert_eq!(bpe.token(257).unwrap(), "he");
        assert_eq!(bpe.encode("the").unwrap().len(), 1);
        assert_eq!(Bpe::from_json(bpe.to_json().as_bytes(), "x").unwrap().to_json(), bpe.to_json());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |result: Result<Bpe, DataError>| result.err().unwrap();
        insta::assert_snapshot!(error(train(texts(0), 256)), @"vocabulary = 256: must be in 257..=65536: the end of text, 256 bytes and the merges");
        let few = error(train(vec!["abab".into()], 300)).to_string();
        assert!(few.starts_with("vocabulary = 300: the documents give ") && few.contains("hint"), "{few}");
        let documents = [Ok("a".to_owned()), Err(DataError::Empty { name: "x".into() }), Ok("b".to_owned())];
        assert!(matches!(Bpe::train(documents.into_iter(), 257), Err(DataError::Empty { .. })));
        let bpe = Bpe::embedded().unwrap();
        insta::assert_snapshot!(bpe.decode(&[4_096]).unwrap_err(), @"token = 4096: must be below 4096");
        assert!(Bpe::from_json(b"{}", "x").is_err());
        assert!(Bpe::from_json(&EMBEDDED[..EMBEDDED.len() / 2], "x").is_err());
        let renamed = String::from_utf8(EMBEDDED.to_vec()).unwrap().replace("endoftext", "end");
        insta::assert_snapshot!(error(Bpe::from_json(renamed.as_bytes(), "x")), @"x: the id of the end of text must be 0");
    }

    #[test]
    fn the_end_of_text_is_not_in_any_text() {
        let bpe = Bpe::embedded().unwrap();
        let ids = bpe.encode("a<|endoftext|>b").unwrap();
        assert!(!ids.contains(&bpe.end_of_text()));
        assert_eq!(bpe.decode(&ids).unwrap(), "a<|endoftext|>b");
        assert_eq!(bpe.decode(&[bpe.end_of_text()]).unwrap(), "<|endoftext|>");
    }
}
