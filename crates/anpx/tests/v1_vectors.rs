//! The version-1 files of `vectors/`, whose README says what each key means.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

use std::{fs, time::Instant};

use anpx::{
    Fields, RequestHead, ResponseHead,
    session::{End, Read, Role, StreamId, Transmit, config::V1Config, v1::Session},
    v1::{
        codec::{Decoded, Kind},
        message::{self, Losses},
    },
};
use bytes::Bytes;
use serde_json::{Map, Value};

/// Names and values.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

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
    let digits: Vec<u8> = block
        .as_str()
        .unwrap()
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().bytes())
        .filter(u8::is_ascii_hexdigit)
        .collect();
    let digit = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|d| digit(d[0]) << 4 | digit(d[1]))
        .collect()
}

/// A string of the vectors that stands for bytes, one character a byte.
fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_default();
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// A list of pairs as the JSON object it describes.
fn object(list: &Value) -> Value {
    let entry = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].clone());
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    Value::Object(list.iter().map(entry).collect::<Map<_, _>>())
}

/// A meta of the vectors as the JSON it stands for.
fn json(meta: &Value) -> Value {
    let mut meta = meta.clone();
    for key in ["headers", "query"] {
        if let Some(list) = meta.get(key) {
            meta[key] = object(list);
        }
    }
    meta
}

/// A meta from a frame, with absent headers as empty ones.
fn parsed(meta: &Bytes) -> Value {
    let mut meta: Value = serde_json::from_slice(meta).unwrap();
    if meta.get("headers").is_none() {
        meta["headers"] = Value::Object(Map::new());
    }
    let known = ["method", "path", "headers", "query", "status", "reason"];
    let members = meta.as_object_mut().unwrap();
    members.retain(|name, _| known.contains(&name.as_str()));
    meta
}

/// A map without content-length, which says no more than the body beside it. The vectors leave it
/// out where it is so; a writer of ours sends it for apps that look at it.
fn without_length(meta: &Value, expected: &Value) -> Value {
    let mut meta = meta.clone();
    if expected["headers"].get("content-length").is_none() {
        meta["headers"]
            .as_object_mut()
            .unwrap()
            .remove("content-length");
    }
    meta
}

fn u32_of(value: &Value) -> Option<u32> {
    value.as_u64().map(|n| u32::try_from(n).unwrap())
}

#[test]
fn frames_decode_as_expected() {
    for case in [cases("v1-golden.toml"), cases("v1-quirks.toml")].concat() {
        let (name, expect) = (&case["name"], &case["expect"]);
        let frame = Decoded::decode(hex(&case["hex"])).unwrap();
        let kind = match frame.kind {
            Kind::Request => "request",
            Kind::Response => "response",
            Kind::Error => "error",
        };
        assert_eq!(expect["type"], kind, "{name}");
        let flag = |key: &str| expect[key].as_bool().unwrap_or(false);
        assert_eq!(frame.chunked, flag("chunked"), "{name}");
        assert_eq!(frame.final_chunk, flag("final_chunk"), "{name}");
        assert_eq!(frame.chunk_idx, u32_of(&expect["chunk_idx"]), "{name}");
        assert_eq!(frame.chunk_tot, u32_of(&expect["chunk_tot"]), "{name}");
        let id = frame
            .request_id
            .map(|id| String::from_utf8(id.to_vec()).unwrap());
        assert_eq!(id.as_deref(), expect["request_id"].as_str(), "{name}");
        assert_eq!(frame.body, bytes(&expect["body"]), "{name}");
        for (meta, key) in [
            (frame.http_meta, "http_meta"),
            (frame.resp_meta, "resp_meta"),
        ] {
            let expected = expect.get(key).map(json);
            assert_eq!(meta.as_ref().map(parsed), expected, "{name}");
        }
    }
}

/// A session, and the ids its gateway has asked for.
struct Reader {
    now: Instant,
    session: Session,
    opened: Vec<(Bytes, StreamId)>,
    /// What became whole, and what was broken, by request id.
    whole: Vec<(Bytes, Half)>,
    broken: Vec<Bytes>,
}

#[derive(Debug, PartialEq)]
enum Half {
    Request(Box<RequestHead>, Vec<u8>),
    Response(ResponseHead, Vec<u8>),
}

impl Reader {
    fn new(role: Role, ids: &[Bytes]) -> Self {
        let now = Instant::now();
        let mut session = Session::new(V1Config::new(role), now);
        let head = |id: &Bytes| RequestHead {
            method: Bytes::from_static(b"GET"),
            target: Bytes::from_static(b"/"),
            scheme: Bytes::from_static(b"http"),
            authority: Bytes::from_static(b"h"),
            headers: Fields::default(),
            request_id: id.clone(),
            client_addr: None,
            protocol: None,
        };
        let mut opened = Vec::new();
        for id in ids {
            if role == Role::Gateway && !opened.iter().any(|(known, _)| known == id) {
                let stream = session.open(|| now, &head(id), Bytes::new(), End::Yes);
                opened.push((id.clone(), stream.unwrap()));
            }
        }
        while session.poll_transmit(now, 0).is_some() {}
        Self {
            now,
            session,
            opened,
            whole: Vec::new(),
            broken: Vec::new(),
        }
    }

