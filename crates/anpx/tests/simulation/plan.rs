//! What happens in a run: the settings, the link and every exchange, drawn from the seed.

use std::time::Duration;

use anpx::{ResetCode, session::Role};

use super::rng::Rng;

/// The sizes a run is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A few small exchanges.
    Short,
    /// Many exchanges at once.
    Crowded,
    /// A few exchanges of megabytes.
    Long,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) latency: Duration,
    /// Bytes a second, one way.
    pub(crate) bandwidth: u64,
    pub(crate) sides: [SidePlan; 2],
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) drain: Option<(Duration, Role)>,
    pub(crate) disconnect: Option<Duration>,
    /// The driver asks for control frames while its buffer is full, too.
    pub(crate) eager: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SidePlan {
    pub(crate) max_frame_body: u32,
    pub(crate) initial_window: u32,
    pub(crate) max_streams: u32,
    pub(crate) growth: u64,
    /// A round trip is measured at the start and every so often.
    pub(crate) ping_every: Option<Duration>,
}

/// One HTTP exchange as both applications mean to do it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) open_at: Duration,
    pub(crate) method: &'static str,
    /// The request asks for an upgrade; whether the app accepts.
    pub(crate) upgrade: Option<bool>,
    pub(crate) request: HalfPlan,
    pub(crate) response: HalfPlan,
    pub(crate) informational: u8,
    pub(crate) respond: When,
    /// The app never reads the request.
    pub(crate) ignore_request: bool,
    pub(crate) leave: Leave,
    pub(crate) app_breaks: Option<(AppBreak, ResetCode)>,
    /// How long the app's call goes on after it was broken.
    pub(crate) linger: Duration,
}

