//! Any bytes at both decoders, as they are and behind a header that is right.
#![no_main]

use anpx::{frame::Frame, v1::codec::Decoded, v2};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let message = Bytes::copy_from_slice(input);
    let _ = v2::Frame::decode(&message);
    let _ = Decoded::decode(message);
    // CRCs that no mutation finds would hide all that lies behind them.
    let [kind, flags, stream, tlvs @ ..] = input else {
        return;
    };
    for version in [1, 2] {
        let frame = Frame {
            version,
            kind: *kind,
            flags: *flags,
            stream: u32::from(*stream),
            tlvs: Bytes::copy_from_slice(tlvs),
            body: Bytes::new(),
        };
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        match version {
            1 => drop(Decoded::decode(out.freeze())),
            _ => drop(v2::Frame::decode(&out.freeze())),
        }
    }
});
