//! Nonces that this process made itself. A header with one of them cannot have been used before the
//! process started, which is what makes it acceptable where nothing is known of that time.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{HMAC_SHA256, Key, sign},
    rand::fill,
};
use base64::Engine;

use crate::encoding::BASE64URL;

const RANDOM: usize = 16;
const TAG: usize = 16;
const LEN: usize = RANDOM + TAG;

/// Makes nonces and knows them again, without keeping any.
pub(crate) struct Challenges(Key);

impl Challenges {
    /// With a key of its own, which no other process knows. `None` if the system has no randomness.
    pub(crate) fn new() -> Option<Self> {
        let mut key = [0; 32];
        fill(&mut key).ok()?;
        Some(Self(Key::new(HMAC_SHA256, &key)))
    }

    /// A nonce for a client to sign.
    pub(crate) fn make(&self) -> Option<String> {
        let mut bytes = [0; LEN];
        let (random, tag) = bytes.split_at_mut(RANDOM);
        fill(random).ok()?;
        tag.copy_from_slice(sign(&self.0, random).as_ref().get(..TAG)?);
        Some(BASE64URL.encode(bytes))
    }

    /// True if this process made `nonce`.
    pub(crate) fn knows(&self, nonce: &str) -> bool {
        let mut bytes = [0; LEN];
        let Ok(LEN) = BASE64URL.decode_slice(nonce, &mut bytes) else {
            return false;
        };
        let (random, tag) = bytes.split_at(RANDOM);
        // Truncated to half (RFC 2104 section 5).
        let full = sign(&self.0, random);
        let expected = full.as_ref().get(..TAG).unwrap_or_default();
        verify_slices_are_equal(expected, tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_nonces_are_known() {
        let (ours, others) = (Challenges::new().unwrap(), Challenges::new().unwrap());
        let nonce = ours.make().unwrap();
        assert!(ours.knows(&nonce));
        assert!(!others.knows(&nonce));
        assert_ne!(nonce, ours.make().unwrap());
        let mut changed = nonce.into_bytes();
        changed[0] ^= 1;
        assert!(!ours.knows(std::str::from_utf8(&changed).unwrap_or_default()));
        for other in ["", "abc", &"a".repeat(1000)] {
            assert!(!ours.knows(other));
        }
    }
}
