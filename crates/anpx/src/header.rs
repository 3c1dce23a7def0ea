//! The 24 bytes that begin every frame (ANPX 2.1, 3.1).

/// `ANPX`.
pub const MAGIC: [u8; 4] = *b"ANPX";

/// Version 1: this frame is one chunk of several.
pub const FLAG_CHUNK: u8 = 0x01;
/// Version 2: the last frame of its half.
pub const FLAG_END_STREAM: u8 = 0x02;
/// Version 2: a REQUEST that asks for an upgrade.
pub const FLAG_UPGRADE: u8 = 0x04;
/// Version 2: a RESPONSE that a final one follows.
pub const FLAG_INFORMATIONAL: u8 = 0x08;

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub version: u8,
    /// Frame type.
    pub kind: u8,
    /// Flags; undefined ones are ignored.
    pub flags: u8,
    /// Length of the frame in bytes, header included.
    pub total: u32,
    /// CRC-32/ISO-HDLC over all that follows the header.
    pub body_crc: u32,
    /// Version 2: stream id. Version 1: written 0, not checked.
    pub stream: u32,
}

/// What is wrong with a header, with the values that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("{0} bytes are less than the 24 of a header")]
    Short(usize),
    /// The first four bytes are not `ANPX`.
    #[error("bytes 0..4 are {0:02x?}, not the magic \"ANPX\"")]
    Magic([u8; 4]),
    /// Neither 1 nor 2.
    #[error("byte 4, the version, is {0}, neither 1 nor 2")]
    Version(u8),
    /// The header's CRC differs.
    #[error("header CRC (bytes 12..16) is {found:#010x}, computed {computed:#010x}")]
    HeaderCrc {
        /// As written in the frame.
        found: u32,
        /// As computed over the frame.
        computed: u32,
    },
    /// The total length is not the message's.
    #[error("total length (bytes 8..12) is {total}, the message has {actual} bytes")]
    Length {
        /// As written in the frame.
        total: u32,
        /// The message's length.
        actual: usize,
    },
    /// The body's CRC differs.
    #[error("body CRC (bytes 16..20) is {found:#010x}, computed {computed:#010x}")]
    BodyCrc {
        /// As written in the frame.
        found: u32,
        /// As computed over the frame.
        computed: u32,
    },
}

impl Header {
    /// Encoded length in bytes.
    pub const LEN: usize = 24;

    /// The encoded header, its CRC filled in by its version's rule.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[..4].copy_from_slice(&MAGIC);
        b[4] = self.version;
        b[5] = self.kind;
        b[6] = self.flags;
        b[8..12].copy_from_slice(&self.total.to_be_bytes());
        b[16..20].copy_from_slice(&self.body_crc.to_be_bytes());
        b[20..24].copy_from_slice(&self.stream.to_be_bytes());
        let crc = header_crc(&b);
        b[12..16].copy_from_slice(&crc.to_be_bytes());
        b
    }

    /// Decodes and checks the header of `frame`, which must be one whole frame, and both CRCs.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn decode(frame: &[u8]) -> Result<Self, HeaderError> {
        let Some((b, body)) = frame.split_first_chunk::<{ Self::LEN }>() else {
            return Err(HeaderError::Short(frame.len()));
        };
        let magic = [b[0], b[1], b[2], b[3]];
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        if !matches!(b[4], 1 | 2) {
            return Err(HeaderError::Version(b[4]));
        }
        let (found, computed) = (be32(b, 12), header_crc(b));
        if found != computed {
            return Err(HeaderError::HeaderCrc { found, computed });
        }
        let total = be32(b, 8);
        if usize::try_from(total) != Ok(frame.len()) {
            return Err(HeaderError::Length {
                total,
                actual: frame.len(),
            });
        }
        let (found, computed) = (be32(b, 16), crc32fast::hash(body));
        if found != computed {
            return Err(HeaderError::BodyCrc { found, computed });
        }
        Ok(Self {
            version: b[4],
            kind: b[5],
            flags: b[6],
            total,
            body_crc: found,
            stream: be32(b, 20),
        })
    }

    /// True where `flag` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn be32(b: &[u8; Header::LEN], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// The CRC that belongs in bytes 12..16 of header `b`: version 1 covers bytes 0..12; version 2 also
/// 16..24, so the body CRC and the stream id (ANPX 3.1).
pub fn header_crc(b: &[u8; Header::LEN]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&b[..12]);
    if b[4] != 1 {
        crc.update(&b[16..]);
    }
    crc.finalize()
}
