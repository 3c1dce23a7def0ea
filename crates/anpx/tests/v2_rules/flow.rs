//! Credit, late frames and useless frames (ANPX 3.4, 3.6).

use anpx::{
    CloseCode, ResetCode, SessionError,
    frame::Frame as Outgoing,
    session::{End, Event, Read, Role, config::V2Config},
    tlv,
    v2::{Kind, Payload, Settings, encode},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, bytes, data, head, ok, outline, raw, response};

const WINDOW: usize = 64 << 10;

/// A gateway whose response on stream 1 has begun.
fn gateway_reading() -> Dialogue {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.hears(ok(1));
    assert_eq!(gateway.reads(ONE), Ok(Read::Head(response(200), End::No)));
    gateway
}

#[test]
fn credit_follows_the_reader_and_never_goes_before() {
    let mut gateway = gateway_reading();
    gateway.hears(data(1, WINDOW / 2 - 1, false));
    gateway.hears(data(1, 1, false));
    gateway.hears(data(1, WINDOW / 2, false));
    assert_eq!(gateway.says(), []);
    let mut taken = 0;
    while let Ok(Read::Data(data, End::No)) = gateway.reads(ONE) {
        taken += data.len();
        let granted: usize = gateway
            .says()
            .iter()
            .map(|frame| match frame.payload {
                Payload::Window(credit) => credit as usize,
                _ => panic!("{frame:?}"),
            })
            .sum();
        assert!(granted == 0 || granted >= WINDOW / 2 && granted <= taken);
    }
    assert_eq!(taken, WINDOW);
}

#[test]
fn a_half_window_owed_is_granted_once() {
    let mut gateway = gateway_reading();
    gateway.hears(data(1, WINDOW / 2, false));
    gateway.reads(ONE).unwrap();
    let said = gateway.says_with(1 << 30);
    assert_eq!(said[0].payload, Payload::Window(32 << 10));
    assert_eq!((said.len(), gateway.says()), (1, vec![]));
}

#[test]
fn no_credit_after_the_end_or_a_reset() {
    for end in [
        data(1, 1, true),
        encode::reset(1, ResetCode::UPSTREAM_FAILED),
    ] {
        let mut gateway = gateway_reading();
        gateway.hears(data(1, WINDOW - 1, false));
        gateway.reads(ONE).unwrap();
        gateway.hears(end);
        let _ = gateway.reads(ONE);
        assert_eq!(gateway.says(), []);
    }
}

#[test]
fn bytes_inside_heads_count() {
    let mut receiver = Dialogue::receiver();
    let body = Bytes::from(vec![0; WINDOW]);
    receiver.hears(encode::request(1, &head("POST"), body, false));
    receiver.ends_at(data(1, 1, true), CloseCode::PROTOCOL);

    let mut gateway = Dialogue::with(
        V2Config::new(Role::Gateway),
        &Settings {
            initial_window: Some(16 << 10),
            ..Settings::default()
        },
    );
    let first = Bytes::from(vec![0; gateway.session.first_capacity()]);
    let now = gateway.now;
    gateway
        .session
        .open(|| now, &head("POST"), first, End::No)
        .unwrap();
    gateway.says();
    assert_eq!(gateway.session.send_capacity(ONE), Ok(0));
    gateway.events();
    gateway.hears(encode::window(1, 5));
    assert_eq!(gateway.events(), [Event::Writable(ONE)]);
    assert_eq!(gateway.session.send_capacity(ONE), Ok(5));
}

#[test]
fn late_data_is_bounded_by_the_window_that_was_left() {
    let mut gateway = gateway_reading();
    gateway.hears(data(1, 1000, false));
    gateway.session.reset(ONE, ResetCode::CANCELLED);
    gateway.session.release(ONE);
    gateway.hears(data(1, WINDOW - 1001, false));
    gateway.hears(data(1, 1, true));
    assert_eq!(outline(&gateway.says()), [(Kind::Reset, 1)]);
    gateway.ends_at(data(1, 1, false), CloseCode::PROTOCOL);
}

#[test]
fn a_late_head_with_a_body_counts_as_late_data() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.session.release(ONE);
    let full = Bytes::from(vec![0; WINDOW]);
    gateway.hears(encode::response(1, &response(200), full, false));
    gateway.ends_at(data(1, 1, false), CloseCode::PROTOCOL);
}

#[test]
fn no_late_data_on_streams_that_ended_whole() {
    let mut gateway = Dialogue::gateway();
    gateway.opens(&head("GET"), b"", End::Yes);
    gateway.says();
    gateway.hears(encode::response(1, &response(200), Bytes::new(), true));
    gateway.ends_at(data(1, 1, false), CloseCode::PROTOCOL);
}

