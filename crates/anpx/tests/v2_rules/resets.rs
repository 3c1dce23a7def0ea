//! RESET, REFUSED and places (ANPX 3.8).

use anpx::{
    CloseCode, ResetCode, StreamError,
    session::{End, Event, Read, Role, config::V2Config},
    v2::{Kind, Settings, encode},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, data, head, ok, outline, raw, reset, response};

fn broken(code: ResetCode) -> StreamError {
    StreamError::Reset(code)
}

#[test]
fn a_request_not_yet_written_is_withdrawn() {
    let mut gateway = Dialogue::gateway();
    gateway.opens(&head("GET"), b"", End::Yes);
    let second = gateway.opens(&head("GET"), b"", End::Yes);
    gateway.session.release(ONE);
    assert_eq!(outline(&gateway.says()), [(Kind::Request, second.0)]);
    assert_eq!(gateway.session.open_streams(), 1);
    // To the peer the withdrawn stream is closed, not idle.
    gateway.hears(encode::reset(1, ResetCode::CANCELLED));
}

#[test]
fn a_reset_drops_what_is_queued_and_goes_ahead_of_other_data() {
    let mut gateway = Dialogue::gateway_after_post();
    let other = gateway.opens(&head("POST"), b"", End::No);
    gateway.says();
    gateway.sends(other, 10);
    gateway.sends(ONE, 10);
    gateway.session.reset(ONE, ResetCode::TIMEOUT);
    let said = gateway.says();
    assert_eq!(outline(&said), [(Kind::Reset, 1), (Kind::Data, other.0)]);
    assert_eq!(said[0], reset(1, ResetCode::TIMEOUT));
    assert_eq!(gateway.reads(ONE), Err(broken(ResetCode::TIMEOUT)));
}

#[test]
fn a_release_of_an_unfinished_stream_says_why() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.session.release(ONE);
    assert_eq!(gateway.says(), [reset(1, ResetCode::CANCELLED)]);
    assert_eq!(gateway.session.open_streams(), 0);

    let mut receiver = Dialogue::receiver_after_post();
    receiver.responds(ONE, 200, End::No);
    receiver.session.release(ONE);
    assert_eq!(receiver.says(), [reset(1, ResetCode::INTERNAL)]);
    assert_eq!(receiver.session.open_streams(), 0);
}

#[test]
fn no_error_keeps_its_place_behind_the_data() {
    for explicit in [false, true] {
        let mut receiver = Dialogue::receiver_after_post();
        receiver.responds(ONE, 200, End::No);
        receiver.sends(ONE, 100);
        receiver.ends(ONE);
        if explicit {
            receiver.session.reset(ONE, ResetCode::NO_ERROR);
        }
        receiver.session.release(ONE);
        let said = receiver.says();
        assert_eq!(
            outline(&said),
            [(Kind::Response, 1), (Kind::Data, 1), (Kind::Reset, 1)]
        );
        assert!(said[1].end);
        assert_eq!(said[2], reset(1, ResetCode::NO_ERROR));
        assert_eq!(receiver.session.open_streams(), 0);
    }
}

#[test]
fn a_request_that_became_whole_needs_no_no_error() {
    let mut receiver = Dialogue::receiver_after_post();
    receiver.responds(ONE, 200, End::Yes);
    receiver.session.release(ONE);
    receiver.hears(data(1, 10, true));
    assert_eq!(outline(&receiver.says()), [(Kind::Response, 1)]);
    assert_eq!(receiver.session.open_streams(), 0);
}

#[test]
fn a_whole_half_is_not_taken_back() {
    for code in [ResetCode::NO_ERROR, ResetCode::INTERNAL] {
        let mut gateway = Dialogue::gateway_after_post();
        gateway.hears(ok(1));
        gateway.hears(data(1, 7, true));
        gateway.hears(encode::reset(1, code));
        assert_eq!(gateway.reads(ONE), Ok(Read::Head(response(200), End::No)));
        assert!(matches!(gateway.reads(ONE), Ok(Read::Data(data, End::Yes)) if data.len() == 7));
        assert_eq!(gateway.session.send_capacity(ONE), Err(broken(code)));
    }
}

