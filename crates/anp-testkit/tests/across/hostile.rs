//! Receivers that break the protocol beside one that keeps it (rows 1, 2, 16, 22, 23 and 27 of the
//! threats).

use anp_testkit::{App, BodyEnd, Caller, Peer, Rig, Said, peer::message, soon};
use anpx::{
    Fields, ResetCode, ResponseHead,
    v2::{Settings, encode},
};
use bytes::Bytes;

/// An app that answers every request with its own target.
async fn mirror() -> App {
    App::start(|mut call| async move {
        while let Some(head) = call.head().await {
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            call.answer(&target).await;
        }
    })
    .await
}

/// A head with these fields, of which the codec checks none.
fn ok(fields: &[(&str, &str)]) -> ResponseHead {
    ResponseHead {
        status: 200,
        headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
    }
}

/// A caller whose request waits at `peer`, and the id of its stream.
async fn asked(rig: &Rig, peer: &mut Peer, target: &str) -> (Caller, u32) {
    let mut caller = rig.caller().await;
    caller.get(target).await;
    let id = soon(peer.request()).await;
    (caller, id)
}

/// The bytes of a frame.
fn bytes(frame: &anpx::frame::Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// Row 1 of the threats.
#[tokio::test]
async fn frames_for_streams_never_opened_close_the_tunnel() {
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    let empty = Bytes::new();
    for strange in [
        encode::response(77, &ok(&[]), Bytes::from_static(b"stolen"), true),
        encode::data(77, Bytes::from_static(b"stolen"), true),
        encode::trailers(77, &Fields::default()),
        encode::window(77, 1),
        encode::reset(77, ResetCode::CANCELLED),
        encode::response(0, &ok(&[]), empty.clone(), true),
        encode::settings(&Settings {
            max_streams: Some(5),
            ..Settings::default()
        }),
    ] {
        let mut peer = rig.hostile().await;
        let (mut caller, _) = asked(&rig, &mut peer, "/hostile").await;
        peer.send(&strange).await;
        assert_eq!(soon(peer.closed()).await, Some(4000), "{strange:?}");
        assert_eq!(soon(caller.response()).await.0.status, 502, "{strange:?}");
        assert_eq!(rig.get("/real").await, b"/real");
    }
}

/// Row 1 of the threats.
#[tokio::test]
async fn a_response_to_anothers_request_reaches_nobody() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::beside_hostile(&app).await;
    let mut victim = rig.caller().await;
    victim.get("/real").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    // The id the victim's stream has on its own tunnel.
    let mut peer = rig.hostile().await;
    peer.send(&encode::response(
        1,
        &ok(&[]),
        Bytes::from_static(b"stolen"),
        true,
    ))
    .await;
    assert_eq!(soon(peer.closed()).await, Some(4000));
    call.answer("true").await;
    assert_eq!(soon(victim.response()).await.1, b"true");
}

#[tokio::test]
async fn heads_that_would_split_a_message_are_502() {
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    let mut peer = rig.hostile().await;
    // Written by hand: our own encoder refuses them.
    let field = |name: &[u8], value: &[u8]| {
        let mut block = Vec::new();
        for part in [name, value] {
            block.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            block.extend(part);
        }
        block
    };
    let heads = [
        (200, field(b"x", b"a\r\nset-cookie: stolen=1")),
        (200, field(b"x", b"a\nb")),
        (200, field(b"x", b"a\0b")),
        (200, field(b"x\r\ny", b"a")),
        (200, field(b"x y", b"a")),
        (200, field(b"", b"a")),
        (200, field(b"transfer-encoding", b"chunked")),
        (0, Vec::new()),
        (99, Vec::new()),
        (101, Vec::new()),
        (600, Vec::new()),
        (65535, Vec::new()),
    ];
    // The lengths inside this one lie, which is the session's fault and no longer a stream's.
    let lie = (200, b"\0\x01a\xff\xffb".to_vec());
    for (status, block) in heads.into_iter().chain([lie]) {
        let (mut caller, id) = asked(&rig, &mut peer, "/hostile").await;
        let mut frame = encode::response(id, &ok(&[]), Bytes::new(), true);
        let mut tlvs = vec![0x15, 0, 0, 0, 2];
        tlvs.extend(u16::to_be_bytes(status));
        tlvs.push(0x14);
        tlvs.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        tlvs.extend(&block);
        frame.tlvs = tlvs.into();
        peer.send(&frame).await;
        let (head, _) = soon(caller.response()).await;
        assert_eq!(head.status, 502, "{status} {block:?}");
        assert!(!head.text.contains("stolen"), "{}", head.text);
    }
    assert_eq!(soon(peer.closed()).await, Some(4000));
    assert_eq!(rig.get("/real").await, b"/real");
}

#[tokio::test]
async fn a_body_unlike_its_length_is_never_whole() {
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    let mut peer = rig.hostile().await;
    let (mut caller, id) = asked(&rig, &mut peer, "/hostile/short").await;
    let head = ok(&[("content-length", "10")]);
    peer.send(&encode::response(id, &head, Bytes::new(), false))
        .await;
    assert_eq!(soon(caller.head()).await.status, 200);
    peer.send(&encode::data(id, Bytes::from_static(b"short"), true))
        .await;
    assert_eq!(soon(caller.sized(10)).await.1, BodyEnd::Broken);

    let (mut caller, id) = asked(&rig, &mut peer, "/hostile/long").await;
    let long = Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n");
    peer.send(&encode::response(
        id,
        &ok(&[("content-length", "1")]),
        long,
        true,
    ))
    .await;
    assert_eq!(soon(caller.response()).await.0.status, 502);
}

