//! The header itself.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use tokio::{io::AsyncReadExt, net::TcpStream};

/// The longest line of version 1, its end included (2.1).
const MAX_V1: usize = 107;
/// What begins version 2 (2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 2 has before addresses: signature, version and command, family, length.
const FIXED: usize = 16;
/// Most bytes of addresses and extensions, which are skipped. Senders in use stay below 1 KiB.
const MAX_REST: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Nothing: the connection is the sender's own, or one it cannot describe. The socket's
    /// addresses are true.
    Own,
    /// Whose connection it is.
    Of {
        /// The caller's end.
        source: SocketAddr,
        /// The address it connected to.
        destination: SocketAddr,
    },
}

/// Why a connection has no header that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// It is longer than any that could be meant.
    #[error("the PROXY header is too long")]
    TooLong,
    /// It breaks the rules, as the text says.
    #[error("the PROXY header is not valid: {0}")]
    Malformed(&'static str),
    /// The peer's word does not count.
    #[error("the peer is none of gateway.trusted_proxies")]
    Untrusted,
    /// The connection ended before the header did.
    #[error("the connection ended within its PROXY header")]
    Ended {
        /// Bytes of it had come.
        begun: bool,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes the header off `socket` and not a byte beyond it: what follows is another protocol's.
///
/// # Errors
/// There is none, and what was read is lost.
pub(crate) async fn read(socket: &mut TcpStream) -> Result<Header, HeaderError> {
    let mut bytes = vec![0; FIXED + MAX_REST];
    let mut taken = 0;
    loop {
        let new = bytes.get_mut(taken..).unwrap_or_default();
        let peeked = match socket.peek(new).await? {
            0 => return Err(HeaderError::Ended { begun: taken > 0 }),
            n => taken + n,
        };
        let parsed = parse(bytes.get(..peeked).unwrap_or_default())?;
        // All that was seen of an incomplete header belongs to it.
        let len = parsed.map_or(peeked, |(_, len)| len);
        let ours = bytes.get_mut(taken..len).unwrap_or_default();
        socket.read_exact(ours).await?;
        if let Some((header, _)) = parsed {
            return Ok(header);
        }
        taken = len;
    }
}

/// The header at the front of `bytes` and its length; `None` while more of it must come, which is
/// never said of more than [`FIXED`] and [`MAX_REST`] bytes.
///
/// # Errors
/// `bytes` begin no header, however they go on.
fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_v1(bytes),
        Some(_) => parse_v2(bytes),
    }
}

/// True where `bytes` begin with `prefix`, false while they may.
fn begins(bytes: &[u8], prefix: &[u8]) -> Result<bool, HeaderError> {
    let n = bytes.len().min(prefix.len());
    match bytes.get(..n) == prefix.get(..n) {
        true => Ok(n == prefix.len()),
        false => Err(HeaderError::Missing),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    if !begins(bytes, b"PROXY ")? {
        return Ok(None);
    }
    let window = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(lf) = memchr::memchr(b'\n', window) else {
        return match bytes.len() < MAX_V1 {
            true => Ok(None),
            false => Err(HeaderError::TooLong),
        };
    };
    let line = window.get(..lf).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let line = line.filter(|line| line.is_ascii() && !line.contains('\r'));
    let line = line.ok_or(HeaderError::Malformed(
        "it is no line of ASCII that ends in CR LF",
    ))?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("TCP4") => addresses::<Ipv4Addr>(words)?,
        Some("TCP6") => addresses::<Ipv6Addr>(words)?,
        // What follows is to be ignored.
        Some("UNKNOWN") => Header::Own,
        _ => {
            return Err(HeaderError::Malformed(
                "it names neither TCP4, TCP6 nor UNKNOWN",
            ));
        }
    };
    Ok(Some((header, lf + 1)))
}

