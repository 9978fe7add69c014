//! Image files of a whole set, each within reach: in memory while they are few, else in a temporary file.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Byte strings, numbered in the order in which they came.
///
/// A parquet page can only be decompressed as a whole, so reading one image of it costs as much as reading all; a shuffled epoch would
/// decompress each page once for each image in it. Stored one after another they are read in any order.
pub(crate) struct Encoded {
    /// Where each one ends; it begins where the one before ends.
    ends: Vec<u64>,
    store: Store,
}

enum Store {
    Memory(Vec<u8>),
    /// Has no name, so that nothing is left behind however the process ends.
    File(Mutex<fs_err::File>),
}

/// Collects what becomes an [`Encoded`].
pub(crate) struct Collector {
    ends: Vec<u64>,
    /// What is not in the file.
    bytes: Vec<u8>,
    file: Option<BufWriter<fs_err::File>>,
    /// More than this goes to the file.
    in_memory: usize,
    folder: PathBuf,
}

impl Collector {
    /// Keeps up to `in_memory` bytes in memory; more go to a temporary file in `folder` or, where that cannot be written, in the
    /// system's folder for temporary files.
    pub(crate) fn new(in_memory: usize, folder: &Path) -> Self {
        Self { ends: Vec::new(), bytes: Vec::new(), file: None, in_memory, folder: folder.to_owned() }
    }

    pub(crate) fn push(&mut self, item: &[u8]) -> io::Result<()> {
        self.ends.push(self.ends.last().copied().unwrap_or(0) + item.len() as u64);
        if let Some(file) = &mut self.file {
            return file.write_all(item);
        }
        self.bytes.extend_from_slice(item);
        if self.bytes.len() > self.in_memory {
            let file = tempfile::tempfile_in(&self.folder).or_else(|_| tempfile::tempfile())?;
            let mut file = BufWriter::new(fs_err::File::from_parts(file, self.folder.join("(temporary file of images)")));
            file.write_all(&self.bytes)?;
            self.bytes = Vec::new();
            self.file = Some(file);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<Encoded> {
        self.ends.shrink_to_fit();
        self.bytes.shrink_to_fit();
        let store = match self.file {
            None => Store::Memory(self.bytes),
            Some(file) => Store::File(Mutex::new(file.into_inner().map_err(io::IntoInnerError::into_error)?)),
        };
        Ok(Encoded { ends: self.ends, store })
    }
}

impl Encoded {
    fn range(&self, index: usize) -> Range<u64> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }

    /// The items at `indices`.
    ///
    /// # Panics
    /// For an index past the end.
    pub(crate) fn read(&self, indices: &[usize]) -> io::Result<Vec<Vec<u8>>> {
        match &self.store {
            Store::Memory(bytes) => Ok(indices
                .iter()
                .map(|&index| {
                    let Range { start, end } = self.range(index);
                    let place = |at: u64| usize::try_from(at).expect("all of it is in memory");
                    bytes[place(start)..place(end)].to_vec()
                })
                .collect()),
            Store::File(file) => {
                // A thread that panicked while it read leaves a position behind, and every read sets it anew.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let mut read = |&index: &usize| {
                    let Range { start, end } = self.range(index);
                    file.seek(SeekFrom::Start(start))?;
                    let mut item = vec![0; usize::try_from(end - start).expect("it was in memory once")];
                    file.read_exact(&mut item)?;
                    Ok(item)
                };
                indices.iter().map(&mut read).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let items: Vec<Vec<u8>> = (0..50u8).map(|i| vec![i; usize::from(i) % 7]).collect();
        for in_memory in [0, 20, 1000] {
            let mut collector = Collector::new(in_memory, folder.path());
            for item in &items {
                collector.push(item).unwrap();
            }
            let encoded = collector.finish().unwrap();
            assert_eq!(matches!(encoded.store, Store::File(_)), in_memory < 1000);
            let read = encoded.read(&[3, 49, 0, 7, 3, 20]).unwrap();
            assert_eq!(read, [3, 49, 0, 7, 3, 20].map(|i: usize| items[i].clone()));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_obstacle() {
        let mut collector = Collector::new(0, Path::new("/there/is/no/such/folder"));
        collector.push(b"abc").unwrap();
        assert_eq!(collector.finish().unwrap().read(&[0]).unwrap(), [b"abc"]);
    }
}
