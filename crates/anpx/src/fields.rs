//! Header and trailer fields, kept in their wire form.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    classes,
    limits::{MAX_FIELDS, MAX_FIELDS_BYTES},
};

/// Header or trailer fields in the form the wire carries them (ANPX 3.3, tag `headers`):
/// repeated `u16 name length, name in lower case, u16 value length, value`, in order, repeats kept.
///
/// A `Fields` is valid by construction: every name is a lower-case token, no value holds CR, LF or
/// NUL or has white space around it, no name is `host`, a pseudo-header or hop-by-hop, and the
/// limits of ANPX section 4 hold (64 KiB encoded, 256 fields). Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    block: Bytes,
    /// Which of the names that have a [`mark`] are there.
    marks: u8,
}

/// The mark of a name that is asked for on every message; 0 for others. Most messages lack some of
/// them, and need not be searched then.
const fn mark(name: &[u8]) -> u8 {
    match name {
        b"content-length" => 1 << 0,
        b"expect" => 1 << 1,
        b"date" => 1 << 2,
        _ => 0,
    }
}

/// Why a field or a block of fields was refused. `Display` says which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A length reaches past the end of the block.
    #[error("header block is truncated")]
    Truncated,
    /// Empty, not a token, or with an upper-case letter (RFC 9110 section 5.1).
    #[error("header name is not a lower-case token")]
    BadName,
    /// CR, LF, NUL or another control character, or white space around it (RFC 9110 section 5.5).
    #[error("header value holds a forbidden byte")]
    BadValue,
    /// `host` or a hop-by-hop name (ANPX 3.3).
    #[error("header name is hop-by-hop or host")]
    Forbidden,
    /// More than 64 KiB encoded, or more than 256 fields (ANPX section 4).
    #[error("header block exceeds its limit")]
    TooLarge,
}

/// Names that never cross a tunnel: they speak of one connection only, or have a place of their own
/// (RFC 9110 section 7.6.1, ANPX 3.3). `expect` is end-to-end on version 2 and stays.
pub const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// True for `host` and the names of [`HOP_BY_HOP`]. `name` must be in lower case.
pub const fn is_forbidden(name: &[u8]) -> bool {
    // Written out, so that the length alone ends it for most.
    matches!(
        name,
        b"host"
            | b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
            | b"http2-settings"
    )
}

const fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && classes::all(name, classes::NAME)
}

/// True where every byte may stand in a field value (RFC 9110 section 5.5), and none is padding.
fn is_value(value: &[u8]) -> bool {
    let padded = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    (is_plain(value) || classes::all(value, classes::VALUE))
        && !padded(value.first())
        && !padded(value.last())
}

/// True for values of at least eight bytes without any control character, as nearly all are: eight
/// bytes are looked at at once.
fn is_plain(value: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    // The high bit of each byte: below 0x20, or 0x7f. What borrows from a neighbour is bad itself.
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let other = word ^ (ONES * 0x7f);
        let delete = other.wrapping_sub(ONES) & !other;
        (control | delete) & HIGH == 0
    };
    let (words, _) = value.as_chunks::<8>();
    let last = value.last_chunk::<8>();
    last.is_some_and(is_plain) && words.iter().all(is_plain)
}

fn check(name: &[u8], value: &[u8]) -> Result<(), FieldsError> {
    if !is_name(name) {
        return Err(FieldsError::BadName);
    }
    if is_forbidden(name) {
        return Err(FieldsError::Forbidden);
    }
    if !is_value(value) {
        return Err(FieldsError::BadValue);
    }
    Ok(())
}

impl Fields {
    /// Takes a block as it came off the wire, after checking every rule.
    pub fn from_block(block: Bytes) -> Result<Self, FieldsError> {
        if block.len() > MAX_FIELDS_BYTES {
            return Err(FieldsError::TooLarge);
        }
        let mut rest = &block[..];
        let (mut count, mut marks) = (0, 0);
        while !rest.is_empty() {
            let (name, after) = take(rest).ok_or(FieldsError::Truncated)?;
            let (value, after) = take(after).ok_or(FieldsError::Truncated)?;
            check(name, value)?;
            rest = after;
            count += 1;
            marks |= mark(name);
        }
        if count > MAX_FIELDS {
            return Err(FieldsError::TooLarge);
        }
        Ok(Self { block, marks })
    }

    /// A block of these `(name, value)` pairs; names in lower case.
    ///
    /// # Errors
    /// As [`FieldsBuilder::push`].
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, FieldsError> {
        let mut builder = Self::builder(256);
        for (name, value) in pairs {
            builder.push(name.as_ref(), value.as_ref())?;
        }
        Ok(builder.build())
    }

    /// Starts an empty block with room for `bytes` encoded bytes.
    pub fn builder(bytes: usize) -> FieldsBuilder {
        FieldsBuilder {
            block: BytesMut::with_capacity(bytes),
            count: 0,
            marks: 0,
        }
    }

