//! GOAWAY from either side (ANPX 3.9).

use anpx::{
    CloseCode, OpenError, ResetCode,
    session::{End, Event},
    v2::{Frame, Kind, Payload, encode},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, head, outline, response};

fn go_away(last_stream: Option<u32>) -> Frame {
    Frame {
        stream: 0,
        end: false,
        payload: Payload::GoAway {
            code: ResetCode::NO_ERROR,
            last_stream,
        },
    }
}

fn goodbye(last_stream: Option<u32>) -> anpx::frame::Frame {
    encode::go_away(ResetCode::NO_ERROR, last_stream)
}

fn answer(id: u32) -> anpx::frame::Frame {
    encode::response(id, &response(204), Bytes::new(), true)
}

fn cannot_open(gateway: &mut Dialogue) {
    let now = gateway.now;
    let open = gateway
        .session
        .open(|| now, &head("GET"), Bytes::new(), End::Yes);
    assert_eq!(
        (open, gateway.session.capacity()),
        (Err(OpenError::Unavailable), 0)
    );
}

#[test]
fn a_gateway_answers_go_away_behind_the_heads_it_counts_and_ahead_of_data() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.sends(ONE, 64 << 10);
    gateway.opens(&head("GET"), b"", End::Yes);
    gateway.opens(&head("GET"), b"", End::Yes);
    gateway.events();
    gateway.hears(goodbye(None));
    assert_eq!(gateway.events(), [Event::Draining, Event::Capacity]);
    cannot_open(&mut gateway);
    let said = gateway.says();
    let expected = [
        (Kind::Request, 2),
        (Kind::Request, 3),
        (Kind::GoAway, 0),
        (Kind::Data, 1),
    ];
    assert_eq!(outline(&said), expected);
    assert_eq!(said[2], go_away(Some(3)));
    // The side that began closes.
    for id in [1, 2, 3] {
        gateway
            .session
            .reset(anpx::session::StreamId(id), ResetCode::CANCELLED);
    }
    gateway.says();
    assert!(!gateway.session.is_drained());
}

#[test]
fn data_does_not_hold_a_go_away_back() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.sends(ONE, 1000);
    gateway.session.drain();
    assert_eq!(gateway.says_one(0), Some(go_away(Some(1))));
    let mut gateway = Dialogue::gateway_after_post();
    gateway.session.drain();
    assert_eq!(gateway.says_with(1 << 30), [go_away(Some(1))]);
}

#[test]
fn withdrawn_heads_do_not_hold_a_go_away_back() {
    let mut gateway = Dialogue::gateway();
    gateway.opens(&head("GET"), b"", End::Yes);
    gateway.session.drain();
    gateway.session.release(ONE);
    assert_eq!(gateway.says(), [go_away(Some(0))]);
    assert!(gateway.session.is_drained());
}

#[test]
fn a_gateway_that_stops_first_is_drained_after_its_last_stream() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.session.drain();
    gateway.session.drain();
    cannot_open(&mut gateway);
    assert!(!gateway.session.is_drained(), "nothing was written yet");
    assert_eq!(gateway.says(), [go_away(Some(1))]);
    assert!(!gateway.session.is_drained());
    gateway.hears(answer(1));
    assert!(!gateway.session.is_drained(), "the request is not whole");
    gateway.ends(ONE);
    gateway.says();
    assert!(gateway.session.is_drained());
}

#[test]
fn a_receiver_that_stops_serves_all_up_to_the_last_stream() {
    let mut receiver = Dialogue::receiver();
    receiver.hears(encode::request(1, &head("GET"), Bytes::new(), true));
    receiver.session.drain();
    assert_eq!(receiver.says(), [go_away(None)]);
    receiver.hears(encode::request(2, &head("GET"), Bytes::new(), true));
    assert_eq!((receiver.accepts().0, receiver.accepts().0), (1, 2));
    receiver.events();
    receiver.hears(goodbye(Some(2)));
    assert_eq!(receiver.events(), [Event::Draining, Event::Capacity]);
    for id in [1, 2] {
        assert!(!receiver.session.is_drained());
        receiver.responds(anpx::session::StreamId(id), 204, End::Yes);
        receiver.says();
    }
    assert!(receiver.session.is_drained());
}

#[test]
fn a_receiver_waits_for_the_gateways_answer() {
    let mut receiver = Dialogue::receiver();
    receiver.session.drain();
    receiver.says();
    assert!(!receiver.session.is_drained());
    receiver.hears(goodbye(Some(0)));
    assert!(receiver.session.is_drained());
}

#[test]
fn a_receiver_told_to_go_finishes_and_leaves_the_close_to_the_gateway() {
    let mut receiver = Dialogue::receiver();
    receiver.hears(encode::request(1, &head("GET"), Bytes::new(), true));
    receiver.events();
    receiver.hears(goodbye(Some(1)));
    assert_eq!(receiver.events(), [Event::Draining, Event::Capacity]);
    assert_eq!(receiver.accepts(), ONE);
    receiver.responds(ONE, 204, End::Yes);
    assert_eq!(outline(&receiver.says()), [(Kind::Response, 1)]);
    assert!(!receiver.session.is_drained());
    let late = encode::request(2, &head("GET"), Bytes::new(), true);
    receiver.ends_at(late, CloseCode::PROTOCOL);
}

#[test]
fn both_may_begin_at_once() {
    let mut gateway = Dialogue::gateway();
    gateway.session.drain();
    gateway.hears(goodbye(None));
    assert_eq!(gateway.says(), [go_away(Some(0))]);
    assert!(gateway.session.is_drained());
    let mut receiver = Dialogue::receiver();
    receiver.session.drain();
    receiver.hears(goodbye(Some(0)));
    assert_eq!(receiver.says(), [go_away(None)]);
    assert!(receiver.session.is_drained());
}

#[test]
fn a_second_go_away_is_useless() {
    let mut gateway = Dialogue::gateway();
    gateway.hears(goodbye(None));
    gateway.events();
    for _ in 0..1000 {
        gateway.hears(goodbye(None));
    }
    assert_eq!(gateway.events(), []);
    gateway.ends_at(goodbye(None), CloseCode::LIMIT);
}
