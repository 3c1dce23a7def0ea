//! Reads what people paste: raw frames, or hex text as `xxd`, `hexdump -C`, `od -A x -t x1` and
//! packet tools print it, or hex digits alone.

use std::fmt;

/// Most bytes that hex text may stand for; repeated lines (`*`) could otherwise claim any number.
const MOST: usize = 256 << 20;

/// Hex text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HexError {
    /// Line, from 1.
    pub(super) line: usize,
    /// What is wrong with it.
    pub(super) message: String,
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The bytes of `input`: as they are where they begin like a frame or are no text, else read as hex.
pub(super) fn bytes(input: Vec<u8>) -> Result<Vec<u8>, HexError> {
    if input.starts_with(&anpx::header::MAGIC) {
        return Ok(input);
    }
    match std::str::from_utf8(&input) {
        Ok(text) if !text.contains('\0') => from_text(text),
        _ => Ok(input),
    }
}

fn from_text(text: &str) -> Result<Vec<u8>, HexError> {
    let first = text.lines().find(|line| !content(line).trim().is_empty());
    let mut reader = Reader::default();
    let with_offsets = first.is_some_and(|line| begins_with_offset(content(line)));
    for (index, line) in text.lines().enumerate() {
        let read = if with_offsets {
            reader.dump_line(content(line))
        } else {
            reader.digits(content(line))
        };
        read.map_err(|message| HexError {
            line: index + 1,
            message,
        })?;
    }
    Ok(reader.bytes)
}

/// A line without its `# comment`.
fn content(line: &str) -> &str {
    line.split_once('#').map_or(line, |(content, _)| content)
}

/// True for `00000000: …`, `00000000  …`, and any offset that ends in a colon. A frame begins with
/// 41, so zeros at the start are no data.
fn begins_with_offset(line: &str) -> bool {
    let token = line.split_whitespace().next().unwrap_or_default();
    let digits = token.strip_suffix(':').unwrap_or(token);
    let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let zeros = digits.len() >= 4 && digits.bytes().all(|b| b == b'0');
    hex && (zeros || token.ends_with(':'))
}

#[derive(Default)]
struct Reader {
    bytes: Vec<u8>,
    /// The offset that the first line had.
    base: Option<usize>,
    /// Where the bytes of the last line begin.
    last: usize,
    /// A `*` stood since: the last line repeats up to the next offset.
    repeats: bool,
}

impl Reader {
    fn dump_line(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        if line == "*" {
            self.repeats = true;
            return Ok(());
        }
        let (token, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let colon = token.ends_with(':');
        let digits = token.strip_suffix(':').unwrap_or(token);
        let offset = usize::from_str_radix(digits, 16)
            .map_err(|_| format!("expected an offset, found \"{token}\""))?;
        self.advance_to(offset)?;
        let rest = rest.trim_start();
        let columns = if colon {
            rest.split("  ").next().unwrap_or_default()
        } else {
            let hex = rest.split('|').next().unwrap_or_default();
            hex.split("   ").next().unwrap_or_default()
        };
        let words = columns.split_whitespace();
        if !colon
            && digits.len() == 7
            && words.clone().all(|word| word.len() == 4)
            && !rest.is_empty()
        {
            return Err(
                "these are 16-bit words in the machine's own order; use \"hexdump -C\"".to_owned(),
            );
        }
        self.last = self.bytes.len();
        self.digits(columns)
    }

    /// Checks that `offset` follows what was read, after repeating a line if a `*` stood.
    fn advance_to(&mut self, offset: usize) -> Result<(), String> {
        let base = *self.base.get_or_insert(offset);
        let expected = base.saturating_add(self.bytes.len());
        if self.repeats {
            self.repeats = false;
            let missing = offset.checked_sub(expected);
            let line = self.bytes[self.last..].to_vec();
            return match missing {
                Some(missing) if missing.saturating_add(self.bytes.len()) > MOST => {
                    Err(format!("more than {MOST} bytes"))
                }
                Some(missing) if !line.is_empty() => {
                    self.bytes.extend(line.iter().cycle().take(missing));
                    Ok(())
                }
                _ => Err(format!("\"*\" repeats nothing before offset {offset:#x}")),
            };
        }
        if offset == expected {
            Ok(())
        } else {
            Err(format!(
                "offset is {offset:#x}, but the bytes before it end at {expected:#x}"
            ))
        }
    }

    fn digits(&mut self, text: &str) -> Result<(), String> {
        let mut high: Option<u8> = None;
        for c in text.chars() {
            if c.is_whitespace() && high.is_none() {
                continue;
            }
            let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
            match (digit, high.take()) {
                (Some(digit), None) => high = Some(digit),
                (Some(digit), Some(above)) => self.bytes.push(above << 4 | digit),
                (None, None) => return Err(format!("expected hex digits, found {c:?}")),
                (None, Some(above)) => {
                    return Err(format!(
                        "expected a second hex digit after \"{above:x}\", found {c:?}"
                    ));
                }
            }
        }
        match high {
            None => Ok(()),
            Some(above) => Err(format!("ends in the middle of a byte, after \"{above:x}\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, String> {
        bytes(text.as_bytes().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_common_form_is_read() {
        let data = b"ANPX\x02\x01\x00\x00\x00\x00\x00\x18abcdefgh";
        for text in [
            "414e5058020100000000001861626364656667 68",
            "41 4E 50 58 02 01 00 00 # magic, version\n00 00 00 18\n6162636465666768\n",
            "00000000: 414e 5058 0201 0000 0000 0018 6162 6364  ANPX........abcd\n00000010: 6566 6768                                efgh\n",
            "00000000  41 4e 50 58 02 01 00 00  00 00 00 18 61 62 63 64  |ANPX........abcd|\n00000010  65 66 67 68                                       |efgh|\n00000014\n",
            "0000   41 4e 50 58 02 01 00 00 00 00 00 18 61 62 63 64   ANPX........abcd\n0010   65 66 67 68                                       efgh\n",
            "000000 41 4e 50 58 02 01 00 00 00 00 00 18 61 62 63 64\n000010 65 66 67 68\n000014\n",
            "00000100: 414e 5058 0201 0000 0000 0018 6162 6364  ANPX........abcd\n00000110: 6566 6768  efgh\n",
        ] {
            assert_eq!(read(text).unwrap(), data, "{text}");
        }
        assert_eq!(bytes(data.to_vec()).unwrap(), data);
        assert_eq!(bytes(vec![0, 0xff]).unwrap(), [0, 0xff]);
    }

    #[test]
    fn a_star_repeats_the_line_before_it() {
        let text = "00000000  41 41  |AA|\n*\n00000006\n";
        assert_eq!(read(text).unwrap(), b"AAAAAA");
    }

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, message) in [
            (
                "41\n4g",
                "line 2: expected a second hex digit after \"4\", found 'g'",
            ),
            ("zz", "line 1: expected hex digits, found 'z'"),
            ("414", "line 1: ends in the middle of a byte, after \"4\""),
            (
                "00000000: 41  A\n00000010: 41  A",
                "line 2: offset is 0x10, but the bytes before it end at 0x1",
            ),
            (
                "00000000: 41  A\nhello",
                "line 2: expected an offset, found \"hello\"",
            ),
            (
                "00000000: 41  A\n*\nffffffffffff:",
                "line 3: more than 268435456 bytes",
            ),
            (
                "00000000\n*\n00000010",
                "line 3: \"*\" repeats nothing before offset 0x10",
            ),
            (
                "0000000 4e41 5850",
                "line 1: these are 16-bit words in the machine's own order; use \"hexdump -C\"",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
    }
}
