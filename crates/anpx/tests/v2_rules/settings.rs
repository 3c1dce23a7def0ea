//! SETTINGS: first, once, within their ranges (ANPX 3.2).

use std::time::Duration;

use anpx::{
    CloseCode, OpenError,
    session::{End, Event, Role, StreamId, config::V2Config},
    tlv,
    v2::{Payload, Settings, encode},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, head, ok, raw};

fn setting(tag: u8, value: u32) -> anpx::frame::Frame {
    raw(7, 0, 0, &[(tag, &value.to_be_bytes())])
}

#[test]
fn each_side_says_its_own_first() {
    for role in [Role::Gateway, Role::Receiver] {
        let mut side = Dialogue::silent(V2Config::new(role));
        side.session.drain();
        let said = side.says();
        let receiver = role == Role::Receiver;
        let expected = Settings {
            max_frame_body: Some(64 << 10),
            initial_window: Some(64 << 10),
            max_streams: receiver.then_some(1024),
            accepting: receiver.then_some(true),
        };
        assert_eq!(said[0].payload, Payload::Settings(expected));
    }
}

#[test]
fn the_first_frame_must_be_settings() {
    for frame in [
        ok(1),
        raw(0x60, 0, 0, &[]),
        raw(8, 0, 0, &[(tlv::CODE, &[0; 4])]),
    ] {
        let mut gateway = Dialogue::silent(V2Config::new(Role::Gateway));
        gateway.ends_at(frame, CloseCode::PROTOCOL);
    }
}

#[test]
fn no_stream_before_the_peers_settings() {
    let mut gateway = Dialogue::silent(V2Config::new(Role::Gateway));
    assert_eq!(gateway.session.capacity(), 0);
    let open = |gateway: &mut Dialogue| {
        let now = gateway.now;
        gateway
            .session
            .open(|| now, &head("GET"), Bytes::new(), End::Yes)
    };
    assert_eq!(open(&mut gateway), Err(OpenError::Unavailable));
    gateway.hears(encode::settings(&Settings::default()));
    assert_eq!(gateway.events(), [Event::Established, Event::Capacity]);
    assert_eq!(gateway.session.capacity(), 1024);
    assert_eq!(open(&mut gateway), Ok(ONE));
}

#[test]
fn ten_seconds_without_settings_end_the_session() {
    let mut gateway = Dialogue::silent(V2Config::new(Role::Gateway));
    let due = gateway.session.poll_timeout().unwrap();
    assert_eq!(due - gateway.now, Duration::from_secs(10));
    let just_before = due - Duration::from_nanos(1);
    assert_eq!(gateway.session.handle_timeout(just_before), Ok(()));
    let error = gateway.session.handle_timeout(due).unwrap_err();
    assert_eq!(error.code, CloseCode::PROTOCOL);
    gateway.hears(encode::settings(&Settings::default()));
    assert_eq!(gateway.session.poll_timeout(), None);
    assert_eq!(gateway.session.handle_timeout(due), Ok(()));
}

#[test]
fn values_outside_their_ranges_end_the_session() {
    let ranges = [
        (tlv::MAX_FRAME_BODY, 4 << 10, 1 << 20),
        (tlv::INITIAL_WINDOW, 16 << 10, 16 << 20),
        (tlv::MAX_STREAMS, 1, 65535),
    ];
    let gateway = || Dialogue::silent(V2Config::new(Role::Gateway));
    for (tag, least, most) in ranges {
        gateway().hears(setting(tag, least));
        gateway().hears(setting(tag, most));
        gateway().ends_at(setting(tag, least - 1), CloseCode::PROTOCOL);
        gateway().ends_at(setting(tag, most + 1), CloseCode::PROTOCOL);
        gateway().ends_at(setting(tag, u32::MAX), CloseCode::PROTOCOL);
    }
    gateway().ends_at(raw(7, 0, 0, &[(tlv::ACCEPTING, &[2])]), CloseCode::PROTOCOL);
}

#[test]
fn later_settings_hold_accepting_only() {
    for tag in [tlv::MAX_FRAME_BODY, tlv::INITIAL_WINDOW, tlv::MAX_STREAMS] {
        Dialogue::gateway().ends_at(setting(tag, 64 << 10), CloseCode::PROTOCOL);
    }
    let mut gateway = Dialogue::gateway();
    gateway.events();
    gateway.hears(raw(7, 0, 0, &[(tlv::ACCEPTING, &[0])]));
    assert_eq!(
        (gateway.session.capacity(), gateway.events()),
        (0, vec![Event::Capacity])
    );
    gateway.hears(raw(7, 0, 0, &[(tlv::ACCEPTING, &[1])]));
    assert_eq!(
        (gateway.session.capacity(), gateway.events()),
        (1024, vec![Event::Capacity])
    );
}

#[test]
fn a_receiver_pauses_and_goes_on() {
    let mut receiver = Dialogue::receiver();
    receiver.session.set_accepting(true);
    assert_eq!(receiver.says(), []);
    for accepting in [false, true] {
        receiver.session.set_accepting(accepting);
        let expected = Settings {
            accepting: Some(accepting),
            ..Settings::default()
        };
        let said = receiver.says();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].payload, Payload::Settings(expected));
    }
    // What was on its way while it paused is served.
    receiver.session.set_accepting(false);
    receiver.hears(encode::request(1, &head("GET"), Bytes::new(), true));
    assert_eq!(receiver.accepts(), ONE);
}

#[test]
fn a_sender_keeps_to_the_smaller_frame_and_to_the_peers_window() {
    for (mine, theirs) in [(4 << 10, 1 << 20), (1 << 20, 4 << 10)] {
        let config = V2Config {
            max_frame_body: mine,
            ..V2Config::new(Role::Gateway)
        };
        let peer = Settings {
            max_frame_body: Some(theirs),
            initial_window: Some(16 << 10),
            ..Settings::default()
        };
        let mut gateway = Dialogue::with(config, &peer);
        assert_eq!(gateway.session.first_capacity(), 4 << 10);
        gateway.opens(&head("POST"), b"", End::No);
        for _ in 0..4 {
            gateway.says();
            assert_eq!(gateway.sends(ONE, 1 << 20), 4 << 10);
        }
        gateway.says();
        assert_eq!(gateway.session.send_capacity(ONE), Ok(0));
    }
}

#[test]
fn the_gateway_opens_at_most_the_smaller_number_of_streams() {
    for (mine, theirs) in [(2, 9), (9, 2)] {
        let config = V2Config {
            max_streams: mine,
            ..V2Config::new(Role::Gateway)
        };
        let peer = Settings {
            max_streams: Some(theirs),
            ..Settings::default()
        };
        let mut gateway = Dialogue::with(config, &peer);
        gateway.opens(&head("GET"), b"", End::Yes);
        gateway.opens(&head("GET"), b"", End::Yes);
        assert_eq!(gateway.session.capacity(), 0);
        gateway.events();
        gateway.session.release(ONE);
        assert_eq!(gateway.session.capacity(), 1);
        assert!(gateway.events().contains(&Event::Capacity));
        // Whoever waited for a place has heard of it.
        gateway.session.release(StreamId(2));
        assert_eq!(gateway.session.capacity(), 2);
        assert!(!gateway.events().contains(&Event::Capacity));
    }
}