    /// The fields in order, as `(name, value)`.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.block }
    }

    /// The value of the first field called `name` (lower case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of the fields called `name` (lower case), in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let mark = mark(name.as_bytes());
        let rest = match mark != 0 && self.marks & mark == 0 {
            true => &[],
            false => &self.block[..],
        };
        Iter { rest }
            .filter(move |(n, _)| *n == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Whether there is a field called `name` (lower case).
    pub fn contains(&self, name: &str) -> bool {
        match mark(name.as_bytes()) {
            0 => self.get(name).is_some(),
            mark => self.marks & mark != 0,
        }
    }

    /// A slice of this block as shared bytes; `part` must come from [`Fields::iter`].
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.block.slice_ref(part)
    }

    /// The encoded block.
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// True without any field.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterates over the fields of a block in order. Made by [`Fields::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = take(self.rest)?;
        let (value, rest) = take(rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Splits one length-prefixed string off `block`.
fn take(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = block.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// A field name that was judged when it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldName(&'static [u8]);

impl FieldName {
    /// The name `name`.
    ///
    /// # Panics
    /// No field may have it: a constant with it does not compile.
    pub const fn new(name: &'static str) -> Self {
        let name = name.as_bytes();
        assert!(is_name(name), "not a lower-case token");
        assert!(!is_forbidden(name), "hop-by-hop or host");
        Self(name)
    }
}

/// Builds [`Fields`] one field at a time.
#[derive(Debug)]
pub struct FieldsBuilder {
    block: BytesMut,
    count: usize,
    marks: u8,
}

impl FieldsBuilder {
    /// Appends a field. `name` must be in lower case.
    ///
    /// # Errors
    /// Any [`FieldsError`] but `Truncated`; the block is then as before.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldsError> {
        check(name, value)?;
        self.put(name, value)
    }

    /// Appends all of `fields`.
    ///
    /// # Errors
    /// [`FieldsError::TooLarge`]; the block is then as before.
    pub fn extend(&mut self, fields: &Fields) -> Result<(), FieldsError> {
        let count = self.count + fields.iter().count();
        if self.block.len() + fields.block.len() > MAX_FIELDS_BYTES || count > MAX_FIELDS {
            return Err(FieldsError::TooLarge);
        }
        self.block.put_slice(&fields.block);
        self.count = count;
        self.marks |= fields.marks;
        Ok(())
    }

    /// Appends a field whose name needs no look any more.
    ///
    /// # Errors
    /// [`FieldsError::BadValue`], [`FieldsError::TooLarge`]; the block is then as before.
    pub fn push_named(&mut self, name: FieldName, value: &[u8]) -> Result<(), FieldsError> {
        if !is_value(value) {
            return Err(FieldsError::BadValue);
        }
        self.put(name.0, value)
    }

    fn put(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldsError> {
        let (Ok(n), Ok(v)) = (u16::try_from(name.len()), u16::try_from(value.len())) else {
            return Err(FieldsError::TooLarge);
        };
        if self.block.len() + 4 + name.len() + value.len() > MAX_FIELDS_BYTES
            || self.count == MAX_FIELDS
        {
            return Err(FieldsError::TooLarge);
        }
        self.block.put_u16(n);
        self.block.put_slice(name);
        self.block.put_u16(v);
        self.block.put_slice(value);
        self.count += 1;
        self.marks |= mark(name);
        Ok(())
    }

    /// The finished block.
    pub fn build(self) -> Fields {
        Fields {
            block: self.block.freeze(),
            marks: self.marks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_however_the_block_was_made() {
        let names = ["content-length", "expect", "date", "x"];
        for there in 0..1 << names.len() {
            let is = |at: usize| there >> at & 1 == 1;
            let pairs = (0..names.len()).filter(|at| is(*at));
            let pairs: Vec<_> = pairs
                .flat_map(|at| [(names[at], "1"), (names[at], "2")])
                .collect();
            let built = Fields::from_pairs(pairs).unwrap();
            let read = Fields::from_block(built.block().clone()).unwrap();
            let mut joined = Fields::builder(0);
            joined.extend(&built).unwrap();
            for fields in [&built, &read, &joined.build()] {
                for (at, name) in names.iter().enumerate() {
                    let values: Vec<_> = fields.get_all(name).collect();
                    assert_eq!(values, if is(at) { vec![b"1", b"2"] } else { vec![] });
                    assert_eq!(fields.get(name).is_some(), is(at));
                    assert_eq!(fields.contains(name), is(at));
                }
            }
        }
    }

    #[test]
    fn what_is_hop_by_hop_is_forbidden() {
        assert!(HOP_BY_HOP.iter().all(|name| is_forbidden(name.as_bytes())));
        assert!(is_forbidden(b"host") && !is_forbidden(b"cookie") && !is_forbidden(b""));
    }

    #[test]
    fn a_name_of_a_constant_is_judged_too() {
        const GOOD: FieldName = FieldName::new("x-good");
        let mut builder = Fields::builder(0);
        builder.push_named(GOOD, b"1").unwrap();
        assert_eq!(builder.push_named(GOOD, b" 1"), Err(FieldsError::BadValue));
        let one = Fields::from_pairs([("x-good", "1")]).unwrap();
        assert_eq!(builder.build(), one);
        let mut builder = Fields::builder(0);
        (0..MAX_FIELDS).for_each(|_| builder.extend(&one).unwrap());
        assert_eq!(builder.extend(&one), Err(FieldsError::TooLarge));
        assert_eq!(builder.push(b"a", b""), Err(FieldsError::TooLarge));
        assert_eq!(builder.build().iter().count(), MAX_FIELDS);
        for bad in ["", "X", "a b", "te", "host", "http2-settings"] {
            assert!(std::panic::catch_unwind(|| FieldName::new(bad)).is_err());
        }
    }

    #[test]
    fn short_and_long_values_are_judged_alike() {
        for byte in 0..=u8::MAX {
            let good = byte == b'\t' || byte == b' ' || byte > b' ' && byte != 0x7f;
            for length in [3, 7, 8, 9, 15, 16, 35] {
                for at in 1..length - 1 {
                    let mut value = vec![b'x'; length];
                    value[at] = byte;
                    assert_eq!(is_value(&value), good, "{byte:#04x} at {at} of {length}");
                }
            }
        }
        assert!(!is_name(b"") && is_value(b""));
        assert!(!is_value(b" x") && !is_value(b"x\t"));
    }
}
