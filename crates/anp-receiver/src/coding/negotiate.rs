//! Which content coding a caller gets (RFC 9110 section 12.5.3).

use serde::{Deserialize, Serialize};

/// A content coding that the receiver can apply (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentCoding {
    /// Zstandard (RFC 8878, RFC 9659).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// GZIP (RFC 1952).
    Gzip,
}

/// A weight in thousandths: 0 is "not acceptable", 1000 the most and the default.
type Weight = u16;

impl ContentCoding {
    /// As headers and the configuration write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// True where a header means this coding by `token`. `x-gzip` is gzip (RFC 9110 section 8.4.1.3).
    fn is_called(self, token: &[u8]) -> bool {
        token.eq_ignore_ascii_case(self.name().as_bytes())
            || self == Self::Gzip && token.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// The coding that the caller likes best; among equals the first of `preference`. `None` where it
/// takes none of them, likes the plain body better, or sent no Accept-Encoding: such a caller may
/// take anything by the letter, but most of them know no coding.
pub(super) fn choose<'a>(
    accept_encoding: impl Iterator<Item = &'a [u8]> + Clone,
    preference: &[ContentCoding],
) -> Option<ContentCoding> {
    let weight_of = |coding: ContentCoding| {
        weight(accept_encoding.clone(), |token| coding.is_called(token))
            .or_else(|| weight(accept_encoding.clone(), |token| token == b"*"))
            .unwrap_or(0)
    };
    let plain = weight(accept_encoding.clone(), |token| {
        token.eq_ignore_ascii_case(b"identity")
    });
    let mut best = None;
    let mut most = plain.unwrap_or(0).max(1);
    for coding in preference {
        let weight = weight_of(*coding);
        // The first that reaches the mark sets it; later ones have to be above.
        if weight > most || best.is_none() && weight == most {
            (best, most) = (Some(*coding), weight);
        }
    }
    best
}

/// The greatest weight of a member that `wanted` picks; `None` without such a member. One whose
/// weight is malformed counts as absent.
fn weight<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    wanted: impl Fn(&[u8]) -> bool,
) -> Option<Weight> {
    fields
        .flat_map(|field| field.split(|b| *b == b','))
        .filter_map(|member| {
            let mut parts = member.split(|b| *b == b';').map(<[u8]>::trim_ascii);
            let token = parts.next()?;
            if !wanted(token) {
                return None;
            }
            match (parts.next(), parts.next()) {
                (None, _) => Some(1000),
                (Some(weight), None) => parse_weight(weight),
                (Some(_), Some(_)) => None,
            }
        })
        .max()
}

/// Reads `q=0.5` (RFC 9110 section 12.4.2).
fn parse_weight(text: &[u8]) -> Option<Weight> {
    let value = match text {
        [b'q' | b'Q', b'=', value @ ..] => value,
        _ => return None,
    };
    let (whole, decimals) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let whole = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    let mut weight = whole;
    for digit in decimals {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        weight += Weight::from(digit) * unit;
        unit /= 10;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentCoding::{Br, Gzip, Zstd};

    fn chosen(fields: &[&str]) -> Option<ContentCoding> {
        choose(fields.iter().map(|f| f.as_bytes()), &[Zstd, Br, Gzip])
    }

    #[test]
    fn the_caller_decides_and_the_order_of_preference_breaks_ties() {
        for (fields, coding) in [
            // Browsers, curl --compressed, common libraries.
            (&["gzip, deflate, br, zstd"][..], Some(Zstd)),
            (&["gzip, deflate, br"], Some(Br)),
            (&["gzip, deflate"], Some(Gzip)),
            (&["GZIP;Q=1"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            // Weights.
            (&["zstd;q=0.5, gzip;q=0.501"], Some(Gzip)),
            (&["zstd;q=0.5,br;q=0.5"], Some(Zstd)),
            (&["br ; q=1.000 , gzip\t;\tq=1."], Some(Br)),
            (&["zstd;q=0, gzip;q=0.001"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000"], None),
            (&["gzip;q=0", "gzip;q=0.1"], Some(Gzip)),
            // The wildcard stands for what is not named.
            (&["*"], Some(Zstd)),
            (&["*;q=0"], None),
            (&["gzip, *;q=0"], Some(Gzip)),
            (&["zstd;q=0, *"], Some(Br)),
            (&["zstd;q=0.2, *;q=0.3"], Some(Br)),
            // The plain body.
            (&["identity"], None),
            (&["identity;q=1, gzip;q=0.5"], None),
            (&["identity;q=0.5, *;q=0.4"], None),
            (&["identity, gzip"], Some(Gzip)),
            (&["identity;q=0.5, gzip"], Some(Gzip)),
            (&["identity;q=0, gzip;q=0.1"], Some(Gzip)),
            (&["identity;q=0"], None),
            // Several fields are one list.
            (&["deflate", "br", "gzip;q=0.1"], Some(Br)),
            // Nothing, and nothing of ours.
            (&[], None),
            (&[""], None),
            (&[" , ,"], None),
            (&["deflate, compress"], None),
        ] {
            assert_eq!(chosen(fields), coding, "{fields:?}");
        }
        let only_gzip = choose([&b"zstd, gzip;q=0.1"[..]].into_iter(), &[Gzip]);
        assert_eq!(only_gzip, Some(Gzip));
        let gzip_first = choose([&b"zstd, gzip"[..]].into_iter(), &[Gzip, Zstd]);
        assert_eq!(gzip_first, Some(Gzip));
        assert_eq!(choose([&b"gzip"[..]].into_iter(), &[]), None);
    }

    #[test]
    fn members_with_a_malformed_weight_count_for_nothing() {
        for weight in [
            "q", "q=", "q=2", "q=1.001", "q=-1", "q=.5", "q=0.1234", "q=0,5", "q=0.x", "w=1", "",
            "q=1;x=y",
        ] {
            assert_eq!(chosen(&[&format!("gzip;{weight}")]), None, "{weight:?}");
        }
    }
}
