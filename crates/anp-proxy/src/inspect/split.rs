//! Cuts bytes into frames, and finds the next frame behind a broken one.

use std::ops::Range;

use anpx::header::{Header, MAGIC, header_crc};

/// A part of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What begins like a frame; it may still be broken.
    Frame(Range<usize>),
    /// Bytes that begin no frame.
    Junk(Range<usize>),
}

/// The parts of `input` in order; together they are the whole of it.
pub(super) fn parts(input: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let rest = &input[at..];
        let (length, is_frame) = if rest.starts_with(&MAGIC) {
            (frame_length(rest), true)
        } else {
            (next_magic(rest, 0).unwrap_or(rest.len()), false)
        };
        let range = at..at + length;
        at = range.end;
        parts.push(if is_frame {
            Part::Frame(range)
        } else {
            Part::Junk(range)
        });
    }
    parts
}

/// How far the frame at the start of `rest` reaches: as far as it says, where that can be true;
/// else up to the next sound header.
fn frame_length(rest: &[u8]) -> usize {
    let stated = rest
        .get(8..12)
        .and_then(|b| <[u8; 4]>::try_from(b).ok())
        .and_then(|b| usize::try_from(u32::from_be_bytes(b)).ok());
    match stated {
        Some(stated)
            if (Header::LEN..=rest.len()).contains(&stated)
                && (sound_header(rest)
                    || stated == rest.len()
                    || rest[stated..].starts_with(&MAGIC)) =>
        {
            stated
        }
        _ => next_sound_header(rest).unwrap_or(rest.len()),
    }
}

fn sound_header(rest: &[u8]) -> bool {
    let Some(header) = rest.first_chunk::<{ Header::LEN }>() else {
        return false;
    };
    header.starts_with(&MAGIC)
        && matches!(header[4], 1 | 2)
        && header[12..16] == header_crc(header).to_be_bytes()
}

fn next_sound_header(rest: &[u8]) -> Option<usize> {
    let mut from = MAGIC.len();
    while let Some(at) = next_magic(rest, from) {
        if sound_header(&rest[at..]) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn next_magic(rest: &[u8], from: usize) -> Option<usize> {
    rest.get(from..)?
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)
        .map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anpx::frame::Frame;

    fn frame(body: &'static [u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = Frame {
            version: 2,
            kind: 3,
            flags: 0,
            stream: 1,
            tlvs: bytes::Bytes::new(),
            body: body.into(),
        };
        frame.encode(&mut out);
        out
    }

    #[test]
    fn frames_back_to_back_part_by_their_lengths() {
        // The magic inside a body starts no frame.
        let mut input = frame(b"ANPX");
        let first = input.len();
        input.extend(frame(b""));
        assert_eq!(
            parts(&input),
            [Part::Frame(0..first), Part::Frame(first..input.len())]
        );
    }

    #[test]
    fn a_length_that_lies_costs_one_frame_only() {
        let mut input = frame(b"abc");
        let first = input.len();
        input[8] = 0xff;
        input.extend(frame(b""));
        assert_eq!(
            parts(&input),
            [Part::Frame(0..first), Part::Frame(first..input.len())]
        );
    }

    #[test]
    fn bytes_before_and_between_frames_are_set_apart() {
        let mut input = b"GET / HTTP/1.1".to_vec();
        let junk = input.len();
        input.extend(frame(b""));
        assert_eq!(
            parts(&input),
            [Part::Junk(0..junk), Part::Frame(junk..input.len())]
        );
        assert_eq!(parts(b"ANPX"), [Part::Frame(0..4)]);
        assert_eq!(parts(b""), []);
    }
}