#[test]
fn any_reset_before_the_end_breaks_the_message() {
    for code in [
        ResetCode::NO_ERROR,
        ResetCode::UPSTREAM_FAILED,
        ResetCode(77),
    ] {
        let mut gateway = Dialogue::gateway_after_post();
        gateway.hears(ok(1));
        gateway.hears(data(1, 7, false));
        gateway.events();
        gateway.hears(encode::reset(1, code));
        assert_eq!(
            gateway.events(),
            [Event::Readable(ONE), Event::Writable(ONE)]
        );
        assert_eq!(gateway.reads(ONE), Err(broken(code)));
        assert_eq!(gateway.says(), [], "RESET is never answered");
    }
}

#[test]
fn a_faulty_reset_is_not_answered() {
    let mut gateway = Dialogue::gateway_after_post();
    gateway.hears(raw(6, 0, 1, &[]));
    assert_eq!(gateway.reads(ONE), Err(broken(ResetCode::PROTOCOL)));
    assert_eq!(gateway.says(), []);
}

#[test]
fn a_request_beyond_max_streams_is_refused() {
    let config = V2Config {
        max_streams: 1,
        ..V2Config::new(Role::Receiver)
    };
    let mut receiver = Dialogue::with(config, &Settings::default());
    let request = |receiver: &mut Dialogue, id| {
        receiver.hears(encode::request(id, &head("GET"), Bytes::new(), true));
    };
    request(&mut receiver, 1);
    assert_eq!(receiver.accepts(), ONE);
    request(&mut receiver, 2);
    assert_eq!(receiver.says(), [reset(2, ResetCode::REFUSED)]);
    assert_eq!(receiver.session.accept(), None);
    // Broken, but the app's call goes on.
    receiver.hears(encode::reset(1, ResetCode::CANCELLED));
    request(&mut receiver, 3);
    assert_eq!(receiver.says(), [reset(3, ResetCode::REFUSED)]);
    receiver.session.release(ONE);
    request(&mut receiver, 4);
    assert_eq!(receiver.accepts().0, 4);
    // Whole: the gateway counts it no more, whatever the app still does.
    receiver.responds(anpx::session::StreamId(4), 204, End::Yes);
    receiver.says();
    request(&mut receiver, 5);
    assert_eq!(receiver.accepts().0, 5);
    assert_eq!(receiver.says(), []);
}

#[test]
fn a_request_reset_before_it_was_accepted_is_never_seen() {
    let mut receiver = Dialogue::receiver();
    receiver.hears(encode::request(1, &head("POST"), Bytes::new(), false));
    receiver.hears(encode::reset(1, ResetCode::CANCELLED));
    assert_eq!(receiver.session.accept(), None);
    assert_eq!(receiver.session.open_streams(), 0);
}

#[test]
fn refused_is_believed_only_before_any_window_or_response() {
    let hint = encode::response(1, &response(103), Bytes::new(), false);
    for committing in [encode::window(1, 1), hint, ok(1)] {
        let mut gateway = Dialogue::gateway_after_post();
        assert!(!gateway.session.is_committed(ONE));
        gateway.hears(committing);
        assert!(gateway.session.is_committed(ONE));
        gateway.hears(encode::reset(1, ResetCode::REFUSED));
        assert_eq!(gateway.reads(ONE), Err(broken(ResetCode::PROTOCOL)));
    }
    let mut gateway = Dialogue::gateway_after_post();
    gateway.hears(encode::reset(1, ResetCode::REFUSED));
    assert_eq!(gateway.reads(ONE), Err(broken(ResetCode::REFUSED)));
    assert!(!gateway.session.is_committed(ONE));
}

