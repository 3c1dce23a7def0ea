//! What one client, endpoint or tenant used of its limits.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::bucket::Bucket;
use crate::{
    alive::{Alive, Life},
    config::RateLimit,
};

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A client address.
    Client,
    /// An endpoint.
    Endpoint,
    /// The owner of endpoints.
    Tenant,
}

impl fmt::Display for Scope {
    /// The name of the policy in fields and problems.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Endpoint => "endpoint",
            Self::Tenant => "tenant",
        })
    }
}

/// How much of a limit on requests is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) scope: Scope,
    /// Requests that may come at once.
    quota: u32,
    /// Seconds in which as many are saved up.
    window: u64,
    /// Requests that may still come at once.
    remaining: u32,
    /// Seconds until the next may come, where none is left; else until all are saved up again.
    pub(super) reset: u64,
}

impl Left {
    /// A member of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 section 3).
    pub(super) fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.scope, self.quota, self.window)
    }

    /// A member of `RateLimit` (the same, section 4).
    pub(super) fn limit(&self) -> String {
        format!("\"{}\";r={};t={}", self.scope, self.remaining, self.reset)
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>;

/// What one of them used.
#[derive(Debug)]
pub(super) struct Meter {
    requests: Option<Requests>,
    pub(super) bytes: Option<Arc<Bucket>>,
    /// Requests under way, where their number is limited.
    at_once: Alive,
    since: Instant,
    /// When it was last asked, in milliseconds since `since`.
    asked: AtomicU64,
}

#[derive(Debug)]
struct Requests {
    limiter: Limiter,
    quota: Quota,
}

impl Meter {
    /// Nothing used yet of a valid limit.
    pub(super) fn new(limit: Option<&RateLimit>) -> Self {
        let requests = limit.and_then(quota).map(|quota| Requests {
            limiter: RateLimiter::direct_with_clock(quota, MonotonicClock).with_middleware(),
            quota,
        });
        let bytes = limit.and_then(|limit| limit.bytes);
        Self {
            requests,
            bytes: bytes.map(|bytes| Arc::new(Bucket::new(bytes.0))),
            at_once: Alive::default(),
            since: Instant::now(),
            asked: AtomicU64::new(0),
        }
    }

    /// Counts a request; what is then left, where their rate is limited.
    ///
    /// # Errors
    /// It is one too many, and is not counted.
    pub(super) fn request(&self, scope: Scope) -> Result<Option<Left>, Left> {
        let asked = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked.store(asked, Relaxed);
        let Some(Requests { limiter, quota }) = &self.requests else {
            return Ok(None);
        };
        let burst = quota.burst_size().get();
        let left = |remaining, reset: Duration| Left {
            scope,
            quota: burst,
            window: ceil(quota.burst_size_replenished_in()),
            remaining,
            reset: ceil(reset),
        };
        match limiter.check() {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = burst.saturating_sub(remaining);
                Ok(Some(left(remaining, quota.replenish_interval() * missing)))
            }
            Err(not_until) => Err(left(0, not_until.wait_time_from(limiter.clock().now()))),
        }
    }

    /// Counts a request as under way while what is given lives.
    ///
    /// Nothing where there are `most` already.
    pub(super) fn begin(&self, most: usize) -> Option<Life> {
        self.at_once.begin(most)
    }

    /// True where a new one would be as good.
    fn is_unused(&self, now: Instant) -> bool {
        let asked = self.since + Duration::from_millis(self.asked.load(Relaxed));
        let refilled = self
            .requests
            .as_ref()
            .map(|r| r.quota.burst_size_replenished_in());
        let refilled = refilled.unwrap_or_default() + Duration::from_millis(1);
        now.saturating_duration_since(asked) > refilled
            && self.at_once.count() == 0
            && self.bytes.as_ref().is_none_or(|bytes| bytes.is_full(now))
    }
}

/// Seconds, and one at least.
fn ceil(span: Duration) -> u64 {
    let whole = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    whole.max(1)
}

fn quota(limit: &RateLimit) -> Option<Quota> {
    let rate = limit.requests?;
    let quota = Quota::with_period(rate.interval())?;
    NonZeroU32::new(limit.burst.unwrap_or(rate.count)).map(|burst| quota.allow_burst(burst))
}

/// The meters of many, of whom anyone may turn up: no more than [`MOST`] at once.
#[derive(Debug)]
pub(super) struct Meters<K> {
    limit: Option<RateLimit>,
    table: Mutex<Table<K>>,
    /// Shared by those for whom there is no room.
    others: Arc<Meter>,
}

#[derive(Debug)]
struct Table<K> {
    meters: HashMap<K, Arc<Meter>>,
    /// With so many it is looked for those that are not needed.
    prune_at: usize,
    pruned: Option<Instant>,
}

