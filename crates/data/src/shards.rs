//! Parquet files read page by page.
//!
//! A shard of the hub can be larger than memory, and so can one of its row groups. Nothing here holds more than the current page of
//! each column that is asked for: its bytes in the file, its bytes decompressed, and its values. Writers close a page at about 1 MiB,
//! or after a fixed number of rows (1,024 in Arrow's C++ writer, which the hub's files come from), or with the row group.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::{ArrowDataType, ArrowField, ArrowSchema, DataType, PlSmallStr, PolarsError, Series};
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::metadata::{ColumnChunkMetadata, Descriptor, FileMetadata};
use polars_parquet::parquet::read::{BasicDecompressor, PageMetaData, PageReader};
use polars_parquet::read::{RowGroupMetadata, column_iter_to_arrays, infer_schema};

use crate::block::Block;
use crate::pages::{MAX_PAGE_BYTES, PageError, PageKind, Pages};
use crate::{DataError, footer};

/// What a column must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A struct with the binary field `bytes`; its other fields are not read.
    Image,
    /// Whole numbers: i64.
    Integer,
    /// Truth values.
    Flag,
    /// Text.
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Image => "struct{bytes: binary, path: string}",
            Self::Integer => "i64",
            Self::Flag => "bool",
            Self::Text => "string",
        }
    }

    fn fits(self, dtype: &DataType) -> bool {
        match (self, dtype) {
            (Self::Image, DataType::Struct(fields)) => fields.iter().any(|f| f.name == BYTES && f.dtype == DataType::Binary),
            (Self::Integer, DataType::Int64) | (Self::Flag, DataType::Boolean) | (Self::Text, DataType::String) => true,
            _ => false,
        }
    }
}

/// The field of an image that holds the file.
pub(crate) const BYTES: &str = "bytes";

/// A column that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
}

/// A parquet file of which some columns are read, block after block.
pub(crate) struct Shard<R> {
    name: String,
    reader: R,
    columns: Vec<ShardColumn>,
    /// Rows of each row group.
    groups: Vec<usize>,
    /// The next row group to open.
    next_group: usize,
    /// Rows of the open row group that were not handed out.
    left: usize,
    /// The next row.
    row: usize,
}

/// One column through all row groups, and how far it was read.
struct ShardColumn {
    name: String,
    kind: Kind,
    field: ArrowField,
    chunks: Vec<Chunk>,
    /// The dictionary page of the open chunk, if it has one, as it is in the file.
    dictionary: Vec<u8>,
    /// The values of the current page, and how many were handed out.
    values: Option<(Series, usize)>,
}

/// One column in one row group.
struct Chunk {
    pages: Pages,
    compression: Compression,
    descriptor: Descriptor,
}

impl Shard<fs_err::File> {
    /// Opens a file; [`Shard::new`] says what is checked.
    pub(crate) fn open(path: &Path, wanted: &[Wanted]) -> Result<Self, DataError> {
        Self::new(fs_err::File::open(path)?, &path.display().to_string(), wanted)
    }
}