#[test]
fn a_receiver_does_not_promise_what_is_no_longer_true() {
    let mut receiver = Dialogue::receiver_after_post();
    receiver.session.reset(ONE, ResetCode::REFUSED);
    assert_eq!(receiver.says(), [reset(1, ResetCode::REFUSED)]);

    let mut receiver = Dialogue::receiver_after_post();
    receiver.session.inform(ONE, &response(103)).unwrap();
    receiver.says();
    receiver.session.reset(ONE, ResetCode::REFUSED);
    assert_eq!(receiver.says(), [reset(1, ResetCode::INTERNAL)]);

    let mut receiver = Dialogue::receiver_after_post();
    receiver.hears(data(1, 40_000, false));
    receiver.reads(ONE).unwrap();
    assert_eq!(outline(&receiver.says()), [(Kind::Window, 1)]);
    receiver.session.reset(ONE, ResetCode::REFUSED);
    assert_eq!(receiver.says(), [reset(1, ResetCode::INTERNAL)]);
}

#[test]
fn a_thousand_and_twenty_four_provoked_resets_may_wait() {
    let mut receiver = Dialogue::receiver();
    for id in 1..=1024 {
        receiver.hears(raw(1, 0, id, &[]));
    }
    receiver.ends_at(raw(1, 0, 1025, &[]), CloseCode::LIMIT);

    let mut receiver = Dialogue::receiver();
    for id in 1..=5000 {
        receiver.hears(raw(1, 0, id, &[]));
        if id % 1000 == 0 {
            assert_eq!(receiver.says().len(), 1000);
        }
    }
}

#[test]
fn resets_that_nobody_reads_do_not_pile_up() {
    let config = V2Config {
        max_streams: 10,
        ..V2Config::new(Role::Receiver)
    };
    let mut receiver = Dialogue::with(config, &Settings::default());
    let mut errors = (1..=2000).filter_map(|id| {
        let frame = encode::request(id, &head("GET"), Bytes::new(), true);
        if let Err(error) = receiver.try_hears(frame) {
            return Some((id, error.code));
        }
        let id = receiver.accepts();
        receiver.session.release(id);
        None
    });
    assert_eq!(errors.next(), Some((1024 + 10 + 2, CloseCode::LIMIT)));
}

#[test]
fn the_end_of_the_session_breaks_what_is_unfinished_and_nothing_else() {
    let mut gateway = Dialogue::gateway();
    let whole = gateway.opens(&head("GET"), b"", End::Yes);
    let half = gateway.opens(&head("POST"), b"", End::No);
    gateway.says();
    let unwritten = gateway.opens(&head("GET"), b"", End::Yes);
    for id in [whole, half] {
        gateway.hears(encode::response(
            id.0,
            &response(200),
            Bytes::from_static(b"x"),
            true,
        ));
    }
    gateway.session.end();
    let ended = |written| StreamError::SessionEnded { written };
    assert_eq!(gateway.session.stream_error(whole), None);
    assert_eq!(gateway.session.stream_error(half), Some(ended(true)));
    assert_eq!(gateway.reads(unwritten), Err(ended(false)));
    for id in [whole, half] {
        assert_eq!(gateway.reads(id), Ok(Read::Head(response(200), End::No)));
        assert!(matches!(gateway.reads(id), Ok(Read::Data(_, End::Yes))));
    }
    for id in [whole, half, unwritten] {
        gateway.session.release(id);
    }
    assert_eq!(gateway.session.open_streams(), 0);

    // Released before, with something still to be written.
    let mut receiver = Dialogue::receiver();
    receiver.hears(encode::request(1, &head("GET"), Bytes::new(), true));
    assert_eq!(receiver.accepts(), ONE);
    receiver.responds(ONE, 200, End::Yes);
    receiver.session.release(ONE);
    receiver.session.end();
    assert_eq!(receiver.session.open_streams(), 0);
}
