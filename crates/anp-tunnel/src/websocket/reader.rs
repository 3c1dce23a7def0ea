//! From bytes to messages.

use anpx::{CloseCode, limits::Budget};
use bytes::BytesMut;

use super::{
    Side,
    held::Held,
    mask,
    message::{Message, WebSocketError},
    opcode,
};

/// Joins frames into messages. Holds no memory between messages.
#[derive(Debug)]
pub(crate) struct Reader {
    side: Side,
    /// Most bytes of a message.
    limit: usize,
    /// The header of the frame being read, as far as it is there.
    head: [u8; 14],
    head_len: usize,
    frame: Option<Frame>,
    /// The data message being joined and its opcode.
    message: BytesMut,
    message_opcode: Option<u8>,
    /// The control frame being read.
    control: BytesMut,
    empty_fragments: u32,
    held: Held,
}

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    key: Option<[u8; 4]>,
    len: usize,
    read: usize,
}

impl Frame {
    fn is_control(self) -> bool {
        self.opcode & 0x8 != 0
    }
}

impl Reader {
    /// From this length on what a frame lacks is read to where it will be.
    const IN_PLACE: usize = 16 << 10;
    /// From this length on a frame is one of many of a large body.
    const LARGE: usize = 48 << 10;
    /// Most bytes read behind the end of such a frame.
    const BEHIND: usize = 4 << 10;
    /// Most fragments without a byte that no message with bytes made good (ANPX 3.6).
    const MAX_EMPTY_FRAGMENTS: u32 = 1000;
    /// A length field is trusted for this much memory before its bytes arrive.
    const FIRST_ALLOCATION: usize = 256 << 10;

    /// Reads messages of at most `limit` bytes; what large ones take before they are whole is charged
    /// to `budget`.
    pub(crate) fn new(side: Side, limit: usize, budget: Budget) -> Self {
        Self {
            side,
            limit,
            head: [0; 14],
            head_len: 0,
            frame: None,
            message: BytesMut::new(),
            message_opcode: None,
            control: BytesMut::new(),
            empty_fragments: 0,
            held: Held::new(budget),
        }
    }

    /// Changes the limit for the messages that follow.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The message that a data frame is part of, and how many of the connection's next bytes may be
    /// appended to it, to be told of with [`Reader::filled`]: what the frame lacks, and of a large
    /// one a little more, so that the head of the next needs no read of its own. `None` where little
    /// is lacking: several small frames come with one read.
    pub(crate) fn spare(&mut self) -> Result<Option<(&mut BytesMut, usize)>, WebSocketError> {
        let Some(frame) = self.frame.filter(|f| !f.is_control()) else {
            return Ok(None);
        };
        let missing = frame.len - frame.read;
        let behind = Self::may_follow(frame.len);
        if behind == 0 && missing < Self::IN_PLACE {
            return Ok(None);
        }
        let trusted = missing.min(self.message.len().max(Self::FIRST_ALLOCATION));
        if self.message.capacity() - self.message.len() < trusted {
            self.held.grow(self.message.len() + trusted)?;
            self.message.reserve(trusted);
        }
        let free = self.message.capacity() - self.message.len();
        Ok(Some((&mut self.message, free.min(missing + behind))))
    }

    /// How many bytes behind a frame of `len` may be read with its last ones.
    fn may_follow(len: usize) -> usize {
        match len >= Self::LARGE {
            true => Self::BEHIND,
            false => 0,
        }
    }

    /// Takes note of `n` bytes appended to what [`Reader::spare`] gave. Gives the message, where it is
    /// whole now, and how many bytes came behind the frame ([`Reader::BEHIND`] at most): they are at the
    /// start of `behind`, and yet to be fed.
    pub(crate) fn filled(
        &mut self,
        n: usize,
        behind: &mut [u8],
    ) -> Result<(Option<Message>, usize), WebSocketError> {
        let Some(frame) = &mut self.frame else {
            return Ok((None, 0));
        };
        let start = self.message.len() - n;
        let of_frame = n.min(frame.len - frame.read);
        let end = start + of_frame;
        let rest = n - of_frame;
        behind[..rest].copy_from_slice(&self.message[end..]);
        self.message.truncate(end);
        if let Some(key) = frame.key {
            mask::apply(&mut self.message[start..], key, frame.read);
        }
        frame.read += of_frame;
        if frame.read < frame.len {
            return Ok((None, 0));
        }
        Ok((self.end_frame()?, rest))
    }

