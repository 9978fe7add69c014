//! Documents in the parquet schema of the Hugging Face hub: one text a row.

use std::io::{Cursor, Read, Seek};
use std::path::PathBuf;

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use crate::DataError;
use crate::decode::ROWS_AT_ONCE;
use crate::parquet::to_bytes;
use crate::shards::{Kind, Shard, Wanted};

const TEXT: &str = "text";
const NAME: &str = "name";
pub(crate) const WANTED: [Wanted<'static>; 1] = [Wanted { name: TEXT, kind: Kind::Text }];

/// Reads all documents from the bytes of a parquet file with a string column `text`, as TinyStories has it on the hub. Other columns
/// are ignored. `name` stands for the file in error messages.
///
/// # Errors
/// Every way in which the file can differ from that has its own variant of [`DataError`]; damaged files are errors, never panics.
pub fn read_text(bytes: &[u8], name: &str) -> Result<Vec<String>, DataError> {
    let mut shard = Shard::new(Cursor::new(bytes), name, &WANTED)?;
    let mut documents = Vec::new();
    while let Some(block) = next_texts(&mut shard)? {
        documents.extend(block);
    }
    if documents.is_empty() {
        return Err(DataError::Empty { name: name.to_owned() });
    }
    Ok(documents)
}

/// The bytes of a parquet file in the schema that [`read_text`] reads, with one more column: `name`, what each document is called.
/// The same input and the same lock file give the same bytes.
///
/// # Errors
/// [`DataError::Empty`] without a document; [`DataError::Setting`] when there is not one name for each; [`DataError::WriteParquet`] should the parquet writer fail.
pub fn write_text(documents: &[String], names: &[String]) -> Result<Vec<u8>, DataError> {
    if documents.len() != names.len() {
        return Err(DataError::setting("number of names", names.len(), format!("must be {}", documents.len())));
    }
    if documents.is_empty() {
        return Err(DataError::Empty { name: "documents".to_owned() });
    }
    let columns = vec![Series::new(TEXT.into(), documents).into_column(), Series::new(NAME.into(), names).into_column()];
    DataFrame::new(documents.len(), columns)
        .and_then(|mut table| to_bytes(&mut table))
        .map_err(|e| DataError::WriteParquet { reason: e.to_string() })
}

/// The documents of one or more parquet files in the schema of [`read_text`], one after another, a page of a file in memory at a time:
/// TinyStories is 2 GB of text in four files.
///
/// An iterator; after an error it ends.
///
/// ```no_run
/// use isorate_data::{Bpe, Documents};
/// let files = ["train-00000-of-00004.parquet".into(), "train-00001-of-00004.parquet".into()];
/// let bpe = Bpe::train(Documents::open(&files)?, 4_096)?;
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub struct Documents {
    rows: usize,
    /// Those not begun, the next one last.
    files: Vec<PathBuf>,
    shard: Option<Shard<fs_err::File>>,
    block: std::vec::IntoIter<String>,
}

impl Documents {
    /// Checks that each file is there with its column. The documents follow in the order of the files and of their rows.
    ///
    /// # Errors
    /// As [`read_text`]; [`DataError::Io`] when a file cannot be read, [`DataError::Empty`] when no file has a row.
    pub fn open(paths: &[PathBuf]) -> Result<Self, DataError> {
        let mut rows = 0;
        for path in paths {
            rows += Shard::open(path, &WANTED)?.rows();
        }
        if rows == 0 {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(DataError::Empty { name: if names.is_empty() { "documents".to_owned() } else { names.join(", ") } });
        }
        Ok(Self::of(paths.to_vec(), rows))
    }

    /// [`Self::open`] without looking at the files, which have `rows` rows.
    pub(crate) fn of(mut files: Vec<PathBuf>, rows: usize) -> Self {
        files.reverse();
        Self { rows, files, shard: None, block: Vec::new().into_iter() }
    }

    /// The number of documents that the files announce.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn advance(&mut self) -> Result<Option<String>, DataError> {
        loop {
            if let Some(document) = self.block.next() {
                return Ok(Some(document));
            }
            if let Some(shard) = &mut self.shard {
                match next_texts(shard)? {
                    Some(block) => self.block = block.into_iter(),
                    None => self.shard = None,
                }
            } else if let Some(path) = self.files.pop() {
                self.shard = Some(Shard::open(&path, &WANTED)?);
            } else {
                return Ok(None);
            }
        }
    }
}

impl Iterator for Documents {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.files.clear();
            self.shard = None;
        }
        next.transpose()
    }
}

/// The next documents of a file, or `None` after the last one.
fn next_texts<R: Read + Seek>(shard: &mut Shard<R>) -> Result<Option<Vec<String>>, DataError> {
    let Some(block) = shard.next_block(ROWS_AT_ONCE)? else { return Ok(None) };
    Ok(Some(block.texts(0)?.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|i| format!("story {i}: {}", "ö\n".repeat(i % 5))).collect()
    }

    fn file(documents: &[String]) -> Vec<u8> {
        write_text(documents, documents).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let documents = texts(0..3000);
        assert_eq!(read_text(&file(&documents), "x").unwrap(), documents);
        assert_eq!(file(&documents), file(&documents));
        let error = write_text(&documents[..2], &documents[..1]).unwrap_err();
        insta::assert_snapshot!(error, @"number of names = 1: must be 2");
        assert!(matches!(write_text(&[], &[]), Err(DataError::Empty { .. })));
    }

    #[test]
    fn files_follow_each_other_and_errors_end_them() {
        let folder = tempfile::tempdir().unwrap();
        let all = texts(0..2500);
        let paths: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| folder.path().join(name)).collect();
        for (path, range) in paths.iter().zip([0..1200, 1200..1201, 1201..2500]) {
            std::fs::write(path, file(&all[range])).unwrap();
        }
        let documents = Documents::open(&paths).unwrap();
        assert_eq!(documents.rows(), 2500);
        assert_eq!(documents.map(Result::unwrap).collect::<Vec<_>>(), all);

        let mut documents = Documents::open(&paths).unwrap();
        std::fs::write(&paths[2], b"<html>").unwrap();
        let read: Vec<_> = documents.by_ref().take_while(Result::is_ok).collect();
        assert_eq!(read.len(), 1201);
        assert!(documents.next().is_none());
        assert!(matches!(Documents::open(&paths), Err(DataError::NotParquet { .. })));
    }

    #[test]
    fn what_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Documents::open(&[]), Err(DataError::Empty { .. })));
        assert!(matches!(Documents::open(&[folder.path().join("none")]), Err(DataError::Io(_))));
        let mut table = DataFrame::new(1, vec![Series::new("texts".into(), ["a"]).into_column()]).unwrap();
        let other = to_bytes(&mut table).unwrap();
        insta::assert_snapshot!(read_text(&other, "x").unwrap_err(), @r#"x: column "text" is missing; the file has texts: string"#);
        let mut table = DataFrame::new(2, vec![Series::new(TEXT.into(), [Some("a"), None]).into_column()]).unwrap();
        let null = to_bytes(&mut table).unwrap();
        insta::assert_snapshot!(read_text(&null, "x").unwrap_err(), @"x: row 1: text is null");
    }
}
