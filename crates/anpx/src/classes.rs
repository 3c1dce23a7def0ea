//! Which bytes may stand where in a head. One table for all rules: every byte of every head passes
//! here, at both ends of a tunnel.

/// Of a token in lower case (RFC 9110 section 5.6.2).
pub(crate) const NAME: u8 = 1 << 0;
/// Of a token.
pub(crate) const TOKEN: u8 = 1 << 1;
/// Of a field value (RFC 9110 section 5.5): no control character but TAB.
pub(crate) const VALUE: u8 = 1 << 2;
/// Of a request target: neither white space nor a control character.
pub(crate) const VISIBLE: u8 = 1 << 3;
/// Of an authority (ANPX 3.3).
pub(crate) const HOST: u8 = 1 << 4;
/// Of a request id (ANPX 3.3).
pub(crate) const ID: u8 = 1 << 5;

const TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is an index of 256 places"
        )]
        let b = byte as u8;
        let marks = matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
        let visible = b > b' ' && b != 0x7f;
        let delimits = matches!(b, b'/' | b'@' | b'?' | b'#' | b'\\' | b',');
        let rules = [
            (NAME, b.is_ascii_lowercase() || b.is_ascii_digit() || marks),
            (TOKEN, b.is_ascii_alphanumeric() || marks),
            (VALUE, visible || matches!(b, b' ' | b'\t')),
            (VISIBLE, visible),
            (HOST, visible && !delimits),
            (
                ID,
                b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'),
            ),
        ];
        let mut rule = 0;
        while rule < rules.len() {
            if rules[rule].1 {
                table[byte] |= rules[rule].0;
            }
            rule += 1;
        }
        byte += 1;
    }
    table
};

/// True where every byte is of `class`. Without an early end: nearly all are good.
pub(crate) const fn all(bytes: &[u8], class: u8) -> bool {
    let mut common = class;
    let mut at = 0;
    while at < bytes.len() {
        common &= TABLE[bytes[at] as usize];
        at += 1;
    }
    common == class
}

/// True for a token (RFC 9110 section 5.6.2), either case.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_judged_by_the_grammar() {
        for byte in 0..=u8::MAX {
            let is = |class| all(&[b'x', byte, b'x'], class);
            let mark = b"!#$%&'*+-.^_`|~".contains(&byte);
            let visible = byte > b' ' && byte != 0x7f;
            assert_eq!(
                is(NAME),
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || mark
            );
            assert_eq!(is(TOKEN), byte.is_ascii_alphanumeric() || mark);
            assert_eq!(is(VALUE), visible || byte == b' ' || byte == b'\t');
            assert_eq!(is(VISIBLE), visible);
            assert_eq!(is(HOST), visible && !b"/@?#\\,".contains(&byte));
            assert_eq!(
                is(ID),
                byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
            );
        }
        assert!(all(b"", NAME));
    }
}
