//! The digest of a body (RFC 9530), as it comes.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;

use crate::encoding::BASE64;

/// The SHA-256 of a body of which a piece after the other is known.
pub struct BodyDigest(Context);

impl Default for BodyDigest {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl BodyDigest {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// True if what was taken has the digest of `field`, a `Content-Digest` of SHA-256 alone.
    pub fn is(self, field: &str) -> bool {
        field == format!("sha-256=:{}:", BASE64.encode(self.0.finish()))
    }
}

impl std::fmt::Debug for BodyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyDigest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::content_digest;

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let whole = |pieces: &[&str], field: &str| {
            let mut digest = BodyDigest::default();
            pieces
                .iter()
                .for_each(|piece| digest.update(piece.as_bytes()));
            digest.is(field)
        };
        assert!(whole(&["a", "", "bc"], &content_digest(b"abc")));
        assert!(whole(&[], &content_digest(b"")));
        assert!(!whole(&["ab"], &content_digest(b"abc")));
        assert!(!whole(&["abc"], "sha-512=:AAAA:"));
    }
}
