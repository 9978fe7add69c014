//! The tokens of many documents one after another, in memory or in a file.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::{Bpe, DataError};

/// Documents with together more bytes than this are encoded before more are read.
const BYTES_AT_ONCE: usize = 4 << 20;
/// Bytes read from a file at once where all of it is checked.
const CHUNK: usize = 1 << 20;
/// The first bytes of a file of tokens, with the version of its layout.
const MAGIC: [u8; 16] = *b"isorate tokens 1";

/// The tokens of documents: end of text, the first document, end of text, the second one, …, end of text. Each id takes 16 bits.
///
/// The end of text stands before the first document too, so that every token of every document follows another one, and the first ones all
/// follow the end of text.
pub struct TokenStream {
    store: Store,
    vocabulary: usize,
    length: u64,
    counts: Vec<u64>,
}

enum Store {
    Memory(Vec<u16>),
    /// The tokens begin at `start`, each two bytes, little-endian.
    File {
        file: Mutex<fs_err::File>,
        start: u64,
    },
}

impl TokenStream {
    /// Encodes all documents, in parallel, and keeps the tokens in memory: 2 bytes each.
    ///
    /// # Errors
    /// The first error of the documents; [`DataError::Empty`] without one; [`DataError::Tokenizer`] should the tokenizer fail.
    ///
    /// ```
    /// use isorate_data::{Bpe, TokenStream};
    /// let bpe = Bpe::embedded()?;
    /// let documents = ["one", "two"].map(|text| Ok(text.to_owned()));
    /// let tokens = TokenStream::in_memory(&bpe, documents)?;
    /// assert_eq!(tokens.counts()[bpe.end_of_text() as usize], 3);
    /// # Ok::<(), isorate_data::DataError>(())
    /// ```
    pub fn in_memory(bpe: &Bpe, documents: impl IntoIterator<Item = Result<String, DataError>>) -> Result<Self, DataError> {
        let mut all = Vec::new();
        let counts = encode(bpe, documents, |tokens| {
            all.extend_from_slice(tokens);
            Ok(())
        })?;
        Ok(Self { length: all.len() as u64, store: Store::Memory(all), vocabulary: bpe.vocabulary(), counts })
    }

    /// Opens the file of tokens at `path` or, if there is none that holds these tokens, makes it from the documents. Memory does not grow with
    /// their number; TinyStories has some 0.5 billion tokens, 1 GB on disk.
    ///
    /// `origin` says which documents these are, for instance the checksums of their files: a file that was made from another origin or
    /// with another tokenizer, or that was altered since (its checksum is compared), is made anew. It appears whole or not at all.
    ///
    /// # Errors
    /// As [`Self::in_memory`]; [`DataError::Io`] when the file cannot be read or written.
    pub fn on_disk<D: IntoIterator<Item = Result<String, DataError>>>(
        path: &Path,
        origin: &str,
        bpe: &Bpe,
        documents: impl FnOnce() -> Result<D, DataError>,
    ) -> Result<Self, DataError> {
        let mut key = blake3::Hasher::new_derive_key("isorate token file v1");
        key.update(bpe.checksum().as_bytes()).update(origin.as_bytes());
        let key = *key.finalize().as_bytes();
        if let Some(stream) = open(path, key, bpe.vocabulary())? {
            return Ok(stream);
        }
        write(path, key, bpe, documents()?)?;
        open(path, key, bpe.vocabulary())?
            .ok_or_else(|| io::Error::other(format!("{}: changed while it was written", path.display())).into())
    }