    /// Takes bytes off the front of `input` until a message is whole or `input` is empty.
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Message>, WebSocketError> {
        loop {
            if self.frame.is_none() && !self.read_head(input)? {
                return Ok(None);
            }
            let Some(frame) = &mut self.frame else {
                return Ok(None);
            };
            let take = (frame.len - frame.read).min(input.len());
            let (payload, rest) = input.split_at(take);
            *input = rest;
            let target = if frame.is_control() {
                &mut self.control
            } else {
                &mut self.message
            };
            if target.capacity() - target.len() < take {
                let room = frame.len - frame.read + Self::may_follow(frame.len);
                let room = room.min(Self::FIRST_ALLOCATION).max(take);
                self.held.grow(target.len() + room)?;
                target.reserve(room);
            }
            let start = target.len();
            target.extend_from_slice(payload);
            if let Some(key) = frame.key {
                mask::apply(&mut target[start..], key, frame.read);
            }
            frame.read += take;
            if frame.read < frame.len {
                return Ok(None);
            }
            if let Some(message) = self.end_frame()? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads the header of a frame; false where more bytes are needed.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<bool, WebSocketError> {
        while self.head_len < self.head_needed() {
            let take = (self.head_needed() - self.head_len).min(input.len());
            if take == 0 {
                return Ok(false);
            }
            let (bytes, rest) = input.split_at(take);
            self.head[self.head_len..self.head_len + take].copy_from_slice(bytes);
            self.head_len += take;
            *input = rest;
        }
        let frame = self.parse_head()?;
        self.head_len = 0;
        self.frame = Some(frame);
        Ok(true)
    }

    /// Length of the header as far as its first two bytes tell.
    fn head_needed(&self) -> usize {
        if self.head_len < 2 {
            return 2;
        }
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.head[1] & 0x80 != 0 { 4 } else { 0 }
    }

    fn parse_head(&self) -> Result<Frame, WebSocketError> {
        let [first, second, ..] = self.head;
        if first & 0x70 != 0 {
            return Err(WebSocketError::protocol("a reserved bit is set"));
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let masked = second & 0x80 != 0;
        if masked != (self.side == Side::Server) {
            return Err(WebSocketError::protocol(
                "masked by the server or not masked by the client",
            ));
        }
        let (len, at) = match second & 0x7f {
            126 => (
                u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
                4,
            ),
            127 => {
                let mut len = [0; 8];
                len.copy_from_slice(&self.head[2..10]);
                (u64::from_be_bytes(len), 10)
            }
            len => (u64::from(len), 2),
        };
        let mut key = [0; 4];
        if masked {
            key.copy_from_slice(&self.head[at..at + 4]);
        }
        let continues = self.message_opcode.is_some();
        match opcode {
            opcode::CLOSE | opcode::PING | opcode::PONG => {
                if !fin || len > 125 {
                    return Err(WebSocketError::protocol(
                        "a control frame in fragments or over 125 bytes",
                    ));
                }
            }
            opcode::CONTINUATION if continues => {}
            opcode::TEXT | opcode::BINARY if !continues => {}
            opcode::CONTINUATION | opcode::TEXT | opcode::BINARY => {
                return Err(WebSocketError::protocol("a fragment out of place"));
            }
            _ => return Err(WebSocketError::protocol("a reserved opcode")),
        }
        let joined = if opcode & 0x8 == 0 {
            self.message.len()
        } else {
            0
        };
        let fits = usize::try_from(len).ok().filter(|len| {
            joined
                .checked_add(*len)
                .is_some_and(|total| total <= self.limit)
        });
        let len = fits.ok_or(WebSocketError {
            code: CloseCode::TOO_BIG,
            reason: "a message exceeds the frame limit",
        })?;
        Ok(Frame {
            fin,
            opcode,
            key: masked.then_some(key),
            len,
            read: 0,
        })
    }

    fn end_frame(&mut self) -> Result<Option<Message>, WebSocketError> {
        let Some(frame) = self.frame.take() else {
            return Ok(None);
        };
        if frame.is_control() {
            let payload = std::mem::take(&mut self.control).freeze();
            return Message::control(frame.opcode, payload).map(Some);
        }
        if !frame.fin && frame.len == 0 {
            self.empty_fragments += 1;
            if self.empty_fragments > Self::MAX_EMPTY_FRAGMENTS {
                let code = CloseCode::LIMIT;
                return Err(WebSocketError {
                    code,
                    reason: "too many empty fragments",
                });
            }
        }
        let opcode = self.message_opcode.take().unwrap_or(frame.opcode);
        if !frame.fin {
            self.message_opcode = Some(opcode);
            return Ok(None);
        }
        let payload = std::mem::take(&mut self.message).freeze();
        self.held.settle();
        if !payload.is_empty() {
            self.empty_fragments = self.empty_fragments.saturating_sub(1);
        }
        Ok(Some(if opcode == opcode::TEXT {
            Message::Text(payload)
        } else {
            Message::Binary(payload)
        }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn all(reader: &mut Reader, mut input: &[u8]) -> Result<Vec<Message>, WebSocketError> {
        let mut messages = Vec::new();
        while !input.is_empty() {
            messages.extend(reader.feed(&mut input)?);
        }
        Ok(messages)
    }

    fn client(limit: usize) -> Reader {
        Reader::new(Side::Client, limit, Budget::new(1 << 30))
    }

    #[test]
    fn each_message_makes_an_empty_fragment_good() {
        let message = [[0x02, 0].as_slice(), &[0x80, 1, 7]].concat();
        let mut reader = client(1000);
        all(&mut reader, &message.repeat(2000)).unwrap();
        let empty = [[0x02, 0].as_slice(), &[0, 0].repeat(999)].concat();
        all(&mut reader, &empty).unwrap();
        let error = all(&mut reader, &[0, 0]).unwrap_err();
        assert_eq!(error.code, CloseCode::LIMIT);
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_are_cut() {
        // A masked "Hello" (RFC 6455 section 5.7), a ping inside a fragmented message, a 300-byte one.
        let mut input = vec![
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        input.extend([
            0x02, 0x82, 0, 0, 0, 0, 1, 2, 0x89, 0x80, 0, 0, 0, 0, 0x80, 0x81, 0, 0, 0, 0, 3,
        ]);
        input.extend([0x82, 0xfe, 0x01, 0x2c, 0, 0, 0, 0]);
        input.extend([9; 300]);
        let expected = vec![
            Message::Text(Bytes::from_static(b"Hello")),
            Message::Ping(Bytes::new()),
            Message::Binary(Bytes::from_static(&[1, 2, 3])),
            Message::Binary(Bytes::from(vec![9; 300])),
        ];
        for size in 1..=input.len() {
            let mut reader = Reader::new(Side::Server, 1000, Budget::new(1 << 30));
            let mut messages = Vec::new();
            for piece in input.chunks(size) {
                messages.extend(all(&mut reader, piece).unwrap());
            }
            assert_eq!(messages, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_read_in_place_is_the_payload_and_what_is_behind_it_follows() {
        let first: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
        let second = vec![7; 300];
        let mut input = vec![0x82, 0xfe, 0xc3, 0x50, 1, 2, 3, 4];
        let at = input.len();
        input.extend(&first);
        mask::apply(&mut input[at..], [1, 2, 3, 4], 0);
        input.extend([0x82, 0xfe, 0x01, 0x2c, 0, 0, 0, 0]);
        input.extend(&second);
        let expected = [first, second].map(|m| Message::Binary(Bytes::from(m)));
        for most in [1, 3, 4096, 1 << 20] {
            let mut reader = Reader::new(Side::Server, 1 << 20, Budget::new(1 << 30));
            let (mut messages, mut scratch) = (Vec::new(), [0; Reader::BEHIND]);
            // The first bytes come with others, as behind a frame before.
            let (mut begin, mut left) = input.split_at(100);
            assert_eq!(reader.feed(&mut begin), Ok(None));
            let mut in_place = 0;
            while let Some((message, room)) = reader.spare().unwrap() {
                let n = room.min(most).min(left.len());
                message.extend_from_slice(&left[..n]);
                left = &left[n..];
                let (message, behind) = reader.filled(n, &mut scratch).unwrap();
                messages.extend(message);
                messages.extend(all(&mut reader, &scratch[..behind]).unwrap());
                in_place += n;
            }
            assert!(in_place >= 49_900, "{in_place}");
            messages.extend(all(&mut reader, left).unwrap());
            assert!(messages == expected, "{most} bytes at once");
        }
    }

    #[test]
    fn what_is_behind_a_frame_that_is_not_large_is_left_to_another_read() {
        let mut reader = client(1 << 20);
        let mut begin = &[0x82, 126, 0x80, 0x00, 5, 5][..];
        assert_eq!(reader.feed(&mut begin), Ok(None));
        let lacking = (32 << 10) - 2;
        assert_eq!(reader.spare().unwrap().unwrap().1, lacking);
        // Less than a read of its own is worth.
        reader
            .spare()
            .unwrap()
            .unwrap()
            .0
            .extend_from_slice(&vec![5; lacking - 100]);
        assert_eq!(reader.filled(lacking - 100, &mut []), Ok((None, 0)));
        assert!(reader.spare().unwrap().is_none());
    }

    #[test]
    fn small_frames_and_control_frames_are_not_read_in_place() {
        let mut reader = client(1 << 20);
        assert_eq!(reader.feed(&mut &[0x82, 126, 0x3f, 0xff, 5][..]), Ok(None));
        assert!(reader.spare().unwrap().is_none());
        let mut reader = client(1 << 20);
        assert_eq!(reader.feed(&mut &[0x89, 125, 5][..]), Ok(None));
        assert!(reader.spare().unwrap().is_none());
        assert!(client(1 << 20).spare().unwrap().is_none());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_its_code() {
        let code = |input: &[u8]| all(&mut client(100), input).unwrap_err().code;
        let protocol = CloseCode::WEBSOCKET_PROTOCOL;
        assert_eq!(code(&[0xc2, 0]), protocol, "reserved bit");
        assert_eq!(code(&[0x83, 0]), protocol, "reserved opcode");
        assert_eq!(
            code(&[0x82, 0x80, 0, 0, 0, 0]),
            protocol,
            "masked by a server"
        );
        assert_eq!(code(&[0x80, 0]), protocol, "continuation of nothing");
        assert_eq!(
            code(&[0x02, 0, 0x82, 0]),
            protocol,
            "a message inside a message"
        );
        assert_eq!(code(&[0x09, 0]), protocol, "control frame in fragments");
        assert_eq!(code(&[0x89, 126, 0, 126]), protocol, "long control frame");
        assert_eq!(code(&[0x88, 1, 0]), protocol, "close of one byte");
        assert_eq!(code(&[0x82, 101]), CloseCode::TOO_BIG);
        assert_eq!(
            code(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            CloseCode::TOO_BIG,
            "2^63"
        );
        let joined = [&[0x02, 60][..], &[0; 60], &[0x80, 60]].concat();
        assert_eq!(code(&joined), CloseCode::TOO_BIG, "joined fragments");
        assert_eq!(
            code(&[&[0x02, 0][..], &[0x00, 0].repeat(1000)].concat()),
            CloseCode::LIMIT
        );
    }

    #[test]
    fn a_length_alone_costs_little_memory() {
        let mut reader = client(64 << 20);
        assert_eq!(
            reader.feed(&mut &[0x82, 127, 0, 0, 0, 0, 4, 0, 0, 0, 1][..]),
            Ok(None)
        );
        assert!(reader.spare().unwrap().unwrap().0.capacity() <= 1 << 20);
    }
}
