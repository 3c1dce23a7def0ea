//! Upgrades (ANPX 3.7).

use anpx::{
    Fields, OpenError, RequestHead, ResetCode, StreamError,
    session::{End, Event, Read},
    v2::{Kind, Payload, encode},
};
use bytes::Bytes;

use super::dialogue::{
    Dialogue, ONE, data, outline, response, response_with, upgrade, with_headers,
};

const OVER: Result<(), StreamError> = Err(StreamError::Reset(ResetCode::INTERNAL));

fn gateway_after_upgrade() -> Dialogue {
    let mut gateway = Dialogue::gateway();
    assert_eq!(gateway.opens(&upgrade(), b"", End::No), ONE);
    let said = gateway.says();
    assert!(!said[0].end);
    assert!(matches!(&said[0].payload, Payload::Request { head, .. } if head.protocol.is_some()));
    gateway
}

fn receiver_after_upgrade(head: &RequestHead) -> Dialogue {
    let mut receiver = Dialogue::receiver();
    receiver.hears(encode::request(1, head, Bytes::new(), false));
    assert_eq!(receiver.accepts(), ONE);
    receiver
}

#[test]
fn an_upgrade_has_neither_body_nor_end() {
    let mut gateway = Dialogue::gateway();
    let now = gateway.now;
    let mut open = |body, end| gateway.session.open(|| now, &upgrade(), body, end);
    assert_eq!(open(Bytes::new(), End::Yes), Err(OpenError::Invalid));
    assert_eq!(
        open(Bytes::from_static(b"x"), End::No),
        Err(OpenError::Invalid)
    );
    let post = RequestHead {
        method: "POST".into(),
        ..upgrade()
    };
    let open = gateway.session.open(|| now, &post, Bytes::new(), End::No);
    assert_eq!(open, Err(OpenError::Invalid));
}

#[test]
fn the_gateway_sends_nothing_before_101() {
    let mut gateway = gateway_after_upgrade();
    gateway.events();
    assert_eq!(gateway.session.send_capacity(ONE), Ok(0));
    assert_eq!(gateway.session.send_data(ONE, Bytes::new(), End::Yes), OVER);
    assert_eq!(gateway.session.send_trailers(ONE, Fields::default()), OVER);
    let hint = encode::response(1, &response(103), Bytes::new(), false);
    gateway.hears(hint);
    assert_eq!(
        (gateway.session.send_capacity(ONE), gateway.says()),
        (Ok(0), vec![])
    );
    gateway.events();
    gateway.hears(encode::response(1, &response(101), Bytes::new(), false));
    assert_eq!(
        gateway.events(),
        [Event::Readable(ONE), Event::Writable(ONE)]
    );
    assert_eq!(gateway.session.send_capacity(ONE), Ok(64 << 10));
    assert_eq!(gateway.sends(ONE, 3), 3);
    assert_eq!(outline(&gateway.says()), [(Kind::Data, 1)]);
    assert_eq!(gateway.session.send_trailers(ONE, Fields::default()), OVER);
}

#[test]
fn after_101_each_side_ends_apart() {
    let mut gateway = gateway_after_upgrade();
    gateway.hears(encode::response(1, &response(101), Bytes::new(), false));
    assert_eq!(gateway.reads(ONE), Ok(Read::Head(response(101), End::No)));
    gateway.hears(data(1, 2, true));
    assert!(matches!(gateway.reads(ONE), Ok(Read::Data(_, End::Yes))));
    assert_eq!(gateway.sends(ONE, 3), 3);
    gateway.says();
    gateway.ends(ONE);
    assert!(gateway.says()[0].end);
    gateway.session.release(ONE);
    assert_eq!(gateway.session.open_streams(), 0);
}

#[test]
fn trailers_after_101_break_the_stream() {
    let mut gateway = gateway_after_upgrade();
    gateway.hears(encode::response(1, &response(101), Bytes::new(), false));
    gateway.hears(encode::trailers(1, &Fields::default()));
    let broken = Some(StreamError::Reset(ResetCode::PROTOCOL));
    assert_eq!(gateway.session.stream_error(ONE), broken);

    let mut receiver = receiver_after_upgrade(&upgrade());
    receiver.responds(ONE, 101, End::No);
    assert_eq!(receiver.session.send_trailers(ONE, Fields::default()), OVER);
    receiver.hears(encode::trailers(1, &Fields::default()));
    assert_eq!(receiver.session.stream_error(ONE), broken);
}

#[test]
fn a_length_says_nothing_about_what_follows_101() {
    let announced = with_headers(upgrade(), &[("content-length", "0")]);
    let mut receiver = receiver_after_upgrade(&announced);
    receiver.responds(ONE, 101, End::No);
    receiver.hears(data(1, 5, false));
    assert_eq!(receiver.session.stream_error(ONE), None);

    let mut gateway = gateway_after_upgrade();
    let announced = response_with(101, &[("content-length", "0")]);
    gateway.hears(encode::response(1, &announced, Bytes::new(), false));
    gateway.hears(data(1, 5, false));
    assert_eq!(gateway.session.stream_error(ONE), None);
}

#[test]
fn any_other_status_makes_it_an_ordinary_exchange() {
    for status in [200, 204, 403, 426] {
        let mut gateway = gateway_after_upgrade();
        gateway.events();
        gateway.hears(encode::response(1, &response(status), Bytes::new(), false));
        let said = gateway.says();
        assert_eq!(outline(&said), [(Kind::Data, 1)], "{status}");
        assert!(said[0].end && matches!(&said[0].payload, Payload::Data(data) if data.is_empty()));
        gateway.hears(encode::trailers(1, &Fields::default()));
        assert_eq!(gateway.session.stream_error(ONE), None);
        gateway.session.release(ONE);
        assert_eq!(gateway.session.open_streams(), 0);

        let mut receiver = receiver_after_upgrade(&upgrade());
        receiver.responds(ONE, status, End::No);
        receiver.hears(data(1, 0, true));
        assert_eq!(receiver.reads(ONE), Ok(Read::End));
        receiver
            .session
            .send_trailers(ONE, Fields::default())
            .unwrap();
        receiver.says();
        receiver.session.release(ONE);
        assert_eq!(receiver.session.open_streams(), 0);
    }
}

#[test]
fn data_before_the_answer_breaks_the_stream() {
    for frame in [data(1, 1, false), data(1, 0, true)] {
        let mut receiver = receiver_after_upgrade(&upgrade());
        receiver.hears(frame);
        let broken = Some(StreamError::Reset(ResetCode::PROTOCOL));
        assert_eq!(receiver.session.stream_error(ONE), broken);
    }
}