    /// The number of tokens, at least 3.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one document")]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The number of types: every id is below it.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// How often each type occurs.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Reads the tokens from place `start` into `out`.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a place past the end; [`DataError::Io`] when the file cannot be read.
    pub fn read(&self, start: u64, out: &mut [u16]) -> Result<(), DataError> {
        let end = start.checked_add(out.len() as u64).filter(|&end| end <= self.length);
        if end.is_none() {
            let rule = format!("with {} tokens from there must not pass the {} there are", out.len(), self.length);
            return Err(DataError::setting("place", start, rule));
        }
        match &self.store {
            Store::Memory(tokens) => {
                #[expect(clippy::cast_possible_truncation, reason = "a place in memory, as checked above")]
                let start = start as usize;
                out.copy_from_slice(&tokens[start..start + out.len()]);
            }
            Store::File { file, start: first } => {
                let mut bytes = vec![0; 2 * out.len()];
                // A thread that panicked while it read leaves a position behind, and every read sets it anew.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(first + 2 * start))?;
                file.read_exact(&mut bytes)?;
                for (token, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    // Checked when the file was opened; what changed since then must not become an index that nothing has.
                    *token = u16::from_le_bytes(*bytes);
                    if usize::from(*token) >= self.vocabulary {
                        let rule = format!("must be below {}; the file was altered", self.vocabulary);
                        return Err(DataError::setting("token", *token, rule));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Gives the tokens of all documents to `take`, some at a time, and returns how often each type occurs.
fn encode(
    bpe: &Bpe,
    documents: impl IntoIterator<Item = Result<String, DataError>>,
    mut take: impl FnMut(&[u16]) -> io::Result<()>,
) -> Result<Vec<u64>, DataError> {
    let end = u16::try_from(bpe.end_of_text()).expect("a vocabulary has at most 2¹⁶ types");
    let mut counts = vec![0; bpe.vocabulary()];
    let mut documents = documents.into_iter();
    let mut tokens = vec![end];
    loop {
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES_AT_ONCE {
            let Some(text) = documents.next().transpose()? else { break };
            bytes += text.len();
            texts.push(text);
        }
        if texts.is_empty() {
            break;
        }
        for ids in bpe.encode_all(&texts)? {
            tokens.extend(ids.into_iter().map(|id| u16::try_from(id).expect("a vocabulary has at most 2¹⁶ types")));
            tokens.push(end);
        }
        for &token in &tokens {
            counts[usize::from(token)] += 1;
        }
        take(&tokens)?;
        tokens.clear();
    }
    if !tokens.is_empty() {
        return Err(DataError::Empty { name: "documents".to_owned() });
    }
    Ok(counts)
}

/// Magic bytes, key, BLAKE3 of everything after it, the number of tokens, and the count of each type.
fn header_length(vocabulary: usize) -> u64 {
    (MAGIC.len() + 32 + 32 + 8 + 8 * vocabulary) as u64
}

fn write(
    path: &Path,
    key: [u8; 32],
    bpe: &Bpe,
    documents: impl IntoIterator<Item = Result<String, DataError>>,
) -> Result<(), DataError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let at = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let temporary = tempfile::NamedTempFile::new_in(folder)?;
    let mut file = BufWriter::new(temporary);
    file.seek(SeekFrom::Start(header_length(bpe.vocabulary()))).map_err(at)?;
    // The tokens come first, because counts and length are known at the end.
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0u64);
    let counts = encode(bpe, documents, |tokens| {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        hasher.update(&bytes);
        length += tokens.len() as u64;
        file.write_all(&bytes).map_err(at)
    })?;
    hasher.update(&length.to_le_bytes());
    for count in &counts {
        hasher.update(&count.to_le_bytes());
    }
    let mut header = [&MAGIC[..], &key, hasher.finalize().as_bytes(), &length.to_le_bytes()].concat();
    header.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
    file.seek(SeekFrom::Start(0)).map_err(at)?;
    file.write_all(&header).map_err(at)?;
    let temporary = file.into_inner().map_err(|e| at(e.into_error()))?;
    temporary.as_file().sync_all().map_err(at)?;
    temporary.persist(path).map_err(|e| at(e.error))?;
    Ok(())
}

/// The file at `path`, if it is there, was made under this key, and is whole.
fn open(path: &Path, key: [u8; 32], vocabulary: usize) -> Result<Option<TokenStream>, DataError> {
    if !path.try_exists()? {
        return Ok(None);
    }
    let mut file = fs_err::File::open(path)?;
    let start = header_length(vocabulary);
    let size = file.seek(SeekFrom::End(0))?;
    if size < start {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    let mut fixed = [0; 16 + 32 + 32 + 8];
    file.read_exact(&mut fixed)?;
    let (before, checksum) = (&fixed[..48], &fixed[48..80]);
    let length = u64::from_le_bytes(fixed[80..].try_into().expect("8 bytes"));
    if before != [&MAGIC[..], &key].concat() || length.checked_mul(2).and_then(|bytes| bytes.checked_add(start)) != Some(size) {
        return Ok(None);
    }
    let mut counts = vec![0; 8 * vocabulary];
    file.read_exact(&mut counts)?;
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
    }
    hasher.update(&fixed[80..]).update(&counts);
    if hasher.finalize().as_bytes() != checksum {
        return Ok(None);
    }
    let counts = counts.as_chunks().0.iter().map(|count| u64::from_le_bytes(*count)).collect();
    Ok(Some(TokenStream { store: Store::File { file: Mutex::new(file), start }, vocabulary, length, counts }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn all(stream: &TokenStream) -> Vec<u16> {
        let mut tokens = vec![0; usize::try_from(stream.len()).unwrap()];
        stream.read(0, &mut tokens).unwrap();
        tokens
    }

    fn documents() -> Vec<Result<String, DataError>> {
        (0..300).map(|i| Ok(format!("Document {i}, which is not long. {}", "Ω\n".repeat(i % 7)))).collect()
    }

    #[test]
    fn every_token_is_there_once_and_documents_are_apart() {
        let bpe = Bpe::embedded().unwrap();
        let stream = TokenStream::in_memory(&bpe, documents()).unwrap();
        let tokens = all(&stream);
        let mut expected = vec![0];
        for document in documents() {
            expected.extend(bpe.encode(&document.unwrap()).unwrap());
            expected.push(0);
        }
        assert_eq!(tokens.iter().map(|&token| u32::from(token)).collect::<Vec<_>>(), expected);
        assert_eq!(stream.counts().iter().sum::<u64>(), stream.len());
        for id in [0, 17, 300] {
            assert_eq!(stream.counts()[id], tokens.iter().filter(|&&token| usize::from(token) == id).count() as u64);
        }
    }

    #[test]
    fn a_file_is_made_once_and_again_when_it_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/tokens");
        let bpe = Bpe::embedded().unwrap();
        let made = Cell::new(0);
        let on_disk = |origin: &str| {
            TokenStream::on_disk(&path, origin, &bpe, || {
                made.set(made.get() + 1);
                Ok(documents())
            })
            .unwrap()
        };
        let stream = TokenStream::in_memory(&bpe, documents()).unwrap();
        for (origin, times) in [("a", 1), ("a", 1), ("b", 2), ("b", 2)] {
            let file = on_disk(origin);
            assert_eq!((all(&file), file.counts(), made.get()), (all(&stream), stream.counts(), times));
            let mut middle = [0; 5];
            file.read(7, &mut middle).unwrap();
            assert_eq!(middle, all(&stream)[7..12]);
            assert!(matches!(file.read(file.len() - 4, &mut middle), Err(DataError::Setting { .. })));
        }
        let good = fs_err::read(&path).unwrap();
        for at in [0, 20, 60, 85, 100, 40_000, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs_err::write(&path, &bad).unwrap();
            let before = made.get();
            assert_eq!(all(&on_disk("b")), all(&stream));
            assert_eq!((made.get(), fs_err::read(&path).unwrap()), (before + 1, good.clone()), "byte {at}");
        }
        for cut in [0, 50, good.len() - 2] {
            fs_err::write(&path, &good[..cut]).unwrap();
            assert_eq!(all(&on_disk("b")), all(&stream));
        }
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside the file");
    }

    #[test]
    fn an_error_of_the_documents_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let bpe = Bpe::embedded().unwrap();
        let broken = || Ok([Ok("a".to_owned()), Err(DataError::Empty { name: "x".into() })]);
        assert!(TokenStream::on_disk(&path, "", &bpe, broken).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let none = TokenStream::in_memory(&bpe, []).err().unwrap();
        insta::assert_snapshot!(none, @"documents: no rows; a data set needs at least one");
    }
}
