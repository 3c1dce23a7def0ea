//! Durations and sizes as people write them in configuration: `"30s"`, `"64KiB"`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, written as a whole number and a unit: `"250ms"`, `"30s"`, `"5m"`, `"1h"`.
///
/// `"0"` needs no unit; what it means, if anything, is said where the value is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A number of bytes, written as a whole number and a unit: `"512B"`, `"64KiB"`, `"1MiB"`, `"2GiB"`.
/// A plain number counts bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Why a [`Span`] or [`Size`] could not be read. `Display` quotes the text and says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a whole number followed by a known unit of time.
    #[error(
        "\"{0}\" is not a duration: expected a whole number with ms, s, m or h, such as \"30s\""
    )]
    Span(String),
    /// Not a whole number followed by a known unit of size.
    #[error(
        "\"{0}\" is not a size: expected bytes or a whole number with KiB, MiB or GiB, such as \"64KiB\""
    )]
    Size(String),
    /// The number does not fit 64 bits once the unit is applied.
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

/// Milliseconds a unit of time.
const SPANS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Bytes a unit of size.
const SIZES: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// True for `"0"`.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl Size {
    /// A size of whole KiB.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// A size of whole MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }
}

/// Splits `text` into its leading digits and the unit after them, white space between allowed.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

/// `number` times the factor of `unit`; the error says which of the two failed.
fn scale(
    text: &str,
    units: &[(&str, u64)],
    bad: fn(String) -> UnitError,
) -> Result<u64, UnitError> {
    let (number, unit) = split(text);
    let factor = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, factor)| *factor);
    match factor {
        Some(factor) if !number.is_empty() => number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .ok_or_else(|| UnitError::TooLarge(text.to_owned())),
        _ => Err(bad(text.to_owned())),
    }
}

/// Writes `value` in the largest of `units` that divides it.
fn show(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    match units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
    {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => f.write_str("0"),
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim() == "0" {
            return Ok(Self::ZERO);
        }
        scale(text, &SPANS, UnitError::Span).map(Self::from_millis)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text);
        if unit.is_empty() && !number.is_empty() {
            let bytes = number
                .parse()
                .map_err(|_| UnitError::TooLarge(text.to_owned()))?;
            return Ok(Self(bytes));
        }
        scale(text, &SIZES, UnitError::Size).map(Self)
    }
}

/// Parts of a millisecond are left out; no `Span` read from text has any.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(
            f,
            u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX),
            &SPANS,
        )
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, &SIZES)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SpanVisitor;

impl de::Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as \"30s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }

    // A number other than 0 has no unit, and guessing one is how 30 ms becomes 30 s.
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Span, E> {
        match value {
            0 => Ok(Span::ZERO),
            _ => Err(E::invalid_type(de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Span, E> {
        match value {
            0 => Ok(Span::ZERO),
            _ => Err(E::invalid_type(de::Unexpected::Signed(value), &self)),
        }
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64KiB\", or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Size, E> {
        Ok(Size(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Size, E> {
        u64::try_from(value)
            .map(Size)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, millis, shown) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("5 m", 300_000, "5m"),
            ("1H", 3_600_000, "1h"),
            ("0", 0, "0"),
            ("0s", 0, "0"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span, Span::from_millis(millis), "{text}");
            assert_eq!(span.to_string(), shown);
            assert_eq!(shown.parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("64KiB", 64 << 10, "64KiB"),
            ("1024 KiB", 1 << 20, "1MiB"),
            ("2gib", 2 << 30, "2GiB"),
            ("512B", 512, "512B"),
            ("1500", 1500, "1500B"),
            ("0", 0, "0"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size(bytes), "{text}");
            assert_eq!(size.to_string(), shown);
            assert_eq!(shown.parse::<Size>().unwrap(), size);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in ["", "s", "30", "-1s", "1.5s", "30 parsecs", "1m30s"] {
            let error = text.parse::<Span>().unwrap_err();
            assert_eq!(error, UnitError::Span(text.to_owned()));
            assert!(error.to_string().contains("such as \"30s\""));
        }
        for text in ["", "KiB", "64KB", "-1", "1.5MiB"] {
            let error = text.parse::<Size>().unwrap_err();
            assert_eq!(error, UnitError::Size(text.to_owned()));
        }
        let huge = "99999999999999999999";
        assert_eq!(huge.parse::<Size>(), Err(UnitError::TooLarge(huge.into())));
        let huge = "18446744073709551615h";
        assert_eq!(huge.parse::<Span>(), Err(UnitError::TooLarge(huge.into())));
    }
}
