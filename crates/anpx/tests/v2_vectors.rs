//! The version-2 files of `vectors/`, whose README says what each key means.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

use std::{fs, time::Instant};

use anpx::{
    CloseCode, Fields, RequestHead, ResetCode, SessionError,
    frame::Frame as Outgoing,
    header::{FLAG_INFORMATIONAL, FLAG_UPGRADE, Header},
    session::{End, Role, Session, StreamId, Transmit, config::V2Config},
    tlv::{self, Tlvs},
    v2::{Frame, Kind, Payload, Settings, encode},
};
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../../vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let mut file: Value = toml_edit::de::from_str(&text).unwrap();
    let Value::Array(cases) = file["case"].take() else {
        panic!("no cases");
    };
    assert!(!cases.is_empty());
    cases
}

fn hex(block: &Value) -> Bytes {
    let lines = block.as_str().unwrap().lines();
    let digits: Vec<u8> = lines
        .flat_map(|line| line.split('#').next().unwrap().chars())
        .filter_map(|c| c.to_digit(16).map(|d| d as u8))
        .collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// Bytes as the vectors write them, one character a byte.
fn text(bytes: &[u8]) -> Value {
    bytes
        .iter()
        .map(|b| char::from(*b))
        .collect::<String>()
        .into()
}

fn encoded(frame: &Outgoing) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.freeze()
}

fn pairs(fields: &Fields) -> Value {
    fields
        .iter()
        .map(|(name, value)| json!([text(name), text(value)]))
        .collect()
}

/// What the vectors would say of a frame. `message` is for logs and the decoder skips it.
fn described(message: &Bytes, frame: &Frame) -> Value {
    let header = Header::decode(message).unwrap();
    let mut said = Map::new();
    let mut say = |key: &str, value: Value| said.insert(key.to_owned(), value);
    let kind = Kind::from_byte(header.kind);
    let name = kind.map_or("unknown".to_owned(), |kind| kind.name().to_lowercase());
    say("type", name.into());
    say("stream", frame.stream.into());
    say("end_stream", frame.end.into());
    say("upgrade", header.has(FLAG_UPGRADE).into());
    say("informational", header.has(FLAG_INFORMATIONAL).into());
    for tlv in Tlvs::new(message, Header::LEN) {
        let (tag, value) = tlv.unwrap();
        if tag == tlv::MESSAGE && kind.is_some() {
            say("message", text(value));
        }
    }
    match &frame.payload {
        Payload::Request { head, body } => {
            let optional = [
                ("client_addr", &head.client_addr),
                ("protocol", &head.protocol),
            ];
            for (key, value) in optional {
                if let Some(value) = value {
                    say(key, text(value));
                }
            }
            say("method", text(&head.method));
            say("target", text(&head.target));
            say("scheme", text(&head.scheme));
            say("authority", text(&head.authority));
            say("request_id", text(&head.request_id));
            say("headers", pairs(&head.headers));
            say("body", text(body));
        }
        Payload::Response { head, body } => {
            say("status", head.status.into());
            say("headers", pairs(&head.headers));
            say("body", text(body));
        }
        Payload::Data(body) => _ = say("body", text(body)),
        Payload::Trailers(fields) => _ = say("headers", pairs(fields)),
        Payload::Window(credit) => _ = say("credit", (*credit).into()),
        Payload::Reset(code) => _ = say("code", code.0.into()),
        Payload::Settings(settings) => {
            let values = [
                ("max_frame_body", settings.max_frame_body),
                ("initial_window", settings.initial_window),
                ("max_streams", settings.max_streams),
                ("accepting", settings.accepting.map(u32::from)),
            ];
            for (key, value) in values {
                if let Some(value) = value {
                    say(key, value.into());
                }
            }
        }
        Payload::GoAway { code, last_stream } => {
            say("code", code.0.into());
            if let Some(last) = last_stream {
                say("last_stream", (*last).into());
            }
        }
        Payload::Unknown(_) => {}
        Payload::Faulty(kind, fault) => panic!("{kind:?}: {fault}"),
    }
    Value::Object(said)
}

/// The frame once more, as our encoder writes it.
fn written(frame: &Frame) -> Option<Outgoing> {
    let (id, end) = (frame.stream, frame.end);
    Some(match &frame.payload {
        Payload::Request { head, body } => encode::request(id, head, body.clone(), end),
        Payload::Response { head, body } => encode::response(id, head, body.clone(), end),
        Payload::Data(body) => encode::data(id, body.clone(), end),
        Payload::Trailers(fields) => encode::trailers(id, fields),
        Payload::Window(credit) => encode::window(id, *credit),
        Payload::Reset(code) => encode::reset(id, *code),
        Payload::Settings(settings) => encode::settings(settings),
        Payload::GoAway { code, last_stream } => encode::go_away(*code, *last_stream),
        Payload::Unknown(_) | Payload::Faulty(..) => return None,
    })
}

#[test]
fn golden_frames_decode_and_survive_our_encoder() {
    for case in cases("v2-golden.toml") {
        let name = &case["name"];
        let message = hex(&case["hex"]);
        let frame = Frame::decode(&message).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut said = described(&message, &frame);
        let expect = case["expect"].as_object().unwrap();
        let said = said.as_object_mut().unwrap();
        // Absent means false, or empty.
        let absent = |key: &str| !expect.contains_key(key);
        said.retain(|key, value| !(absent(key) && (*value == json!(false) || *value == json!(""))));
        if absent("headers") && said.get("headers") == Some(&json!([])) {
            said.remove("headers");
        }
        let mut expect = expect.clone();
        if let Some(effective) = expect.remove("effective") {
            check_effective(&message, &effective, name);
        }
        // What is skipped leaves nothing.
        if frame.payload == Payload::Unknown(message[5]) {
            expect.retain(|key, _| said.contains_key(key));
        }
        assert_eq!(*said, expect, "{name}");
        if let Some(outgoing) = written(&frame) {
            assert_eq!(Frame::decode(&encoded(&outgoing)), Ok(frame), "{name}");
        }
    }
}

