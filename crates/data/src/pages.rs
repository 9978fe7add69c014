//! The pages of a parquet file, one at a time.

use std::io::{Read, Seek, SeekFrom};

use polars_parquet::parquet::metadata::{ColumnChunkMetadata, FileMetadata};

use crate::thrift::{Field, I32, STRUCTURE, Walk};

/// Larger than any page of a sane file.
pub(crate) const MAX_PAGE_BYTES: usize = 1 << 30;

/// Page headers are some tens of bytes; with long minima and maxima in them they can be larger.
const HEADER_WINDOW: u64 = 4 << 10;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    /// Values of as many rows.
    Data { values: usize },
    /// The dictionary of the pages after it.
    Dictionary,
    /// Nothing that is read here.
    Index,
}

/// A page's header and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) kind: PageKind,
    /// Where its header begins in the file.
    start: u64,
    /// Length of header and (compressed) body.
    length: u64,
}

impl Page {
    /// Header and body as they are in the file.
    pub(crate) fn read<R: Read + Seek>(&self, reader: &mut R, bytes: &mut Vec<u8>) -> Result<(), PageError> {
        reader.seek(SeekFrom::Start(self.start))?;
        let before = bytes.len();
        reader.take(self.length).read_to_end(bytes)?;
        if (bytes.len() - before) as u64 == self.length {
            Ok(())
        } else {
            Err(PageError::Damaged("a page is cut off".to_owned()))
        }
    }
}

/// A file that cannot be read, or that contradicts itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Damaged(String),
}

/// The pages of one column in one row group. The column must have one value (or null) for each row.
///
/// The decoder reserves memory by the counts in page headers. A damaged header, say with a negative count, would make it ask for
/// exabytes, and the process would end without an error to handle. So the sizes are looked at here first: pages lie inside their
/// column, and together they hold as many values as the row group has rows.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    at: u64,
    end: u64,
    rows: usize,
    seen: usize,
}

impl Pages {
    /// The pages of `column`, whose row group has `rows` rows, in a file of `file_length` bytes.
    pub(crate) fn new(column: &ColumnChunkMetadata, rows: usize, file_length: u64) -> Result<Self, String> {
        if i64::try_from(rows) != Ok(column.num_values()) {
            return Err(format!("{} values for {rows} rows", column.num_values()));
        }
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let range = u64::try_from(start)
            .ok()
            .zip(u64::try_from(column.compressed_size()).ok())
            .and_then(|(start, length)| Some((start, start.checked_add(length)?)))
            .filter(|&(_, end)| end <= file_length);
        let (at, end) = range.ok_or_else(|| "it lies outside the file".to_owned())?;
        Ok(Self { at, end, rows, seen: 0 })
    }

    /// The next page, or `None` once all rows were seen.
    pub(crate) fn next<R: Read + Seek>(&mut self, reader: &mut R) -> Result<Option<Page>, PageError> {
        if self.seen == self.rows {
            return Ok(None);
        }
        let header = self.header(reader)?;
        let length = header.length as u64 + header.compressed as u64;
        let page = Page { kind: header.kind, start: self.at, length };
        if length > self.end - self.at {
            return Err(PageError::Damaged("a page reaches past the end of its column".to_owned()));
        }
        self.at += length;
        if let PageKind::Data { values } = page.kind {
            self.seen = self.seen.saturating_add(values);
            if self.seen > self.rows {
                let reason = format!("its pages hold {} values or more for {} rows", self.seen, self.rows);
                return Err(PageError::Damaged(reason));
            }
        }
        Ok(Some(page))
    }

    fn header<R: Read + Seek>(&self, reader: &mut R) -> Result<Header, PageError> {
        let most = self.end - self.at;
        let mut window = HEADER_WINDOW.min(most);
        loop {
            reader.seek(SeekFrom::Start(self.at))?;
            let mut bytes = Vec::new();
            reader.by_ref().take(window).read_to_end(&mut bytes)?;
            if let Some(header) = Header::parse(&bytes) {
                return header.map_err(|reason| PageError::Damaged(reason.to_owned()));
            }
            if window == most {
                let reason = format!("its pages hold {} values for {} rows, and no page follows", self.seen, self.rows);
                return Err(PageError::Damaged(reason));
            }
            window = (window * 8).min(most);
        }
    }
}

/// What a page header says.
struct Header {
    kind: PageKind,
    /// Length of the header itself.
    length: usize,
    compressed: usize,
}

impl Header {
    /// `None` when the bytes are no header, or only its beginning.
    fn parse(bytes: &[u8]) -> Option<Result<Self, &'static str>> {
        let mut walk = Walk { rest: bytes };
        let (mut last, mut numbers, mut values) = (0, [None; 3], None);
        while let Field::Value(field, kind) = walk.field(last)? {
            match (field, kind) {
                // Type, uncompressed size, compressed size.
                (1..=3, I32) => numbers[usize::try_from(field - 1).ok()?] = Some(walk.integer()?),
                // The headers of a data page, a dictionary page, a data page of the second version: all begin with the count.
                (5 | 7 | 8, STRUCTURE) => values = Some(first_integer(&mut walk)?),
                _ => walk.skip_field(kind, 0)?,
            }
            last = field;
        }
        let length = bytes.len() - walk.rest.len();
        Some(Self::check(numbers, values, length))
    }

    fn check(numbers: [Option<i64>; 3], values: Option<i64>, length: usize) -> Result<Self, &'static str> {
        let [Some(kind), Some(uncompressed), Some(compressed)] = numbers else {
            return Err("a page header without type or size");
        };
        let size = |size: i64| usize::try_from(size).ok().filter(|&size| size <= MAX_PAGE_BYTES);
        let (Some(uncompressed), Some(compressed)) = (size(uncompressed), size(compressed)) else {
            return Err("a page of negative size, or of more than 1 GiB");
        };
        let values = values.map(usize::try_from);
        let kind = match (kind, values) {
            (1, _) => PageKind::Index,
            (0 | 3, Some(Ok(values))) => PageKind::Data { values },
            // Every value in a dictionary takes a byte or more.
            (2, Some(Ok(values))) if values <= uncompressed => PageKind::Dictionary,
            _ => return Err("a page header of unknown type, or with an impossible number of values"),
        };
        Ok(Self { kind, length, compressed })
    }
}

/// Skips a structure and returns its field 1.
fn first_integer(walk: &mut Walk) -> Option<i64> {
    let (mut last, mut first) = (0, None);
    loop {
        match walk.field(last)? {
            Field::End => return first,
            Field::Value(1, I32) => {
                first = Some(walk.integer()?);
                last = 1;
            }
            Field::Value(field, kind) => {
                walk.skip_field(kind, 1)?;
                last = field;
            }
        }
    }
}

/// Looks at the headers of all pages of the given top-level columns (without repeated fields).
pub(crate) fn check<R: Read + Seek>(reader: &mut R, metadata: &FileMetadata, columns: &[&str]) -> Result<(), PageError> {
    let file_length = reader.seek(SeekFrom::End(0))?;
    for (g, group) in metadata.row_groups.iter().enumerate() {
        for column in group.parquet_columns() {
            let path = &column.descriptor().path_in_schema;
            if !path.first().is_some_and(|root| columns.contains(&root.as_str())) {
                continue;
            }
            let place = |reason: String| PageError::Damaged(format!("column {}, row group {g}: {reason}", path.join(".")));
            let mut pages = Pages::new(column, group.num_rows(), file_length).map_err(place)?;
            loop {
                match pages.next(reader) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(PageError::Damaged(reason)) => return Err(place(reason)),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}
