//! A walk over the footer of a parquet file before it is parsed.
//!
//! The footer is one structure in Thrift's compact protocol. The parser reserves memory for as many list elements as a list header
//! announces; a damaged header can announce billions, and the process would end without an error to handle. Every element
//! takes at least a byte, so the walk refuses a list that announces more elements than there are bytes left.

/// Nesting of the parquet schema's own structures is far below this.
const MAX_DEPTH: u32 = 32;

/// Checks the footer of a file that starts and ends with the magic bytes.
pub(crate) fn check(file: &[u8]) -> Result<(), String> {
    let (footer, length) = file.strip_suffix(b"PAR1").and_then(|rest| rest.split_last_chunk::<4>()).ok_or("no footer")?;
    let length = u32::from_le_bytes(*length) as usize;
    let start = footer.len().checked_sub(length).filter(|&start| start >= 4);
    let start = start.ok_or(format!("a footer of {length} bytes in a file of {}", file.len()))?;
    Walk { rest: &footer[start..] }.structure(0).ok_or_else(|| "the footer ends early or a size in it is wrong".to_owned())
}

/// What is left to read. Every step returns `None` when the bytes do not allow it.
struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// A variable-length integer of at most ten bytes; larger than `u64` wraps, which no check here depends on.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number of elements or bytes that the rest has room for.
    fn size(&mut self) -> Option<usize> {
        let size = usize::try_from(self.varint()?).ok()?;
        (size <= self.rest.len()).then_some(size)
    }

    fn structure(&mut self, depth: u32) -> Option<()> {
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            // A field number that is not a small step from the last one follows by itself.
            if header >> 4 == 0 {
                self.varint()?;
            }
            match header & 0x0f {
                // The type of a boolean field is its value.
                1 | 2 => {}
                kind => self.value(kind, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.size()?;
                self.skip(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let size = match header >> 4 {
                    15 => self.size()?,
                    short => usize::from(short),
                };
                (0..size).try_for_each(|_| self.value(header & 0x0f, depth + 1))
            }
            11 => {
                let size = self.size()?;
                if size == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..size).try_for_each(|_| {
                    self.value(kinds >> 4, depth + 1)?;
                    self.value(kinds & 0x0f, depth + 1)
                })
            }
            12 => self.structure(depth + 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(footer: &[u8]) -> Vec<u8> {
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        [b"PAR1", footer, &length, b"PAR1"].concat()
    }

    #[test]
    fn sizes_must_fit() {
        // Field 1: i32 3; field 2: list of two i32; field 3: "ab"; end.
        let good = [0x15, 6, 0x19, 0x25, 2, 4, 0x18, 2, b'a', b'b', 0];
        assert_eq!(check(&file(&good)), Ok(()));
        for cut in 0..good.len() {
            assert!(check(&file(&good[..cut])).is_err(), "cut at {cut}");
        }
        // A list of 2³² − 1 structures in a footer of eight bytes.
        assert!(check(&file(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0])).is_err());
        // Lists of one list, without end.
        assert!(check(&file(&[0x19; 200])).is_err());
        assert_eq!(check(b"PAR1\xff\0\0\0PAR1"), Err("a footer of 255 bytes in a file of 12".to_owned()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = check(&file(&bytes));
            let _ = check(&bytes);
        }
    }
}