/// What a first SETTINGS amounts to, as far as it shows from outside.
fn check_effective(message: &Bytes, effective: &Value, name: &Value) {
    let now = Instant::now();
    let number = |key: &str| usize::try_from(effective[key].as_u64().unwrap()).unwrap();
    let config = V2Config {
        max_frame_body: 1 << 20,
        max_streams: 65_535,
        ..V2Config::new(Role::Gateway)
    };
    let mut gateway = Session::V2(anpx::session::v2::Session::new(config, now));
    gateway.handle_binary(now, message.clone()).unwrap();
    let accepts = number("accepting") == 1;
    let capacity = if accepts { number("max_streams") } else { 0 };
    assert_eq!(gateway.capacity(), capacity, "{name}");
    if accepts {
        let id = open(&mut gateway, now, "post");
        let room = number("initial_window").min(number("max_frame_body"));
        assert_eq!(gateway.send_capacity(id), Ok(room), "{name}");
    }
}

fn open(gateway: &mut Session, now: Instant, what: &str) -> StreamId {
    let (method, end, protocol) = match what {
        "get" => ("GET", End::Yes, None),
        "head" => ("HEAD", End::Yes, None),
        "post" => ("POST", End::No, None),
        "upgrade" => ("GET", End::No, Some(Bytes::from("websocket"))),
        other => panic!("{other}"),
    };
    let head = RequestHead {
        method: method.into(),
        target: "/".into(),
        scheme: "https".into(),
        authority: "app.example".into(),
        headers: Fields::default(),
        request_id: "r".into(),
        client_addr: None,
        protocol,
    };
    gateway.open(|| now, &head, Bytes::new(), end).unwrap()
}

/// A session that reads a case.
struct Reader {
    session: Session,
    now: Instant,
}

impl Reader {
    fn new(case: &Value) -> Self {
        let role = match case["reader"].as_str().unwrap() {
            "gateway" => Role::Gateway,
            _ => Role::Receiver,
        };
        let now = Instant::now();
        let mut config = V2Config::new(role);
        if let Some(window) = case["initial_window"].as_u64() {
            config.initial_window = u32::try_from(window).unwrap();
        }
        let session = Session::V2(anpx::session::v2::Session::new(config, now));
        Self { session, now }
    }

    fn reads(&mut self, message: Bytes) -> Result<(), SessionError> {
        self.session.handle_binary(self.now, message)
    }

    fn opens(&mut self, streams: &[&str]) {
        for what in streams {
            open(&mut self.session, self.now, what);
        }
    }

    /// The RESETs among all that it writes.
    fn resets(&mut self) -> Vec<(u32, ResetCode)> {
        let mut resets = Vec::new();
        while let Some(Transmit::Frame(frame)) = self.session.poll_transmit(self.now, 0) {
            let frame = Frame::decode(&encoded(&frame)).unwrap();
            if let Payload::Reset(code) = frame.payload {
                resets.push((frame.stream, code));
            }
        }
        resets
    }

    /// The last message of a case, which is in error or not.
    fn judges(&mut self, message: Bytes, expect: &Value, name: &Value) {
        assert_eq!(self.resets(), [], "{name}: too early");
        let error = &expect["error"];
        let stream = error["stream"]
            .as_u64()
            .map(|id| u32::try_from(id).unwrap());
        let stream = stream.or_else(|| Header::decode(&message).ok().map(|header| header.stream));
        let result = self.reads(message);
        let resets = self.resets();
        match error["kind"].as_str() {
            None => assert_eq!((result, resets), (Ok(()), vec![]), "{name}"),
            Some("stream") => {
                let reset = (stream.unwrap(), ResetCode::PROTOCOL);
                assert_eq!((result, resets), (Ok(()), vec![reset]), "{name}");
            }
            Some(_) => {
                let close = error["close"]
                    .as_u64()
                    .unwrap_or(u64::from(CloseCode::PROTOCOL.0));
                let Err(found) = result else {
                    panic!("{name}: accepted");
                };
                assert_eq!(u64::from(found.code.0), close, "{name}: {found}");
            }
        }
    }
}

#[test]
fn hostile_frames_are_judged_as_expected() {
    for case in cases("v2-hostile.toml") {
        let name = &case["name"];
        let mut reader = Reader::new(&case);
        reader
            .reads(encoded(&encode::settings(&Settings::default())))
            .unwrap();
        if case["reader"] == "gateway" {
            reader.opens(&["get"]);
        }
        reader.judges(hex(&case["hex"]), &case["expect"], name);
    }
}

#[test]
fn sequences_are_judged_as_expected() {
    for case in cases("v2-session.toml") {
        let name = &case["name"];
        let mut reader = Reader::new(&case);
        let mut frames: Vec<_> = case["frames"].as_array().unwrap().iter().map(hex).collect();
        let last = frames.pop().unwrap();
        for (i, frame) in frames.into_iter().enumerate() {
            reader
                .reads(frame)
                .unwrap_or_else(|error| panic!("{name}, frame {i}: {error}"));
            if let (0, Some(opened)) = (i, case["opened"].as_array()) {
                let opened: Vec<_> = opened.iter().map(|what| what.as_str().unwrap()).collect();
                reader.opens(&opened);
                reader.resets();
            }
        }
        reader.judges(last, &case["expect"], name);
    }
}
