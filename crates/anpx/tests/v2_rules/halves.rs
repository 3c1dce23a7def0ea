//! Halves: heads, DATA, ends (ANPX 3.2).

use anpx::{
    Fields, ResetCode, StreamError,
    session::{End, Event, Read},
    v2::{Kind, Payload, encode},
};
use bytes::Bytes;

use super::dialogue::{
    Dialogue, ONE, data, fields, head, ok, outline, response, response_with, with_headers,
};

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_whole_exchange_each_way() {
    let mut receiver = Dialogue::receiver();
    let post = with_headers(head("POST"), &[("content-length", "5")]);
    receiver.hears(encode::request(1, &post, body("ab"), false));
    assert_eq!(receiver.events(), [Event::Capacity, Event::Incoming]);
    assert_eq!(receiver.session.accept(), Some((ONE, Box::new(post))));
    assert_eq!(receiver.reads(ONE), Ok(Read::Data(body("ab"), End::No)));
    assert_eq!(receiver.reads(ONE), Ok(Read::Pending));
    receiver.hears(encode::data(1, body("cde"), true));
    assert_eq!(receiver.events(), [Event::Readable(ONE)]);
    assert_eq!(receiver.reads(ONE), Ok(Read::Data(body("cde"), End::Yes)));
    assert_eq!(receiver.reads(ONE), Ok(Read::Pending));
    receiver.responds(ONE, 200, End::No);
    receiver
        .session
        .send_trailers(ONE, fields(&[("a", "b")]))
        .unwrap();
    let said = receiver.says();
    assert_eq!(outline(&said), [(Kind::Response, 1), (Kind::Trailers, 1)]);
    assert_eq!((said[0].end, said[1].end), (false, true));
    receiver.session.release(ONE);
    assert_eq!(receiver.session.open_streams(), 0);
}

#[test]
fn the_end_is_told_once_wherever_it_was() {
    let trailers = || encode::trailers(1, &fields(&[("a", "b")]));
    let head_end = encode::response(1, &response(200), Bytes::new(), true);
    let body_end = encode::response(1, &response(200), body("x"), true);
    let ok_head = |end| Read::Head(response(200), end);
    let x = |end| Read::Data(body("x"), end);
    let cases = [
        (vec![head_end], vec![ok_head(End::Yes)]),
        (vec![body_end], vec![ok_head(End::No), x(End::Yes)]),
        (
            vec![ok(1), data(1, 0, true)],
            vec![ok_head(End::No), Read::End],
        ),
        (
            vec![ok(1), trailers()],
            vec![ok_head(End::No), Read::Trailers(fields(&[("a", "b")]))],
        ),
        (
            vec![ok(1), encode::data(1, body("x"), false), data(1, 0, true)],
            vec![ok_head(End::No), x(End::No), Read::End],
        ),
        (
            vec![ok(1), encode::data(1, body("x"), false), trailers()],
            vec![
                ok_head(End::No),
                x(End::No),
                Read::Trailers(fields(&[("a", "b")])),
            ],
        ),
    ];
    for (script, expected) in cases {
        let mut gateway = Dialogue::gateway_after_post();
        let mut read = Vec::new();
        for frame in script {
            gateway.hears(frame);
            while let part @ (Read::Head(..) | Read::Data(..) | Read::Trailers(_) | Read::End) =
                gateway.reads(ONE).unwrap()
            {
                read.push(part);
            }
        }
        assert_eq!(read, expected);
        assert_eq!(gateway.reads(ONE), Ok(Read::Pending));
    }
}

#[test]
fn sixteen_informational_heads_come_before_the_final_one() {
    let mut gateway = Dialogue::gateway_after_post();
    for _ in 0..16 {
        gateway.hears(encode::response(1, &response(103), Bytes::new(), false));
    }
    gateway.hears(ok(1));
    for _ in 0..16 {
        assert_eq!(gateway.reads(ONE), Ok(Read::Informational(response(103))));
    }
    assert_eq!(gateway.reads(ONE), Ok(Read::Head(response(200), End::No)));
}