    fn read(&mut self, message: Bytes) {
        self.session.handle_binary(self.now, message).unwrap();
        for (id, stream) in self.opened.clone() {
            match self.session.stream_error(stream) {
                Some(_) => self.broken.push(id),
                // A response that takes no place is whole.
                None if self.session.open_streams() + self.whole.len() < self.opened.len() => {
                    if let Some(half) = self.response(stream) {
                        self.whole.push((id, half));
                    }
                }
                None => {}
            }
        }
        while let Some((stream, head)) = self.session.accept() {
            let mut body = Vec::new();
            while let Ok(Read::Data(data, _)) = self.session.read(|| self.now, stream) {
                body.extend_from_slice(&data);
            }
            self.whole
                .push((head.request_id.clone(), Half::Request(head, body)));
        }
        while let Some(Transmit::Frame(frame)) = self.session.poll_transmit(self.now, 0) {
            let mut out = Vec::new();
            frame.encode(&mut out);
            let frame = Decoded::decode(Bytes::from(out)).unwrap();
            self.broken.extend(frame.request_id);
        }
    }

    fn response(&mut self, stream: StreamId) -> Option<Half> {
        let Ok(Read::Head(head, mut end)) = self.session.read(|| self.now, stream) else {
            return None;
        };
        let mut body = Vec::new();
        while !end.is_end() {
            match self.session.read(|| self.now, stream) {
                Ok(Read::Data(data, last)) => {
                    body.extend_from_slice(&data);
                    end = last;
                }
                Ok(Read::End) => end = End::Yes,
                other => panic!("{other:?}"),
            }
        }
        Some(Half::Response(head, body))
    }
}

fn role(case: &Value) -> Role {
    match case["reader"].as_str() {
        Some("receiver") => Role::Receiver,
        _ => Role::Gateway,
    }
}

fn id_of(message: &Bytes) -> Option<Bytes> {
    Decoded::decode(message.clone()).ok()?.request_id
}

#[test]
fn hostile_bytes_are_refused() {
    for case in cases("v1-hostile.toml") {
        let name = &case["name"];
        let message = hex(&case["hex"]);
        if case["expect"]["error"]["kind"] == "frame" {
            let error = Decoded::decode(message).expect_err(&name.to_string());
            assert!(!error.to_string().is_empty());
            continue;
        }
        let ids: Vec<_> = id_of(&message).into_iter().collect();
        let mut reader = Reader::new(role(&case), &ids);
        reader.read(message);
        assert!(reader.whole.is_empty(), "{name}");
        assert!(reader.broken.contains(&ids[0]), "{name}");
        assert_eq!(reader.session.open_streams(), 0, "{name}");
    }
}

