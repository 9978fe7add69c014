//! A walk over structures in Thrift's compact protocol, in which parquet writes its footer and its page headers.
//!
//! A parser reserves memory for as many list elements as a list header announces; a damaged header can announce billions, and the
//! process would end without an error to handle. Every element takes at least a byte, so the walk refuses a list that announces
//! more elements than there are bytes left.

/// Nesting of the parquet schema's own structures is far below this.
const MAX_DEPTH: u32 = 32;

/// An integer of 32 bits.
pub(crate) const I32: u8 = 5;
/// A structure.
pub(crate) const STRUCTURE: u8 = 12;

/// What is left to read. Every step returns `None` when the bytes do not allow it.
pub(crate) struct Walk<'a> {
    /// The bytes not yet read.
    pub(crate) rest: &'a [u8],
}

/// The next field of a structure, or its end.
pub(crate) enum Field {
    /// The structure's last byte was read.
    End,
    /// The value of a field of that number and type comes next.
    Value(i64, u8),
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

    /// A signed integer: 0, −1, 1, −2, … are written as 0, 1, 2, 3, ….
    pub(crate) fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A number of elements or bytes that the rest has room for.
    fn size(&mut self) -> Option<usize> {
        let size = usize::try_from(self.varint()?).ok()?;
        (size <= self.rest.len()).then_some(size)
    }

    /// The header of the field after field number `last` (0 before the first).
    pub(crate) fn field(&mut self, last: i64) -> Option<Field> {
        let header = self.byte()?;
        if header == 0 {
            return Some(Field::End);
        }
        // A field number that is not a small step from the last one follows by itself.
        let number = match header >> 4 {
            0 => self.integer()?,
            step => last.wrapping_add(step.into()),
        };
        Some(Field::Value(number, header & 0x0f))
    }

    /// Skips a structure.
    pub(crate) fn structure(&mut self, depth: u32) -> Option<()> {
        loop {
            match self.field(0)? {
                Field::End => return Some(()),
                Field::Value(_, kind) => self.skip_field(kind, depth)?,
            }
        }
    }

    /// Skips the value of a field of type `kind`.
    pub(crate) fn skip_field(&mut self, kind: u8, depth: u32) -> Option<()> {
        match kind {
            // The type of a boolean field is its value.
            1 | 2 => Some(()),
            kind => self.value(kind, depth),
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
            STRUCTURE => self.structure(depth + 1),
            _ => None,
        }
    }
}