#[test]
fn what_does_not_fit_of_informational_heads_is_not_sent() {
    let mut receiver = Dialogue::receiver_after_post();
    let long = "x".repeat(8 << 10);
    let too_large = response_with(103, &[("link", &long)]);
    receiver.session.inform(ONE, &too_large).unwrap();
    for _ in 0..17 {
        receiver.session.inform(ONE, &response(103)).unwrap();
    }
    receiver.responds(ONE, 200, End::No);
    receiver.session.inform(ONE, &response(103)).unwrap();
    let said = receiver.says();
    assert_eq!(said.len(), 17);
    let statuses: Vec<_> = said
        .iter()
        .map(|frame| match &frame.payload {
            Payload::Response { head, .. } => head.status,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((&statuses[..16], statuses[16]), (&[103; 16][..], 200));
}

#[test]
fn responses_without_a_body_may_announce_one() {
    for (method, status) in [("HEAD", 200), ("GET", 304), ("GET", 204)] {
        for end in [true, false] {
            let mut gateway = Dialogue::gateway();
            gateway.opens(&head(method), b"", End::Yes);
            gateway.says();
            let announced = response_with(status, &[("content-length", "1000")]);
            gateway.hears(encode::response(1, &announced, Bytes::new(), end));
            assert_eq!(
                gateway.reads(ONE),
                Ok(Read::Head(announced, End::from(end)))
            );
            if !end {
                gateway.hears(data(1, 0, true));
                assert_eq!(gateway.reads(ONE), Ok(Read::End));
            }
        }
    }
}

#[test]
fn an_end_joins_the_data_that_waits() {
    let mut gateway = Dialogue::gateway_after_post();
    assert_eq!(gateway.sends(ONE, 5), 5);
    gateway.ends(ONE);
    let said = gateway.says();
    assert_eq!(said.len(), 1);
    assert!(said[0].end && matches!(&said[0].payload, Payload::Data(data) if data.len() == 5));
}

#[test]
fn nothing_is_sent_before_the_head_nor_after_the_end() {
    let over = Err(StreamError::Reset(ResetCode::INTERNAL));
    let mut receiver = Dialogue::receiver_after_post();
    assert_eq!(receiver.session.send_capacity(ONE), Ok(0));
    assert_eq!(
        receiver.session.send_data(ONE, Bytes::new(), End::Yes),
        over
    );
    assert_eq!(receiver.session.send_trailers(ONE, Fields::default()), over);
    for status in [0, 100, 101, 103, 600] {
        let sent = receiver
            .session
            .respond(ONE, &response(status), Bytes::new(), End::No);
        assert_eq!(sent, over, "{status}");
    }
    assert_eq!(receiver.says(), []);
    receiver.responds(ONE, 200, End::Yes);
    assert_eq!(
        receiver
            .session
            .respond(ONE, &response(200), body("x"), End::Yes),
        over
    );
    assert_eq!(
        receiver.session.send_data(ONE, Bytes::new(), End::Yes),
        over
    );
    assert_eq!(receiver.session.send_data(ONE, body("x"), End::No), over);
    assert_eq!(receiver.session.send_trailers(ONE, Fields::default()), over);
    assert_eq!(outline(&receiver.says()), [(Kind::Response, 1)]);
}

#[test]
fn a_refused_call_takes_nothing_from_the_window() {
    let mut receiver = Dialogue::receiver_after_post();
    let full = Bytes::from(vec![0; receiver.session.first_capacity()]);
    let respond = |receiver: &mut Dialogue, status| {
        let head = response(status);
        receiver.session.respond(ONE, &head, full.clone(), End::No)
    };
    for _ in 0..8 {
        respond(&mut receiver, 600).unwrap_err();
    }
    respond(&mut receiver, 200).unwrap();
    for _ in 0..8 {
        respond(&mut receiver, 200).unwrap_err();
    }
    receiver.says();
    assert_eq!(
        receiver.session.send_capacity(ONE),
        Ok((64 << 10) - full.len())
    );
}

#[test]
fn a_release_does_not_take_back_what_ends_the_exchange() {
    let mut gateway = Dialogue::gateway_after_post();
    assert_eq!(gateway.sends(ONE, 5), 5);
    gateway.ends(ONE);
    gateway.hears(encode::response(1, &response(200), Bytes::new(), true));
    gateway.reads(ONE).unwrap();
    gateway.session.release(ONE);
    let said = gateway.says();
    assert_eq!(outline(&said), [(Kind::Data, 1)]);
    assert!(said[0].end);
    assert_eq!(gateway.session.open_streams(), 0);
}
