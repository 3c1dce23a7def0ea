//! Responses that the receiver compresses.

use anp_tunnel::{Head, Part, Version};
use anpx::{ResetCode, StreamError};
use tokio::io::AsyncWriteExt;

use super::{Answer, App, Call, Gateway, Peer, on_worker, texts};
use crate::coding::{
    Codings,
    ContentCoding::{self, Br, Gzip, Zstd},
    encoder_tests::{ALL, decode, noise, text},
};

const TEXT: &str = "content-type: text/plain\r\n";
const FAILED: StreamError = StreamError::Reset(ResetCode::UPSTREAM_FAILED);

/// A gateway before `app`, the tunnel between, and a call that takes `coding`.
async fn asked(app: &App, version: Version, coding: ContentCoding) -> (Gateway, Call, Peer) {
    let gateway = Gateway::with(&[&app.url()], version, Codings::new(&ALL)).await;
    let call = gateway.call("GET", &[("accept-encoding", coding.name())], None);
    let mut peer = app.accept().await;
    peer.head().await;
    (gateway, call, peer)
}

/// The fields of the final head; a body follows.
async fn fields(call: &mut Call) -> Vec<(String, String)> {
    match call.head().await.unwrap() {
        Head::Final(head, _) => texts(&head.headers),
        other => panic!("expected a final head, got {other:?}"),
    }
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// The rest of the body and how it ended.
async fn rest(call: &mut Call) -> (Vec<u8>, Result<Vec<(String, String)>, StreamError>) {
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    while let Some(part) = call.part().await {
        match part {
            Ok(Part::Data(data, _)) => body.extend_from_slice(&data),
            Ok(Part::Trailers(fields)) => trailers = texts(&fields),
            Err(error) => return (body, Err(error)),
        }
    }
    (body, Ok(trailers))
}

#[test]
fn a_body_at_hand_is_coded_whole_with_its_length() {
    on_worker(async {
        for version in [Version::V1, Version::V2] {
            for coding in ALL {
                let app = App::listen().await;
                let (_gateway, mut call, mut peer) = asked(&app, version, coding).await;
                let body = text(5_000);
                let head = format!(
                    "HTTP/1.1 200 OK\r\n{TEXT}content-length: 5000\r\netag: \"a\"\r\nvary: origin\r\n\r\n"
                );
                let whole = [head.as_bytes(), &body].concat();
                peer.io.write_all(&whole).await.unwrap();
                let fields = fields(&mut call).await;
                let (coded, end) = rest(&mut call).await;
                assert_eq!(end, Ok(Vec::new()));
                assert_eq!(value(&fields, "content-encoding"), Some(coding.name()));
                assert_eq!(value(&fields, "vary"), Some("origin, accept-encoding"));
                assert_eq!(value(&fields, "etag"), Some("W/\"a\""));
                let length = value(&fields, "content-length").unwrap();
                assert_eq!(length, coded.len().to_string());
                assert!(coded.len() < 3_000, "{coding:?} {}", coded.len());
                assert!(decode(coding, &coded) == (body, true), "{coding:?}");
            }
        }
    });
}

#[test]
fn each_event_can_be_decoded_before_the_next_is_made() {
    on_worker(async {
        for coding in ALL {
            let app = App::listen().await;
            let (_gateway, mut call, mut peer) = asked(&app, Version::V2, coding).await;
            peer.send(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await;
            let fields = fields(&mut call).await;
            assert_eq!(value(&fields, "content-encoding"), Some(coding.name()));
            let (mut coded, mut plain) = (Vec::new(), Vec::new());
            for n in 0..20 {
                let event = format!("data: token {n}\n\n");
                peer.send(&format!("{:x}\r\n{event}\r\n", event.len()))
                    .await;
                plain.extend_from_slice(event.as_bytes());
                while decode(coding, &coded).0 != plain {
                    match call.part().await.unwrap().unwrap() {
                        Part::Data(data, _) => coded.extend_from_slice(&data),
                        other => panic!("expected an event, got {other:?}"),
                    }
                }
            }
            peer.send("0\r\nserver-timing: app\r\nrepr-digest: sha-256=:AA==:\r\n\r\n")
                .await;
            let (end, trailers) = rest(&mut call).await;
            coded.extend_from_slice(&end);
            assert!(decode(coding, &coded) == (plain, true), "{coding:?}");
            let kept = ("server-timing".to_owned(), "app".to_owned());
            assert_eq!(trailers, Ok(vec![kept]));
        }
    });
}

#[test]
fn large_bodies_are_coded_through_narrow_windows() {
    const LEN: usize = 1 << 20;
    on_worker(async {
        for version in [Version::V1, Version::V2] {
            for coding in ALL {
                let app = App::listen().await;
                let (gateway, mut call, mut peer) = asked(&app, version, coding).await;
                let body = text(LEN);
                let sending = async {
                    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}content-length: {LEN}\r\n\r\n");
                    peer.send(&head).await;
                    peer.io.write_all(&body).await.unwrap();
                };
                let getting = async {
                    let fields = fields(&mut call).await;
                    assert_eq!(value(&fields, "content-encoding"), Some(coding.name()));
                    let (coded, end) = rest(&mut call).await;
                    // A message of version 1 is held whole, so its length is known after all.
                    let length = (version == Version::V1).then(|| coded.len().to_string());
                    assert_eq!(value(&fields, "content-length"), length.as_deref());
                    (coded, end)
                };
                let ((), (coded, end)) = tokio::join!(sending, getting);
                assert_eq!(end, Ok(Vec::new()));
                assert!(coded.len() < LEN / 2, "{coding:?} {}", coded.len());
                assert!(decode(coding, &coded) == (body, true), "{coding:?}");
                // The connection is kept: the exchange ended whole.
                let mut next = gateway.get();
                peer.head().await;
                peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
                assert_eq!(next.status().await, Ok(204));
            }
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_broken_when_coded() {
    on_worker(async {
        for coding in ALL {
            for framing in ["content-length: 90000", "transfer-encoding: chunked"] {
                let app = App::listen().await;
                let (_gateway, mut call, mut peer) = asked(&app, Version::V2, coding).await;
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\n{TEXT}{framing}\r\n\r\n4\r\nhalf\r\n"
                ))
                .await;
                fields(&mut call).await;
                drop(peer);
                let (coded, end) = rest(&mut call).await;
                assert_eq!(end, Err(FAILED), "{coding:?} {framing}");
                assert!(!decode(coding, &coded).1, "{coding:?} {framing}");
            }
        }
    });
}

/// The answer of an app that sends `response`, to a caller that sends `asked`.
async fn through(
    codings: &[ContentCoding],
    method: &str,
    asked: &[(&str, &str)],
    response: &str,
) -> Answer {
    let app = App::listen().await;
    let gateway = Gateway::with(&[&app.url()], Version::V2, Codings::new(codings)).await;
    let mut call = gateway.call(method, asked, None);
    let mut peer = app.accept().await;
    peer.head().await;
    peer.send(response).await;
    call.answer().await.unwrap()
}

const GZIP: (&str, &str) = ("accept-encoding", "gzip");

#[test]
fn responses_stay_to_the_byte_unless_compression_is_on() {
    on_worker(async {
        let body = String::from_utf8(text(5_000)).unwrap();
        let response = format!(
            "HTTP/1.1 200 OK\r\n{TEXT}content-length: 5000\r\netag: \"a\"\r\naccept-ranges: bytes\r\n\r\n{body}"
        );
        let plain = [
            ("content-type", "text/plain"),
            ("content-length", "5000"),
            ("etag", "\"a\""),
            ("accept-ranges", "bytes"),
        ];
        let plain = plain.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let off = through(&[], "GET", &[GZIP], &response).await;
        assert_eq!((off.fields.as_slice(), &off.body), (&plain[..], &body));
        // On, for a caller that takes none of them: only caches are told.
        let other = through(&[Br, Zstd], "GET", &[GZIP], &response).await;
        let told = [
            &plain[..],
            &[("vary".to_owned(), "accept-encoding".to_owned())],
        ]
        .concat();
        assert_eq!((other.fields, other.body), (told, body));
    });
}

#[test]
fn what_must_not_be_coded_is_not_touched() {
    on_worker(async {
        let large = String::from_utf8(text(2_000)).unwrap();
        let small = &large[..1_024];
        for (method, status, fields, body) in [
            (
                "GET",
                "206 Partial Content",
                "content-length: 2000\r\ncontent-range: bytes 0-1999/3000\r\n",
                &large[..],
            ),
            (
                "GET",
                "200 OK",
                "content-length: 2000\r\ncontent-encoding: deflate\r\n",
                &large,
            ),
            (
                "GET",
                "200 OK",
                "content-length: 2000\r\ncache-control: no-transform\r\n",
                &large,
            ),
            ("GET", "200 OK", "content-length: 1024\r\n", small),
            ("GET", "204 No Content", "", ""),
            ("GET", "304 Not Modified", "etag: \"a\"\r\n", ""),
            (
                "HEAD",
                "200 OK",
                "content-length: 2000\r\netag: \"a\"\r\n",
                "",
            ),
        ] {
            let response = format!("HTTP/1.1 {status}\r\n{TEXT}{fields}\r\n{body}");
            let on = through(&[Gzip], method, &[GZIP], &response).await;
            let off = through(&[], method, &[GZIP], &response).await;
            assert_eq!(on, off, "{status} {fields}");
            assert_eq!(on.body, body);
        }
    });
}

#[test]
fn a_body_at_hand_that_is_small_or_would_grow_stays_and_caches_are_told() {
    on_worker(async {
        for body in [text(1_024), noise(1_100)] {
            let app = App::listen().await;
            let (_gateway, mut call, mut peer) = asked(&app, Version::V2, Gzip).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\n{TEXT}transfer-encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            );
            let whole = [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
            peer.io.write_all(&whole).await.unwrap();
            let fields = fields(&mut call).await;
            assert_eq!(value(&fields, "content-encoding"), None);
            assert_eq!(value(&fields, "vary"), Some("accept-encoding"));
            assert_eq!(rest(&mut call).await, (body, Ok(Vec::new())));
        }
    });
}

#[test]
fn a_caller_that_asks_with_the_weak_tag_gets_it_back() {
    on_worker(async {
        let asked = [GZIP, ("if-none-match", "W/\"a\"")];
        let response = "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n";
        let answer = through(&[Gzip], "GET", &asked, response).await;
        assert_eq!(answer.status, 304);
        assert_eq!(value(&answer.fields, "etag"), Some("W/\"a\""));
    });
}

#[test]
fn more_responses_than_encoders_go_plain() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::with(&[&app.url()], Version::V2, Codings::new(&[Gzip])).await;
        let mut held = Vec::new();
        for n in 0..=crate::coding::MAX_ENCODERS {
            let mut call = gateway.call("GET", &[GZIP], None);
            let mut peer = app.accept().await;
            peer.head().await;
            peer.send(&format!(
                "HTTP/1.1 200 OK\r\n{TEXT}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
            ))
            .await;
            let coding = value(&fields(&mut call).await, "content-encoding").map(str::to_owned);
            let expected = (n < crate::coding::MAX_ENCODERS).then(|| "gzip".to_owned());
            assert_eq!(coding, expected, "{n}");
            held.push((call, peer));
        }
        // One that ends makes room.
        let (mut call, mut peer) = held.swap_remove(0);
        peer.send("0\r\n\r\n").await;
        let (coded, _) = rest(&mut call).await;
        assert_eq!(decode(Gzip, &coded), (b"hello".to_vec(), true));
        let mut call = gateway.call("GET", &[GZIP], None);
        peer.head().await;
        peer.send(&format!(
            "HTTP/1.1 200 OK\r\n{TEXT}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        ))
        .await;
        let fields = fields(&mut call).await;
        assert_eq!(value(&fields, "content-encoding"), Some("gzip"));
    });
}