#[test]
fn sequences_of_frames_make_their_messages() {
    for case in cases("v1-messages.toml") {
        let (name, expect) = (&case["name"], &case["expect"]);
        let frames: Vec<Bytes> = case["frames"].as_array().unwrap().iter().map(hex).collect();
        let ids: Vec<Bytes> = frames.iter().filter_map(id_of).collect();
        let mut reader = Reader::new(role(&case), &ids);
        for frame in &frames {
            reader.read(frame.clone());
        }
        let expected: Vec<_> = expect["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(half)
            .collect();
        let ignore_length = |half: &Half| match half {
            Half::Response(head, body) => Half::Response(stripped(head), body.clone()),
            Half::Request(head, body) => Half::Request(head.clone(), body.clone()),
        };
        let found: Vec<_> = reader
            .whole
            .iter()
            .map(|(i, h)| (i.clone(), ignore_length(h)))
            .collect();
        assert_eq!(found, expected, "{name}");
        if let Some(id) = expect["error"]["request_id"].as_str() {
            let pending = reader.session.open_streams() > 0;
            assert!(pending || reader.broken.iter().any(|b| b == id), "{name}");
            assert!(!reader.whole.iter().any(|(i, _)| i == id), "{name}");
        }
    }
}

/// A response head without content-length: it is there only where the head came with the end.
fn stripped(head: &ResponseHead) -> ResponseHead {
    let fields = head.headers.iter().filter(|(n, _)| *n != b"content-length");
    ResponseHead {
        status: head.status,
        headers: Fields::from_pairs(fields).unwrap(),
    }
}

fn half(expected: &Value) -> (Bytes, Half) {
    let id = Bytes::from(bytes(&expected["request_id"]));
    let body = bytes(&expected["body"]);
    let meta = |key: &str| json(&expected[key]).to_string();
    let half = if expected.get("http_meta").is_some() {
        let meta = meta("http_meta");
        let length = body.len() as u64;
        let head = message::read_request(meta.as_bytes(), id.clone(), length);
        Half::Request(Box::new(head.unwrap()), body)
    } else {
        let head = message::read_response(meta("resp_meta").as_bytes(), false, None);
        Half::Response(head.unwrap(), body)
    };
    (id, half)
}

#[test]
fn control_texts_are_answered_or_ignored() {
    for case in cases("v1-control.toml") {
        let (name, expect) = (&case["name"], &case["expect"]);
        let mut reader = Reader::new(role(&case), &[]);
        let text = case["text"].as_str().unwrap();
        reader.session.handle_text(reader.now, text).unwrap();
        let expected = expect["pong"].as_str().map(|timestamp| {
            Transmit::Text(format!(r#"{{"type":"pong","timestamp":{timestamp}}}"#))
        });
        assert_eq!(
            reader.session.poll_transmit(reader.now, 0),
            expected,
            "{name}"
        );
    }
}

/// Fields of the HTTP side: `host` apart, framing and hop-by-hop names left out as every owner of
/// a `Fields` does.
fn fields(http: &Value) -> (Vec<u8>, Pairs) {
    let pairs: Vec<_> = http["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (bytes(&pair[0]), bytes(&pair[1])))
        .collect();
    let named: Vec<Vec<u8>> = pairs
        .iter()
        .filter(|(name, _)| name == b"connection")
        .flat_map(|(_, value)| value.split(|b| *b == b','))
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .collect();
    let host = pairs.iter().find(|(name, _)| name == b"host");
    let host = host.map(|(_, value)| value.clone()).unwrap_or_default();
    let mut kept = pairs;
    kept.retain(|(name, _)| !anpx::fields::is_forbidden(name) && !named.contains(name));
    (host, kept)
}

/// A head's fields as the vectors list them, content-length apart.
fn listed(fields: &Fields) -> (Pairs, Option<u64>) {
    let all = fields.iter().map(|(n, v)| (n.to_vec(), v.to_vec()));
    let (length, rest): (Vec<_>, Vec<_>) = all.partition(|(n, _)| n == b"content-length");
    let number = |v: &[u8]| std::str::from_utf8(v).unwrap().parse().unwrap();
    (rest, length.first().map(|(_, v)| number(v)))
}

fn expected_fields(http: &Value) -> (Pairs, Option<u64>) {
    let (_, pairs) = fields(http);
    let (rest, length) = listed(&Fields::from_pairs(pairs).unwrap());
    (rest, length.or(http["content_length"].as_u64()))
}

#[test]
fn http_heads_and_maps_turn_into_each_other() {
    for case in cases("v1-http.toml") {
        let (name, expect) = (&case["name"], &case["expect"]);
        let to_head = case["method"] == "HEAD";
        let body = bytes(&case["body"]).len() as u64;
        match case["direction"].as_str().unwrap() {
            "gateway-request" => {
                let http = &case["http"];
                let (host, pairs) = fields(http);
                let head = RequestHead {
                    method: Bytes::from(bytes(&http["method"])),
                    target: Bytes::from(bytes(&http["target"])),
                    scheme: Bytes::from_static(b"http"),
                    authority: Bytes::from(host),
                    headers: Fields::from_pairs(pairs).unwrap(),
                    request_id: Bytes::from_static(b"id"),
                    client_addr: None,
                    protocol: None,
                };
                let length = bytes(&http["body"]).len() as u64;
                let meta = message::write_request(&head, Some(length), &mut Losses::default());
                let expected = json(&expect["http_meta"]);
                assert_eq!(
                    without_length(&parsed(&meta), &expected),
                    expected,
                    "{name}"
                );
            }
            "receiver-response" => {
                let http = &case["http"];
                let head = ResponseHead {
                    status: u16::try_from(http["status"].as_u64().unwrap()).unwrap(),
                    headers: Fields::from_pairs(fields(http).1).unwrap(),
                };
                let length = bytes(&http["body"]).len() as u64;
                let meta = message::write_response(&head, to_head, Some(length));
                let expected = json(&expect["resp_meta"]);
                assert_eq!(
                    without_length(&parsed(&meta), &expected),
                    expected,
                    "{name}"
                );
            }
            "receiver-request" => {
                let meta = json(&case["http_meta"]).to_string();
                let id = Bytes::from_static(b"id");
                let head = message::read_request(meta.as_bytes(), id, body).unwrap();
                let http = &expect["http"];
                assert_eq!(head.method, bytes(&http["method"]), "{name}");
                assert_eq!(head.target, bytes(&http["target"]), "{name}");
                assert_eq!(head.authority, fields(http).0, "{name}");
                assert_eq!(listed(&head.headers), expected_fields(http), "{name}");
            }
            "gateway-response" => {
                let meta = json(&case["resp_meta"]).to_string();
                let head = message::read_response(meta.as_bytes(), to_head, Some(body)).unwrap();
                let http = &expect["http"];
                assert_eq!(
                    Some(u64::from(head.status)),
                    http["status"].as_u64(),
                    "{name}"
                );
                let (rest, length) = listed(&head.headers);
                // A length of 0 and none are one framing of an empty body.
                let expected = expected_fields(http);
                assert_eq!((rest, length.filter(|n| *n > 0)), expected, "{name}");
            }
            other => panic!("{other}"),
        }
    }
}