#[tokio::test]
async fn lengths_that_lie_close_the_tunnel() {
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    let sound = bytes(&encode::settings(&Settings::default()));
    let changed = |at: usize, with: &[u8]| {
        let mut frame = sound.clone();
        frame[at..at + with.len()].copy_from_slice(with);
        message(0x82, &frame)
    };
    // Masked, and of a length that is announced only.
    let announced = |first: u8, len: u64| {
        let mut head = vec![first, 0xff];
        head.extend(len.to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let cases = [
        (4000, changed(8, &u32::MAX.to_be_bytes())),
        (4000, changed(8, &0u32.to_be_bytes())),
        (4000, message(0x82, &sound[..10])),
        (4000, message(0x82, &sound.repeat(2))),
        (4000, message(0x82, b"")),
        (1009, announced(0x82, 1 << 40)),
        (1009, announced(0x82, u64::MAX >> 1)),
        (1009, announced(0x81, 1 << 40)),
    ];
    for (code, lie) in cases {
        let mut peer = rig.hostile().await;
        assert!(peer.send_raw(&lie).await);
        let start = &lie[..lie.len().min(40)];
        assert_eq!(soon(peer.closed()).await, Some(code), "{start:x?}");
    }
    assert_eq!(rig.get("/real").await, b"/real");
}

#[tokio::test]
async fn floods_close_the_tunnel() {
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    // An unknown type on the session.
    let mut unknown = encode::go_away(ResetCode::NO_ERROR, None);
    unknown.kind = 0x7f;
    let floods = [
        message(0x82, &bytes(&unknown)),
        message(0x81, b"{}"),
        message(0x89, b"ping"),
    ];
    for one in floods {
        let mut peer = rig.hostile().await;
        assert!(soon(peer.send_raw(&one.repeat(1001))).await);
        assert_eq!(soon(peer.closed()).await, Some(4008), "{one:x?}");
        assert_eq!(rig.get("/real").await, b"/real");
    }
    let mut peer = rig.hostile().await;
    peer.send_raw(&message(0x02, b"")).await;
    assert!(soon(peer.send_raw(&message(0x00, b"").repeat(1001))).await);
    assert_eq!(soon(peer.closed()).await, Some(4008), "empty fragments");
    assert_eq!(rig.get("/real").await, b"/real");
}

#[tokio::test]
async fn data_beyond_the_window_closes_the_tunnel() {
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    let mut peer = rig.hostile().await;
    let (mut caller, id) = asked(&rig, &mut peer, "/hostile").await;
    let frame = Bytes::from(vec![b'x'; 64 << 10]);
    peer.send(&encode::response(id, &ok(&[]), Bytes::new(), false))
        .await;
    soon(caller.head()).await;
    // The caller reads nothing more and what the sockets between hold is bounded, so credit ends.
    let flood = bytes(&encode::data(id, frame, false));
    let flooding = async { while peer.send_binary(&flood).await {} };
    soon(flooding).await;
    let end = soon(peer.closed()).await;
    assert!(matches!(end, Some(4000) | None), "{end:?}");
    assert_eq!(rig.get("/real").await, b"/real");
    assert_eq!(soon(caller.chunks()).await.1, BodyEnd::Broken);
}

/// Row 2 of the threats.
#[tokio::test]
async fn equal_ids_on_two_tunnels_mix_no_bytes() {
    const ROUNDS: usize = 200;
    let app = mirror().await;
    let rig = Rig::beside_hostile(&app).await;
    let mut peers = [rig.hostile().await, rig.hostile().await];
    // Both tunnels have a stream 1; which caller is on which is told by the target.
    let mut callers = Vec::new();
    for name in ["/hostile/a", "/hostile/b"] {
        let mut caller = rig.caller().await;
        caller.get(name).await;
        callers.push(caller);
    }
    let mut seen = Vec::new();
    for peer in &mut peers {
        loop {
            let Said::Binary(message) = soon(peer.read()).await else {
                continue;
            };
            let frame = anpx::v2::Frame::decode(&message).unwrap();
            if let anpx::v2::Payload::Request { head, .. } = frame.payload {
                seen.push((frame.stream, head.target));
                break;
            }
        }
    }
    assert_eq!(seen[0].0, seen[1].0, "equal ids");
    assert_ne!(seen[0].1, seen[1].1, "one caller each");
    for round in 0..=ROUNDS {
        for (peer, (id, target)) in peers.iter_mut().zip(&seen) {
            if round == 0 {
                peer.send(&encode::response(*id, &ok(&[]), Bytes::new(), false))
                    .await;
            }
            peer.send(&encode::data(*id, target.clone(), round == ROUNDS))
                .await;
        }
    }
    for (caller, name) in callers.iter_mut().zip(["/hostile/a", "/hostile/b"]) {
        assert_eq!(soon(caller.head()).await.status, 200);
        let (body, end) = soon(caller.chunks()).await;
        assert_eq!(end, BodyEnd::Whole);
        assert_eq!(body, name.repeat(ROUNDS + 1).as_bytes());
    }
}