/// Source, destination and their ports, and nothing else.
fn addresses<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<Header, HeaderError> {
    let ip = |word: Option<&str>| {
        let ip = word.and_then(|word| word.parse::<A>().ok());
        ip.ok_or(HeaderError::Malformed("an address is not of the family"))
    };
    let port = |word: Option<&str>| {
        let plain = |word: &&str| {
            word.bytes().all(|b| b.is_ascii_digit()) && (*word == "0" || !word.starts_with('0'))
        };
        let port = word.filter(plain).and_then(|word| word.parse().ok());
        port.ok_or(HeaderError::Malformed("a port is no number to 65535"))
    };
    let (source, destination) = (ip(words.next())?, ip(words.next())?);
    let header = Header::Of {
        source: SocketAddr::new(source.into(), port(words.next())?),
        destination: SocketAddr::new(destination.into(), port(words.next())?),
    };
    match words.next() {
        None => Ok(header),
        Some(_) => Err(HeaderError::Malformed("something follows its addresses")),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    if !begins(bytes, SIGNATURE)? {
        return Ok(None);
    }
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_REST {
        return Err(HeaderError::TooLong);
    }
    let proxied = match command {
        0x20 => false,
        0x21 => true,
        _ => {
            return Err(HeaderError::Malformed(
                "its version or command is not known",
            ));
        }
    };
    let Some(rest) = bytes.get(FIXED..FIXED + len) else {
        return Ok(None);
    };
    let header = match proxied {
        true => family_v2(family, rest)?,
        // Whatever family it names.
        false => Header::Own,
    };
    Ok(Some((header, FIXED + len)))
}

/// The addresses in front of `rest`. Those of other transports and of Unix sockets say nothing of a
/// TCP connection (2.2: what a receiver does not implement is as UNSPEC).
fn family_v2(family: u8, rest: &[u8]) -> Result<Header, HeaderError> {
    const SHORT: HeaderError = HeaderError::Malformed("it is shorter than its addresses");
    match family {
        0x11 => {
            let (addresses, _) = rest.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, e, f, g, h, p, q, r, s] = *addresses;
            Ok(Header::Of {
                source: SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q]))),
                destination: SocketAddr::from(([e, f, g, h], u16::from_be_bytes([r, s]))),
            })
        }
        0x21 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let ([p, q, r, s], _) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            Ok(Header::Of {
                source: SocketAddr::from((*source, u16::from_be_bytes([*p, *q]))),
                destination: SocketAddr::from((*destination, u16::from_be_bytes([*r, *s]))),
            })
        }
        0x00 => Ok(Header::Own),
        0x12 if rest.len() >= 12 => Ok(Header::Own),
        0x22 if rest.len() >= 36 => Ok(Header::Own),
        0x31 | 0x32 if rest.len() >= 216 => Ok(Header::Own),
        0x12 | 0x22 | 0x31 | 0x32 => Err(SHORT),
        _ => Err(HeaderError::Malformed("its address family is not known")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn of(source: &str, destination: &str) -> Header {
        Header::Of {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 203, 0, 113, 9, 0x9c, 0x40, 1, 0xbb];

    fn v6() -> Vec<u8> {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let ports = [0x9c, 0x40, 1, 0xbb];
        [&ip("2001:db8::1")[..], &ip("2001:db8::2"), &ports].concat()
    }

    fn good() -> Vec<(Vec<u8>, Header)> {
        let v4 = of("192.0.2.1:40000", "203.0.113.9:443");
        let v6_header = of("[2001:db8::1]:40000", "[2001:db8::2]:443");
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let worst = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
        assert_eq!(worst.len(), MAX_V1);
        let text = |text: &str| text.as_bytes().to_vec();
        vec![
            (text("PROXY TCP4 192.0.2.1 203.0.113.9 40000 443\r\n"), v4),
            (
                text("PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n"),
                v6_header,
            ),
            (
                text("PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n"),
                of("0.0.0.0:0", "0.0.0.0:65535"),
            ),
            (text("PROXY UNKNOWN\r\n"), Header::Own),
            (text(&worst), Header::Own),
            (v2(0x21, 0x11, &V4), v4),
            (v2(0x21, 0x21, &v6()), v6_header),
            (v2(0x21, 0x11, &[&V4[..], &[4, 0, 1, 9]].concat()), v4),
            (
                v2(0x21, 0x21, &[&v6()[..], &[9; MAX_REST - 36]].concat()),
                v6_header,
            ),
            (v2(0x20, 0x00, b""), Header::Own),
            (v2(0x20, 0x11, &V4), Header::Own),
            (v2(0x20, 0xff, b"x"), Header::Own),
            (v2(0x21, 0x00, b""), Header::Own),
            (v2(0x21, 0x12, &V4), Header::Own),
            (v2(0x21, 0x31, &[b'/'; 216]), Header::Own),
        ]
    }

    #[test]
    fn whole_headers_and_every_part_of_them() {
        for (bytes, header) in good() {
            let len = bytes.len();
            assert_eq!(parse(&bytes).unwrap(), Some((header, len)), "{bytes:?}");
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&more).unwrap(), Some((header, len)), "{bytes:?}");
            for n in 0..len {
                assert_eq!(parse(&bytes[..n]).unwrap(), None, "{n} of {bytes:?}");
            }
        }
    }

    #[test]
    fn broken_headers() {
        let error = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        for bytes in [
            &b"GET"[..],
            b"PRI",
            b"PROXYX",
            b"\r\nG",
            b"\0",
            &[0x16, 3, 1],
        ] {
            let error = error(bytes);
            assert!(
                error.ends_with("does not begin with a PROXY header"),
                "{error}"
            );
        }
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; MAX_V1]].concat();
        assert!(error(&long).contains("too long"));
        assert!(error(&v2(0x21, 0x00, &[0; MAX_REST + 1])[..16]).contains("too long"));
        for line in [
            "TCP4 192.0.2.1 203.0.113.9 40000\r\n",
            "TCP4 192.0.2.1 203.0.113.9 40000 443 \r\n",
            "TCP4 192.0.2.1 203.0.113.9 40000 443 1\r\n",
            "TCP4  192.0.2.1 203.0.113.9 40000 443\r\n",
            "TCP4 192.0.2.01 203.0.113.9 40000 443\r\n",
            "TCP4 2001:db8::1 2001:db8::2 40000 443\r\n",
            "TCP6 192.0.2.1 203.0.113.9 40000 443\r\n",
            "TCP4 192.0.2.1 203.0.113.9 040000 443\r\n",
            "TCP4 192.0.2.1 203.0.113.9 40000 65536\r\n",
            "TCP4 192.0.2.1 203.0.113.9 +1 443\r\n",
            "TCP4 192.0.2.1 203.0.113.9 40000 443\n",
            "TCP4 192.0.2.1 203.0.113.9 40000 443\r\r\n",
            "tcp4 192.0.2.1 203.0.113.9 40000 443\r\n",
            "UNKNOWN \u{e9}\r\n",
            "UNKNOWNX\r\n",
            "\r\n",
        ] {
            let error = error(format!("PROXY {line}").as_bytes());
            assert!(error.contains("is not valid"), "{line}: {error}");
        }
        for bytes in [
            v2(0x11, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &V4),
            v2(0x21, 0x12, b""),
            v2(0x21, 0x31, &V4),
            v2(0x21, 0x13, &V4),
            v2(0x21, 0x41, &V4),
        ] {
            let error = error(&bytes);
            assert!(error.contains("is not valid"), "{bytes:?}: {error}");
        }
    }

    proptest! {
        /// Any bytes have an answer, and more bytes do not change one that was given.
        #[test]
        fn nothing_changes_an_answer(
            start in proptest::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21"]),
            rest in vec(any::<u8>(), 0..300),
            cut in any::<proptest::sample::Index>(),
        ) {
            let bytes = [start, &rest[..]].concat();
            let part = &bytes[..cut.index(bytes.len() + 1)];
            match (parse(part), parse(&bytes)) {
                (Ok(None), whole) => {
                    if let Ok(Some((_, len))) = whole {
                        prop_assert!(part.len() < len && len <= bytes.len());
                    }
                }
                (Ok(before), after) => prop_assert_eq!(before, after.unwrap()),
                (Err(_), after) => prop_assert!(after.is_err()),
            }
        }

        /// A buffer of the largest size is enough to decide.
        #[test]
        fn a_full_buffer_decides(rest in vec(any::<u8>(), MAX_REST..MAX_REST + 1), high in 0u8..=255) {
            let mut bytes = v2(0x21, 0x11, &rest);
            bytes[14] = high;
            prop_assert!(!matches!(parse(&bytes), Ok(None)));
        }
    }
}
