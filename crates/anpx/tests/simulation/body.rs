//! Body bytes that tell whose they are and where they belong.

use std::sync::LazyLock;

use anpx::{Fields, session::Role};
use bytes::Bytes;

use super::rng::Rng;

/// The pattern repeats after this many bytes, which no frame size divides.
const PERIOD: u64 = 65_521;
/// The longest slice.
const LONGEST: u64 = 1 << 20;

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut rng = Rng::new(1);
    let period: Vec<u8> = (0..PERIOD).map(|_| rng.next().to_le_bytes()[0]).collect();
    let bytes: Vec<u8> = period
        .into_iter()
        .cycle()
        .take((PERIOD + LONGEST) as usize)
        .collect();
    Bytes::from(bytes)
});

/// `len` bytes at `at` of the body that `sender` sends in exchange `index`.
pub(crate) fn slice(sender: Role, index: usize, at: u64, len: u64) -> Bytes {
    let side = super::role_index(sender) as u64;
    let from = (at + 7_919 * (2 * index as u64 + side)) % PERIOD;
    PATTERN.slice(from as usize..(from + len) as usize)
}

/// The trailers of every body that has some.
pub(crate) fn trailers() -> Fields {
    Fields::from_pairs([("grpc-status", "0")]).unwrap()
}