#[test]
fn a_refused_request_that_was_whole_leaves_no_allowance() {
    let mut receiver = Dialogue::receiver();
    receiver.hears(raw(1, anpx::header::FLAG_END_STREAM, 1, &[]));
    receiver.ends_at(data(1, 1, false), CloseCode::PROTOCOL);
    let mut receiver = Dialogue::receiver();
    receiver.hears(raw(1, 0, 1, &[]));
    receiver.hears(data(1, WINDOW, false));
    receiver.ends_at(data(1, 1, false), CloseCode::PROTOCOL);
}

#[test]
fn useless_frames_have_an_allowance() {
    type Says = fn(&mut Dialogue) -> Result<(), SessionError>;
    let useless: [Says; 7] = [
        |d| d.session.handle_text(d.now, "{}"),
        |d| d.try_hears(raw(0x60, 0, 9, &[])),
        |d| d.try_hears(data(2, 0, false)),
        |d| d.try_hears(data(1, 0, true)),
        |d| d.try_hears(encode::window(1, 1)),
        |d| d.try_hears(encode::reset(1, ResetCode::CANCELLED)),
        |d| d.try_hears(raw(7, 0, 0, &[])),
    ];
    for (i, send) in useless.into_iter().enumerate() {
        let mut gateway = Dialogue::gateway();
        gateway.opens(&head("GET"), b"", End::Yes);
        gateway.opens(&head("GET"), b"", End::Yes);
        gateway.says();
        gateway.session.release(ONE);
        gateway.hears(ok(2));
        // The stream that was reset may have had 16 informational heads on their way.
        for _ in 0..1000 + 2 * 4 + 16 {
            send(&mut gateway).unwrap_or_else(|error| panic!("{i}: {error}"));
        }
        let error = send(&mut gateway).unwrap_err();
        assert_eq!(error.code, CloseCode::LIMIT, "{i}");
    }
}

/// The session hears `frame` so often, and not once more.
fn tolerates(dialogue: &mut Dialogue, times: usize, frame: impl Fn() -> Outgoing) {
    for _ in 0..times {
        dialogue.hears(frame());
    }
    dialogue.ends_at(frame(), CloseCode::LIMIT);
}

#[test]
fn credit_for_what_was_sent_is_not_useless_once_the_stream_is_closed() {
    for released in [false, true] {
        let mut gateway = Dialogue::gateway_after_post();
        assert_eq!(gateway.sends(ONE, 3000), 3000);
        gateway.ends(ONE);
        gateway.says();
        // A window that was taken whole doubles: twice what was sent may come.
        gateway.hears(encode::window(1, 1000));
        gateway.hears(encode::response(1, &response(200), Bytes::new(), true));
        if released {
            gateway.session.release(ONE);
        }
        tolerates(&mut gateway, 5000 + 1000 + 4, || encode::window(1, 1));
    }
}

#[test]
fn informational_heads_that_come_after_a_reset_are_not_useless() {
    let early = || encode::response(1, &response(103), Bytes::new(), false);
    let mut gateway = Dialogue::gateway_after_post();
    gateway.hears(early());
    gateway.session.reset(ONE, ResetCode::CANCELLED);
    tolerates(&mut gateway, 15 + 1000 + 4, early);
    // None may follow a final head.
    let mut gateway = gateway_reading();
    gateway.session.reset(ONE, ResetCode::CANCELLED);
    tolerates(&mut gateway, 1000 + 4, early);
}

#[test]
fn padding_is_not_kept_with_the_bytes_beside_it() {
    let mut gateway = gateway_reading();
    let padding = vec![0; 90 << 10];
    for len in [1, 100, 5000] {
        let body = vec![7; len];
        let frame = raw(3, 0, 1, &[(0x7f, &padding), (tlv::HTTP_BODY, &body)]);
        let message = bytes(&frame);
        let range = message.as_ptr_range();
        gateway
            .session
            .handle_binary(gateway.now, message.clone())
            .unwrap();
        let Ok(Read::Data(data, End::No)) = gateway.reads(ONE) else {
            panic!("no data");
        };
        assert_eq!(data, body);
        assert!(
            !range.contains(&data.as_ptr()),
            "{len} bytes keep {}",
            message.len()
        );
    }
    // An honest frame's body is not copied.
    let message = bytes(&data(1, 20_000, false));
    let range = message.as_ptr_range();
    gateway.session.handle_binary(gateway.now, message).unwrap();
    let Ok(Read::Data(data, _)) = gateway.reads(ONE) else {
        panic!("no data");
    };
    assert!(range.contains(&data.as_ptr()));
}