impl<R: Read + Seek> Shard<R> {
    /// Reads the footer and checks that the columns are there with their types. `name` stands for the file in messages.
    pub(crate) fn new(mut reader: R, name: &str, wanted: &[Wanted]) -> Result<Self, DataError> {
        let metadata = footer::read(&mut reader, name)?;
        let file_length = reader.seek(SeekFrom::End(0))?;
        let damaged = |reason: String| DataError::DamagedParquet { name: name.to_owned(), reason };
        let open = || -> Result<Vec<ShardColumn>, DataError> {
            let schema = infer_schema(&metadata).map_err(|e| damaged(e.to_string()))?;
            let chunks = |path: &[&str]| chunks(&metadata, path, file_length).map_err(damaged);
            wanted.iter().map(|wanted| ShardColumn::new(wanted, &schema, name, chunks)).collect()
        };
        // The parser trusts some sizes in the footer and panics when they are wrong. It holds no state that outlives the call.
        let columns =
            catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err(damaged("its footer contradicts itself".to_owned())))?;
        let groups: Vec<usize> = metadata.row_groups.iter().map(RowGroupMetadata::num_rows).collect();
        if groups.iter().try_fold(0usize, |sum, &rows| sum.checked_add(rows)).is_none() {
            return Err(damaged("more rows than can be counted".to_owned()));
        }
        Ok(Self { name: name.to_owned(), reader, columns, groups, next_group: 0, left: 0, row: 0 })
    }

    /// The number of rows that the footer announces.
    pub(crate) fn rows(&self) -> usize {
        self.groups.iter().sum()
    }

    /// The next rows, at most `most` (at least 1), or `None` after the last one. A block ends where a page of one of the columns
    /// ends, so its size says nothing.
    pub(crate) fn next_block(&mut self, most: usize) -> Result<Option<Block>, DataError> {
        while self.left == 0 {
            let Some(&rows) = self.groups.get(self.next_group) else { return Ok(None) };
            self.left = rows;
            self.next_group += 1;
            for column in &mut self.columns {
                column.dictionary.clear();
            }
        }
        let group = self.next_group - 1;
        let mut rows = self.left.min(most.max(1));
        for column in &mut self.columns {
            rows = rows.min(column.available(group, &mut self.reader, &self.name, self.row)?);
        }
        let columns = self.columns.iter_mut().map(|column| column.take(rows)).collect();
        let block = Block { file: self.name.clone(), first_row: self.row, columns };
        self.left -= rows;
        self.row += rows;
        Ok(Some(block))
    }
}

/// The chunks of the column at `path`, one for each row group.
fn chunks(metadata: &FileMetadata, path: &[&str], file_length: u64) -> Result<Vec<Chunk>, String> {
    let chunk = |(g, group): (usize, &RowGroupMetadata)| {
        let place = |reason: &str| format!("column {}, row group {g}: {reason}", path.join("."));
        let is_it =
            |c: &&ColumnChunkMetadata| c.descriptor().path_in_schema.iter().map(PlSmallStr::as_str).eq(path.iter().copied());
        let column = group.parquet_columns().iter().find(is_it).ok_or_else(|| place("it is missing"))?;
        Ok(Chunk {
            pages: Pages::new(column, group.num_rows(), file_length).map_err(|reason| place(&reason))?,
            compression: column.compression(),
            descriptor: column.descriptor().descriptor.clone(),
        })
    };
    metadata.row_groups.iter().enumerate().map(chunk).collect()
}

impl ShardColumn {
    fn new(
        &Wanted { name, kind }: &Wanted,
        schema: &ArrowSchema,
        file: &str,
        chunks: impl Fn(&[&str]) -> Result<Vec<Chunk>, DataError>,
    ) -> Result<Self, DataError> {
        let field = schema.get(name).ok_or_else(|| DataError::MissingColumn {
            name: file.to_owned(),
            column: name.to_owned(),
            found: schema_text(schema),
        })?;
        let dtype = DataType::from_arrow_field(field);
        if !kind.fits(&dtype) {
            return Err(DataError::ColumnType {
                name: file.to_owned(),
                column: name.to_owned(),
                expected: kind.name(),
                found: type_text(&dtype),
            });
        }
        let mut field = field.clone();
        let mut path = vec![name];
        if let (Kind::Image, ArrowDataType::Struct(fields)) = (kind, &mut field.dtype) {
            fields.retain(|field| field.name == BYTES);
            path.push(BYTES);
        }
        let chunks = chunks(&path)?;
        Ok(Self { name: name.to_owned(), kind, field, chunks, dictionary: Vec::new(), values: None })
    }

