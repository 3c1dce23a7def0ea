//! What the version-2 encoder writes, its decoder reads.
#![no_main]

use anpx::{
    Fields, RequestHead, ResetCode, ResponseHead, frame,
    v2::{Frame, Payload, Settings, encode},
};
use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    Request {
        method: String,
        target: Vec<u8>,
        authority: Vec<u8>,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
        id: Vec<u8>,
        addr: Option<std::net::SocketAddrV4>,
        protocol: Option<Vec<u8>>,
        body: Vec<u8>,
        end: bool,
    },
    Response {
        status: u16,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
        body: Vec<u8>,
        end: bool,
    },
    Data(Vec<u8>, bool),
    Trailers(Vec<(Vec<u8>, Vec<u8>)>),
    Window(u32),
    Reset(u32),
    Settings(Option<u32>, Option<u32>, Option<u32>, Option<bool>),
    GoAway(u32, Option<u32>),
}

/// The fields that are allowed.
fn fields(pairs: &[(Vec<u8>, Vec<u8>)]) -> Fields {
    let mut builder = Fields::builder(0);
    for (name, value) in pairs {
        let _ = builder.push(name, value);
    }
    builder.build()
}

/// A frame to be written, and what it says.
fn frames(stream: u32, input: Input) -> (frame::Frame, Frame) {
    let on = |end, payload| Frame {
        stream,
        end,
        payload,
    };
    match input {
        Input::Request {
            method,
            target,
            authority,
            fields: pairs,
            id,
            addr,
            protocol,
            body,
            end,
        } => {
            let upgrade = protocol.is_some();
            let (body, end) = if upgrade {
                (Bytes::new(), false)
            } else {
                (body.into(), end)
            };
            let head = RequestHead {
                method: method.into(),
                target: target.into(),
                scheme: "http".into(),
                authority: authority.into(),
                headers: fields(&pairs),
                request_id: id.into(),
                client_addr: addr.map(|addr| addr.to_string().into()),
                protocol: protocol.map(Bytes::from),
            };
            let out = encode::request(stream, &head, body.clone(), end);
            (
                out,
                on(
                    end,
                    Payload::Request {
                        head: Box::new(head),
                        body,
                    },
                ),
            )
        }
        Input::Response {
            status,
            fields: pairs,
            body,
            end,
        } => {
            let head = ResponseHead {
                status,
                headers: fields(&pairs),
            };
            let informational = head.is_informational();
            let (body, end) = if informational {
                (Bytes::new(), false)
            } else {
                (body.into(), end)
            };
            let out = encode::response(stream, &head, body.clone(), end);
            (out, on(end, Payload::Response { head, body }))
        }
        Input::Data(body, end) => {
            let body = Bytes::from(body);
            (
                encode::data(stream, body.clone(), end),
                on(end, Payload::Data(body)),
            )
        }
        Input::Trailers(pairs) => {
            let fields = fields(&pairs);
            (
                encode::trailers(stream, &fields),
                on(true, Payload::Trailers(fields)),
            )
        }
        Input::Window(credit) => (
            encode::window(stream, credit),
            on(false, Payload::Window(credit)),
        ),
        Input::Reset(code) => {
            let code = ResetCode(code);
            (encode::reset(stream, code), on(false, Payload::Reset(code)))
        }
        Input::Settings(max_frame_body, initial_window, max_streams, accepting) => {
            let settings = Settings {
                max_frame_body,
                initial_window,
                max_streams,
                accepting,
            };
            let frame = Frame {
                stream: 0,
                end: false,
                payload: Payload::Settings(settings),
            };
            (encode::settings(&settings), frame)
        }
        Input::GoAway(code, last_stream) => {
            let code = ResetCode(code);
            let payload = Payload::GoAway { code, last_stream };
            (
                encode::go_away(code, last_stream),
                Frame {
                    stream: 0,
                    end: false,
                    payload,
                },
            )
        }
    }
}

fuzz_target!(|input: (u32, Input)| {
    let (outgoing, expected) = frames(input.0.max(1), input.1);
    let mut out = BytesMut::new();
    outgoing.encode(&mut out);
    assert_eq!(out.len(), outgoing.encoded_len());
    match Frame::decode(&out.freeze()) {
        // A head that breaks a rule is read as one that does.
        Ok(Frame {
            payload: Payload::Faulty(kind, _),
            ..
        }) => assert_eq!(kind as u8, outgoing.kind),
        Ok(frame) => assert_eq!(frame, expected),
        Err(error) => match expected.payload {
            Payload::Settings(settings) => assert!(!settings.in_range(), "{error}"),
            other => panic!("{error}: {other:?}"),
        },
    }
});
