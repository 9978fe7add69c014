//! The footer of a parquet file, looked at before it is parsed.

use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars_parquet::parquet::metadata::FileMetadata;
use polars_parquet::parquet::read::read_metadata;

use crate::DataError;
use crate::thrift::Walk;

const MAGIC: &[u8; 4] = b"PAR1";

/// Reads the metadata of a parquet file; only its first and last bytes and the footer are read.
///
/// # Errors
/// [`DataError::NotParquet`], [`DataError::TruncatedParquet`], or [`DataError::DamagedParquet`] when the footer contradicts itself.
pub(crate) fn read<R: Read + Seek>(reader: &mut R, name: &str) -> Result<FileMetadata, DataError> {
    let damaged = |reason: String| DataError::DamagedParquet { name: name.to_owned(), reason };
    let length = frame(reader, name)?;
    reader.seek(SeekFrom::End(-8))?;
    let mut size = [0; 4];
    reader.read_exact(&mut size)?;
    let size = u64::from(u32::from_le_bytes(size));
    let start = (length - 8).checked_sub(size).filter(|&start| start >= 4);
    let start = start.ok_or_else(|| damaged(format!("a footer of {size} bytes in a file of {length}")))?;
    reader.seek(SeekFrom::Start(start))?;
    let mut footer = Vec::new();
    reader.take(size).read_to_end(&mut footer)?;
    check(&footer).map_err(|reason| damaged(reason.to_owned()))?;
    reader.rewind()?;
    // The parser trusts some sizes in the footer and panics when they are wrong. It holds no state that outlives the call.
    catch_unwind(AssertUnwindSafe(|| read_metadata(reader)))
        .map_err(|_| damaged("its sizes or offsets contradict each other".to_owned()))?
        .map_err(|e| damaged(e.to_string()))
}

/// The length of a file that begins and ends with the four magic bytes.
fn frame<R: Read + Seek>(reader: &mut R, name: &str) -> Result<u64, DataError> {
    let length = reader.seek(SeekFrom::End(0))?;
    reader.rewind()?;
    let mut start = Vec::new();
    reader.by_ref().take(8).read_to_end(&mut start)?;
    if !start.starts_with(MAGIC) {
        let hint = match start.as_slice() {
            [] => "\nhint: the file is empty",
            [b'<', ..] => "\nhint: this looks like a web page; the download may have been an error page",
            [b'v', b'e', b'r', b's', b'i', b'o', b'n', ..] => "\nhint: this looks like a Git LFS pointer; fetch the real file",
            _ => "",
        };
        return Err(DataError::NotParquet { name: name.to_owned(), start: start.escape_ascii().to_string(), hint });
    }
    let mut end = [0; 4];
    if length >= 12 {
        reader.seek(SeekFrom::End(-4))?;
        reader.read_exact(&mut end)?;
    }
    if &end != MAGIC {
        return Err(DataError::TruncatedParquet { name: name.to_owned(), length });
    }
    Ok(length)
}

/// Whether every size in the footer is possible.
fn check(footer: &[u8]) -> Result<(), &'static str> {
    Walk { rest: footer }.structure(0).ok_or("the footer ends early or a size in it is wrong")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_must_fit() {
        // Field 1: i32 3; field 2: list of two i32; field 3: "ab"; end.
        let good = [0x15, 6, 0x19, 0x25, 2, 4, 0x18, 2, b'a', b'b', 0];
        assert_eq!(check(&good), Ok(()));
        for cut in 0..good.len() {
            assert!(check(&good[..cut]).is_err(), "cut at {cut}");
        }
        // A list of 2³² − 1 structures in a footer of eight bytes.
        assert!(check(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]).is_err());
        // Lists of one list, without end.
        assert!(check(&[0x19; 200]).is_err());
        insta::assert_snapshot!(
            read(&mut Cursor::new(b"PAR1\xff\0\0\0PAR1"), "f").unwrap_err(),
            @"f: damaged parquet file: a footer of 255 bytes in a file of 12"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            let file = [b"PAR1", &bytes[..], &length, b"PAR1"].concat();
            prop_assert!(read(&mut Cursor::new(&file), "f").is_err());
            prop_assert!(read(&mut Cursor::new(&bytes), "f").is_err());
        }
    }
}