    /// The number of rows that can be taken, at least 1; reads on when there are none. The chunk must have rows left.
    fn available<R: Read + Seek>(&mut self, group: usize, reader: &mut R, file: &str, row: usize) -> Result<usize, DataError> {
        if let Some((values, taken)) = &self.values {
            return Ok(values.len() - taken);
        }
        let damaged = |reason: String| DataError::DamagedParquet {
            name: file.to_owned(),
            reason: format!("column {:?}, row {row}: {reason}", self.name),
        };
        let of_page = |error| match error {
            PageError::Io(error) => DataError::Io(error),
            PageError::Damaged(reason) => damaged(reason),
        };
        let (page, rows) = loop {
            let chunk = &mut self.chunks[group];
            let page = chunk.pages.next(reader).map_err(of_page)?.ok_or_else(|| damaged("no page follows".to_owned()))?;
            match page.kind {
                PageKind::Data { values: rows @ 1.. } => break (page, rows),
                PageKind::Dictionary => {
                    self.dictionary.clear();
                    page.read(reader, &mut self.dictionary).map_err(of_page)?;
                }
                PageKind::Data { .. } | PageKind::Index => {}
            }
        };
        let mut bytes = self.dictionary.clone();
        page.read(reader, &mut bytes).map_err(of_page)?;
        // The decoder trusts some sizes in the page and panics when they are wrong. It holds no state that outlives the call.
        let values = catch_unwind(AssertUnwindSafe(|| self.decode(group, bytes, rows)))
            .map_err(|_| damaged("the sizes in a page contradict each other".to_owned()))?
            .map_err(|e| damaged(e.to_string()))?;
        if values.len() != rows {
            return Err(damaged(format!("a page of {rows} values holds {}", values.len())));
        }
        let values = if self.kind == Kind::Image {
            let null = values.is_null().iter().position(|null| null == Some(true)).filter(|_| values.null_count() > 0);
            if let Some(null) = null {
                return Err(DataError::Null { name: file.to_owned(), column: self.name.clone(), row: row + null });
            }
            values
                .struct_()
                .and_then(|s| s.field_by_name(BYTES))
                .map_err(|e| damaged(e.to_string()))?
                .with_name(self.field.name.clone())
        } else {
            values
        };
        self.values = Some((values, 0));
        Ok(rows)
    }

    /// The values of one data page, with the dictionary page before it.
    fn decode(&self, group: usize, bytes: Vec<u8>, rows: usize) -> Result<Series, PolarsError> {
        let Chunk { compression, descriptor, .. } = &self.chunks[group];
        let count = i64::try_from(rows).unwrap_or(i64::MAX);
        let meta = PageMetaData::new(0, count, *compression, descriptor.clone());
        let pages = PageReader::new_with_page_meta(Cursor::new(bytes.into()), meta, Vec::new(), MAX_PAGE_BYTES);
        let pages = BasicDecompressor::new(pages, Vec::new());
        let (arrays, _) = column_iter_to_arrays(vec![pages], vec![&descriptor.primitive_type], self.field.clone(), None)?;
        Series::from_arrow_chunks(self.field.name.clone(), arrays)
    }

    /// The next `rows` values, which must be [`available`](Self::available).
    fn take(&mut self, rows: usize) -> Series {
        let (values, taken) = self.values.take().expect("there are values available");
        #[expect(clippy::cast_possible_wrap, reason = "a page has fewer than 2³¹ values")]
        let block = values.slice(taken as i64, rows);
        if taken + rows < values.len() {
            self.values = Some((values, taken + rows));
        }
        block
    }
}

/// The columns of a file with their types.
fn schema_text(schema: &ArrowSchema) -> String {
    let columns = schema.iter().map(|(name, field)| format!("{name}: {}", type_text(&DataType::from_arrow_field(field))));
    columns.collect::<Vec<_>>().join(", ")
}

/// A type as the hub's documentation calls it.
pub(crate) fn type_text(dtype: &DataType) -> String {
    match dtype {
        DataType::Binary => "binary".to_owned(),
        DataType::String => "string".to_owned(),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.name, type_text(&f.dtype))).collect();
            format!("struct{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
