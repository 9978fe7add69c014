//! A look at the page headers of a parquet file before its pages are decoded.

use std::io::Cursor;

use polars_parquet::parquet::metadata::FileMetadata;
use polars_parquet::parquet::page::CompressedPage;
use polars_parquet::parquet::read::get_page_iterator;

/// Larger than any page of a sane file.
const MAX_PAGE_BYTES: usize = 1 << 30;

/// Checks that the pages of the given top-level columns (without repeated fields) lie inside the file and hold as many values as
/// the file says it has rows.
///
/// The decoder reserves memory by the counts in page headers. A damaged header, say with a negative count, would make it ask for
/// exabytes, and the process would end without an error to handle.
pub(crate) fn check(bytes: &[u8], metadata: &FileMetadata, columns: &[&str]) -> Result<(), String> {
    let file = Cursor::new(bytes.to_vec().into());
    for (g, group) in metadata.row_groups.iter().enumerate() {
        for column in group.parquet_columns() {
            let path = &column.descriptor().path_in_schema;
            if !path.first().is_some_and(|root| columns.contains(&root.as_str())) {
                continue;
            }
            let place = |reason: &str| format!("column {}, row group {g}: {reason}", path.join("."));
            let rows = group.num_rows();
            if i64::try_from(rows) != Ok(column.num_values()) {
                return Err(place(&format!("{} values for {rows} rows", column.num_values())));
            }
            let mut seen = 0usize;
            let pages = get_page_iterator(column, file.clone(), Vec::new(), MAX_PAGE_BYTES).map_err(|e| place(&e.to_string()))?;
            for page in pages {
                if let CompressedPage::Data(page) = page.map_err(|e| place(&e.to_string()))? {
                    seen = seen.saturating_add(page.num_values());
                }
                if seen > rows {
                    break;
                }
            }
            if seen != rows {
                return Err(place(&format!("its pages hold {seen} values or more for {rows} rows")));
            }
        }
    }
    Ok(())
}