#[derive(Debug)]
pub(crate) struct HalfPlan {
    pub(crate) total: u64,
    pub(crate) in_head: u64,
    /// Most bytes given to the session at once.
    pub(crate) piece: u64,
    pub(crate) end: EndStyle,
    /// The head has a content-length.
    pub(crate) announce: bool,
    /// The reader takes a few pieces, then waits.
    pub(crate) pace: Option<(u32, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndStyle {
    WithData,
    Apart,
    Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    AtOnce,
    AfterBytes(u64),
    AfterEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Never,
    /// The caller leaves (no code: the stream is only released) or a timer runs out.
    At(Duration, Option<ResetCode>),
    /// The caller leaves once the response is whole, whatever is left of the request.
    AfterResponse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppBreak {
    AtAccept,
    AfterSent(u64),
}

impl Plan {
    pub(crate) fn draw(shape: Shape, rng: &mut Rng) -> Self {
        let (streams, body) = match shape {
            Shape::Short => (1 + rng.below(8), 60_000),
            Shape::Crowded => (50 + rng.below(200), 40_000),
            Shape::Long => (1 + rng.below(6), 4 << 20),
        };
        let within = Duration::from_micros(1 + rng.size(200_000));
        let latency = Duration::from_micros(rng.size(50_000));
        let bandwidth = 100_000 << rng.below(14);
        let slow_bodies = bandwidth < 1_000_000 && shape == Shape::Long;
        let body = if slow_bodies { 300_000 } else { body };
        Self {
            latency,
            bandwidth,
            sides: [SidePlan::draw(rng), SidePlan::draw(rng)],
            exchanges: (0..streams)
                .map(|_| Exchange::draw(rng, within, body))
                .collect(),
            drain: rng.chance(25).then(|| {
                let role = rng.pick(&[Role::Gateway, Role::Receiver]);
                (moment(rng, 2 * within), role)
            }),
            disconnect: rng.chance(10).then(|| moment(rng, 4 * within)),
            eager: rng.chance(50),
        }
    }
}

fn moment(rng: &mut Rng, within: Duration) -> Duration {
    Duration::from_nanos(rng.below(u64::try_from(within.as_nanos()).unwrap() + 1))
}

impl SidePlan {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            max_frame_body: rng.pick(&[4 << 10, 16 << 10, 64 << 10, 1 << 20]),
            initial_window: rng.pick(&[16 << 10, 16 << 10, 64 << 10, 1 << 20]),
            max_streams: rng.pick(&[1, 2, 5, 100, 100, 1024]),
            growth: rng.pick(&[0, 100_000, 64 << 20]),
            ping_every: rng
                .chance(70)
                .then(|| Duration::from_micros(1_000 + rng.size(1_000_000))),
        }
    }
}

impl Exchange {
    fn draw(rng: &mut Rng, within: Duration, body: u64) -> Self {
        let upgrade = rng.chance(8).then(|| rng.chance(70));
        let method = if upgrade.is_some() {
            "GET"
        } else {
            rng.pick(&["GET", "POST", "HEAD", "PUT"])
        };
        let mut request = HalfPlan::draw(rng, body);
        let mut response = HalfPlan::draw(rng, body);
        if upgrade.is_some() {
            request.in_head = 0;
            request.announce = false;
            for half in [&mut request, &mut response] {
                if half.end == EndStyle::Trailers {
                    half.end = EndStyle::Apart;
                }
            }
            response.announce &= upgrade == Some(false);
        } else if method == "GET" && rng.chance(80) {
            request.total = 0;
            request.in_head = 0;
            request.announce = false;
        }
        let ignore_request = upgrade.is_none() && rng.chance(10);
        let late = rng.pick(&[When::AtOnce, When::AfterEnd, When::AfterBytes(body / 8)]);
        let sometimes = rng.chance(15);
        Self {
            open_at: moment(rng, within),
            method,
            upgrade,
            informational: if rng.chance(15) {
                u8::try_from(rng.below(17)).unwrap()
            } else {
                0
            },
            respond: if ignore_request || upgrade.is_some() {
                When::AtOnce
            } else {
                late
            },
            ignore_request,
            leave: match rng.below(10) {
                0 => Leave::At(moment(rng, 4 * within), None),
                1 => Leave::At(moment(rng, 4 * within), Some(ResetCode::TIMEOUT)),
                2 => Leave::AfterResponse,
                _ => Leave::Never,
            },
            app_breaks: sometimes.then(|| AppBreak::draw(rng, response.total)),
            linger: Duration::from_micros(rng.size(100_000)),
            request,
            response,
        }
    }

    /// True where the app may still hold the exchange once the gateway counts it no more: it broke,
    /// or the app answered before it read all of the request.
    pub(crate) fn may_hold_its_place(&self) -> bool {
        self.leave != Leave::Never || self.app_breaks.is_some() || self.request.pace.is_some()
    }
}

impl AppBreak {
    fn draw(rng: &mut Rng, total: u64) -> (Self, ResetCode) {
        if rng.chance(50) {
            let codes = [ResetCode::REFUSED, ResetCode::UPSTREAM_UNREACHABLE];
            return (Self::AtAccept, rng.pick(&codes));
        }
        let codes = [ResetCode::UPSTREAM_FAILED, ResetCode::INTERNAL];
        (Self::AfterSent(rng.below(total + 1)), rng.pick(&codes))
    }
}

impl HalfPlan {
    fn draw(rng: &mut Rng, body: u64) -> Self {
        let total = rng.size(body);
        Self {
            total,
            in_head: rng.size(total),
            piece: rng.pick(&[1 << 20, 1 << 20, 64 << 10, 5_000, 1 + total / 3]),
            end: rng.pick(&[EndStyle::WithData, EndStyle::Apart, EndStyle::Trailers]),
            announce: rng.chance(40),
            pace: rng.chance(30).then(|| {
                let pieces = u32::try_from(1 + rng.below(3)).unwrap();
                (pieces, Duration::from_micros(1 + rng.size(20_000)))
            }),
        }
    }
}
