//! Windows that grow, and what pays for it (ANPX 3.4).

use std::time::Duration;

use anpx::{
    ResetCode,
    limits::Budget,
    session::{End, Read, Role, config::V2Config},
    v2::{Payload, Settings, encode},
};

use super::dialogue::{Dialogue, data, head, ok};

const WINDOW: u32 = 64 << 10;
const ROUND_TRIP: Duration = Duration::from_millis(50);

fn gateway(session_growth: u64, process_growth: &Budget) -> Dialogue {
    let config = V2Config {
        session_growth,
        process_growth: process_growth.clone(),
        ..V2Config::new(Role::Gateway)
    };
    Dialogue::with(config, &Settings::default())
}

/// Opens a stream whose response has begun.
fn open(gateway: &mut Dialogue) -> u32 {
    let id = gateway.opens(&head("POST"), b"", End::No);
    gateway.says();
    gateway.hears(ok(id.0));
    gateway.reads(id).unwrap();
    id.0
}

/// A window of `size` bytes arrives and is read after `time`; returns the credit granted.
fn window_taken_after(gateway: &mut Dialogue, id: u32, size: u32, time: Duration) -> u32 {
    let mut left = size;
    while left > 0 {
        let len = left.min(WINDOW);
        gateway.hears(data(id, len as usize, false));
        left -= len;
    }
    gateway.waits(time);
    let mut credit = 0;
    while let Read::Data(..) = gateway.reads(anpx::session::StreamId(id)).unwrap() {
        for frame in gateway.says() {
            if let Payload::Window(more) = frame.payload {
                credit += more;
            }
        }
    }
    credit
}

#[test]
fn a_window_doubles_up_to_16_mib_while_its_reader_keeps_up() {
    let budget = Budget::new(1 << 30);
    let mut gateway = gateway(64 << 20, &budget);
    gateway.session.handle_round_trip(ROUND_TRIP);
    let id = open(&mut gateway);
    let mut size = WINDOW;
    while size < 16 << 20 {
        let credit = window_taken_after(&mut gateway, id, size, 2 * ROUND_TRIP);
        size *= 2;
        assert_eq!(credit, size);
        assert_eq!((1 << 30) - budget.left(), u64::from(size - WINDOW));
    }
    assert_eq!(
        window_taken_after(&mut gateway, id, size, Duration::ZERO),
        size
    );
    gateway.session.release(anpx::session::StreamId(id));
    assert_eq!(budget.left(), 1 << 30);
}

#[test]
fn a_slow_reader_or_an_unknown_round_trip_earns_nothing() {
    for (sample, time) in [
        (Some(ROUND_TRIP), 2 * ROUND_TRIP + Duration::from_nanos(1)),
        (None, Duration::ZERO),
    ] {
        let budget = Budget::new(1 << 30);
        let mut gateway = gateway(64 << 20, &budget);
        if let Some(sample) = sample {
            gateway.session.handle_round_trip(sample);
        }
        let id = open(&mut gateway);
        assert_eq!(window_taken_after(&mut gateway, id, WINDOW, time), WINDOW);
        assert_eq!(budget.left(), 1 << 30);
    }
}

#[test]
fn the_least_round_trip_counts() {
    let budget = Budget::new(1 << 30);
    let mut gateway = gateway(64 << 20, &budget);
    for sample in [3 * ROUND_TRIP, ROUND_TRIP, 2 * ROUND_TRIP] {
        gateway.session.handle_round_trip(sample);
    }
    let id = open(&mut gateway);
    assert_eq!(
        window_taken_after(&mut gateway, id, WINDOW, 3 * ROUND_TRIP),
        WINDOW
    );
}

#[test]
fn an_empty_budget_means_no_growth() {
    for (session, process) in [(u64::from(WINDOW), 1 << 30), (64 << 20, u64::from(WINDOW))] {
        let budget = Budget::new(process);
        let mut gateway = gateway(session, &budget);
        gateway.session.handle_round_trip(ROUND_TRIP);
        let (first, second) = (open(&mut gateway), open(&mut gateway));
        let none = Duration::ZERO;
        assert_eq!(
            window_taken_after(&mut gateway, first, WINDOW, none),
            2 * WINDOW
        );
        assert_eq!(
            window_taken_after(&mut gateway, second, WINDOW, none),
            WINDOW
        );
        assert_eq!(budget.left(), process - u64::from(WINDOW));
        // The end of one stream lets the other grow.
        gateway.hears(encode::reset(first, ResetCode::UPSTREAM_FAILED));
        assert_eq!(budget.left(), process);
        assert_eq!(
            window_taken_after(&mut gateway, second, WINDOW, none),
            2 * WINDOW
        );
        assert_eq!(budget.left(), process - u64::from(WINDOW));
    }
}

#[test]
fn growth_is_returned_however_the_stream_ends() {
    let ends: [fn(&mut Dialogue, u32); 5] = [
        |d, id| d.hears(encode::reset(id, ResetCode::UPSTREAM_FAILED)),
        |d, id| {
            d.session
                .reset(anpx::session::StreamId(id), ResetCode::TIMEOUT)
        },
        |d, id| d.session.release(anpx::session::StreamId(id)),
        |d, _| d.session.end(),
        |d, id| {
            d.hears(data(id, 1, true));
            d.ends(anpx::session::StreamId(id));
            d.says();
            d.session.release(anpx::session::StreamId(id));
        },
    ];
    for (i, end) in ends.into_iter().enumerate() {
        let budget = Budget::new(1 << 30);
        let mut gateway = gateway(64 << 20, &budget);
        gateway.session.handle_round_trip(ROUND_TRIP);
        let id = open(&mut gateway);
        window_taken_after(&mut gateway, id, WINDOW, ROUND_TRIP);
        assert!(budget.left() < 1 << 30, "{i}");
        end(&mut gateway, id);
        assert_eq!(budget.left(), 1 << 30, "{i}");
    }
}

#[test]
fn growth_is_returned_by_a_session_that_is_dropped() {
    let budget = Budget::new(1 << 30);
    let mut gateway = gateway(64 << 20, &budget);
    gateway.session.handle_round_trip(ROUND_TRIP);
    let id = open(&mut gateway);
    window_taken_after(&mut gateway, id, WINDOW, ROUND_TRIP);
    assert!(budget.left() < 1 << 30);
    drop(gateway);
    assert_eq!(budget.left(), 1 << 30);
}
