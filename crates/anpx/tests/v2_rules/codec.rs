//! The codec of version 2: every frame survives, any bytes decode to something or an error, and no
//! flipped bit goes unseen (rows 19 and 20 of the threats).

use anpx::{
    Fields, RequestHead, ResetCode, ResponseHead,
    frame::Frame as Outgoing,
    v2::{Frame, Payload, Settings, encode},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::dialogue::bytes;

fn body() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn fields() -> impl Strategy<Value = Fields> {
    let value = "[!-~\u{80}-\u{ff}]([ -~\t]{0,20}[!-~])?";
    vec(("x-[a-z0-9!#$&_.^|~-]{1,20}", value), 0..12)
        .prop_map(|pairs| Fields::from_pairs(pairs).unwrap())
}

fn request() -> impl Strategy<Value = RequestHead> {
    let addr = any::<std::net::SocketAddr>().prop_map(|addr| match addr {
        // A scope is no part of `ip:port`.
        std::net::SocketAddr::V6(v6) => Bytes::from(format!("[{}]:{}", v6.ip(), v6.port())),
        std::net::SocketAddr::V4(v4) => Bytes::from(v4.to_string()),
    });
    let protocol = option::of("[a-zA-Z0-9!-]{1,10}");
    (
        (
            "[A-Za-z!#$%&'*+.^_`|~-]{1,20}",
            "(/[!-~\u{80}-\u{ff}]{0,60}|\\*)",
            "https?",
        ),
        (
            "[a-z0-9.:-]{0,30}",
            fields(),
            "[0-9A-Za-z._-]{1,64}",
            option::of(addr),
            protocol,
        ),
    )
        .prop_map(
            |((method, target, scheme), (authority, headers, id, client_addr, protocol))| {
                RequestHead {
                    method: method.into(),
                    target: target.into(),
                    scheme: scheme.into(),
                    authority: authority.into(),
                    headers,
                    request_id: id.into(),
                    client_addr,
                    protocol: protocol.map(Bytes::from),
                }
            },
        )
}

fn settings() -> impl Strategy<Value = Settings> {
    let frame_body = option::of(Settings::MAX_FRAME_BODY.1);
    let window = option::of(Settings::INITIAL_WINDOW.1);
    let streams = option::of(Settings::MAX_STREAMS.1);
    (frame_body, window, streams, option::of(any::<bool>())).prop_map(
        |(max_frame_body, initial_window, max_streams, accepting)| Settings {
            max_frame_body,
            initial_window,
            max_streams,
            accepting,
        },
    )
}

/// A frame to be written, and what its reader must find.
fn frames() -> impl Strategy<Value = (Outgoing, Frame)> {
    let id = 1..=u32::MAX;
    let on_stream = |stream, end, payload| Frame {
        stream,
        end,
        payload,
    };
    prop_oneof![
        (id.clone(), request(), body(), any::<bool>()).prop_map(move |(id, head, body, end)| {
            let upgrade = head.protocol.is_some();
            let (body, end) = if upgrade {
                (Bytes::new(), false)
            } else {
                (body, end)
            };
            let out = encode::request(id, &head, body.clone(), end);
            (
                out,
                on_stream(
                    id,
                    end,
                    Payload::Request {
                        head: Box::new(head),
                        body,
                    },
                ),
            )
        }),
        (id.clone(), 100_u16..600, fields(), body(), any::<bool>()).prop_map(
            move |(id, status, headers, body, end)| {
                let head = ResponseHead { status, headers };
                let informational = head.is_informational();
                let (body, end) = if informational {
                    (Bytes::new(), false)
                } else {
                    (body, end)
                };
                let out = encode::response(id, &head, body.clone(), end);
                (out, on_stream(id, end, Payload::Response { head, body }))
            }
        ),
        (id.clone(), body(), any::<bool>()).prop_map(move |(id, body, end)| {
            let out = encode::data(id, body.clone(), end);
            (out, on_stream(id, end, Payload::Data(body)))
        }),
        (id.clone(), fields()).prop_map(move |(id, fields)| {
            (
                encode::trailers(id, &fields),
                on_stream(id, true, Payload::Trailers(fields)),
            )
        }),
        (id.clone(), any::<u32>()).prop_map(move |(id, credit)| {
            (
                encode::window(id, credit),
                on_stream(id, false, Payload::Window(credit)),
            )
        }),
        (id, any::<u32>()).prop_map(move |(id, code)| {
            let code = ResetCode(code);
            (
                encode::reset(id, code),
                on_stream(id, false, Payload::Reset(code)),
            )
        }),
        settings().prop_map(move |settings| {
            (
                encode::settings(&settings),
                on_stream(0, false, Payload::Settings(settings)),
            )
        }),
        (any::<u32>(), option::of(any::<u32>())).prop_map(move |(code, last_stream)| {
            let code = ResetCode(code);
            let payload = Payload::GoAway { code, last_stream };
            (
                encode::go_away(code, last_stream),
                on_stream(0, false, payload),
            )
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn every_frame_survives((out, expected) in frames()) {
        let encoded = bytes(&out);
        prop_assert_eq!(encoded.len(), out.encoded_len());
        prop_assert_eq!(Frame::decode(&encoded), Ok(expected));
    }

    #[test]
    fn any_bytes_decode_to_something_or_an_error(input in vec(any::<u8>(), 0..400)) {
        let _ = Frame::decode(&Bytes::from(input));
    }

    /// Right CRCs, so that what lies behind them is reached.
    #[test]
    fn any_tlvs_decode_to_something_or_an_error(
        kind in 0_u8..12, flags in any::<u8>(), stream in 0_u32..3, tlvs in vec(any::<u8>(), 0..200),
    ) {
        let frame = Outgoing {
            version: 2, kind, flags, stream, tlvs: tlvs.into(), body: Bytes::new(),
        };
        let _ = Frame::decode(&bytes(&frame));
    }

    #[test]
    fn a_changed_frame_decodes_to_something_or_an_error(
        (out, _) in frames(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut tlvs = [&out.tlvs[..], &out.body].concat();
        for (at, byte) in changes {
            if !tlvs.is_empty() {
                let at = at.index(tlvs.len());
                tlvs[at] = byte;
            }
        }
        let changed = Outgoing { tlvs: tlvs.into(), body: Bytes::new(), ..out };
        let _ = Frame::decode(&bytes(&changed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn a_flipped_bit_is_caught((out, _) in frames()) {
        let encoded = bytes(&out);
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Frame::decode(&flipped.into()).is_err(), "bit {bit}");
        }
    }
}