/// Most meters of a kind, of about 300 bytes each.
const MOST: usize = 1 << 16;
const FEW: usize = 1 << 10;
/// Looking for those that are not needed takes a few milliseconds.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

impl<K: Clone + Eq + Hash> Meters<K> {
    /// None so far, each of which will have this limit.
    pub(super) fn new(limit: Option<&RateLimit>) -> Self {
        Self {
            limit: limit.cloned(),
            table: Mutex::new(Table {
                meters: HashMap::new(),
                prune_at: FEW,
                pruned: None,
            }),
            others: Arc::new(Meter::new(limit)),
        }
    }

    /// The meter of `key`.
    pub(super) fn of(&self, key: &K, now: Instant) -> Arc<Meter> {
        let mut table = self.table.lock();
        if let Some(meter) = table.meters.get(key) {
            return meter.clone();
        }
        if table.meters.len() >= table.prune_at {
            table.prune(now);
        }
        if table.meters.len() >= MOST {
            return self.others.clone();
        }
        let meter = Arc::new(Meter::new(self.limit.as_ref()));
        table.meters.insert(key.clone(), meter.clone());
        meter
    }
}

impl<K: Eq + Hash> Table<K> {
    fn prune(&mut self, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) < PRUNE_EVERY;
        if self.pruned.is_some_and(lately) && self.prune_at == MOST {
            return;
        }
        self.pruned = Some(now);
        self.meters
            .retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_unused(now));
        self.prune_at = (2 * self.meters.len()).clamp(FEW, MOST);
        self.meters.shrink_to(self.prune_at);
    }
}

/// A client, as limits see it: an IPv4 address, or the 64 bits of an IPv6 address that one
/// subscriber has to itself (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6(u64::try_from(v6.to_bits() >> 64).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> RateLimit {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_burst_and_then_no_more() {
        let meter = Meter::new(Some(&limit(r#"{"requests": "1/h", "burst": 2}"#)));
        let first = meter.request(Scope::Client).unwrap().unwrap();
        assert_eq!(first.policy(), r#""client";q=2;w=7200"#);
        assert_eq!(first.limit(), r#""client";r=1;t=3600"#);
        let second = meter.request(Scope::Client).unwrap().unwrap();
        assert_eq!(second.limit(), r#""client";r=0;t=7200"#);
        let refused = meter.request(Scope::Client).unwrap_err();
        assert_eq!((refused.remaining, refused.reset), (0, 3600));
        assert_eq!(meter.request(Scope::Client).unwrap_err(), refused);
    }

    #[test]
    fn the_longest_wait_that_may_be_configured_can_be_counted() {
        let meter = Meter::new(Some(&limit(r#"{"requests": "1/h", "burst": 1000000}"#)));
        let left = meter.request(Scope::Client).unwrap().unwrap();
        assert_eq!((left.remaining, left.window), (999_999, 3_600_000_000));
    }

    #[test]
    fn what_is_not_limited_is_not_told() {
        let meter = Meter::new(Some(&limit(r#"{"bytes": "1KiB"}"#)));
        assert_eq!(meter.request(Scope::Tenant), Ok(None));
        let (a, b) = (meter.begin(2), meter.begin(2));
        assert!(a.is_some() && b.is_some() && meter.begin(2).is_none());
    }

    #[test]
    fn clients_are_addresses_and_networks_of_subscribers() {
        let client = |ip: &str| Client::from(ip.parse::<IpAddr>().unwrap());
        assert_eq!(client("2001:db8:0:1::1"), client("2001:db8:0:1:ffff::2"));
        assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.2"), client("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_the_known_keep_their_own() {
        let meters = Meters::new(Some(&limit(r#"{"requests": "1/h"}"#)));
        let begin = Instant::now();
        let ask = |key: u32, now| meters.of(&key, now).request(Scope::Client).is_ok();
        for key in 0..MOST as u32 {
            assert!(ask(key, begin));
        }
        // The next ones share one hour's request, others have theirs apart.
        assert!(ask(u32::MAX, begin) && !ask(u32::MAX - 1, begin) && !ask(7, begin));
        assert_eq!(meters.table.lock().meters.len(), MOST);
        // Once nobody is owed anything there is room again, and memory is given back.
        let later = begin + Duration::from_secs(2 * 3600);
        let held = meters.of(&7, later);
        assert!(ask(u32::MAX - 1, later));
        let table = meters.table.lock();
        assert_eq!(table.meters.len(), 2);
        assert!(table.meters.capacity() < 4 * FEW);
        assert!(table.meters.contains_key(&7));
        drop(held);
    }
}
