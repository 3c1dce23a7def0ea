//! From a request to a stream on a tunnel: which one, and the wait for it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::Ordering::Relaxed,
    task::Poll,
    time::Duration,
};

use anp_tunnel::{RecvStream, Status, Version};
use anpx::{Fields, OpenError, RequestHead, ResponseHead};
use tokio::time::Instant;

use super::{Downstream, failure::Failure, refused::Rounds, upload::Upload};
use crate::{
    error::ProxyError,
    members::{Member, ReceiverId, TunnelId},
    pick::pick,
    queue::Patience,
    registry::Pool,
    worker::Worker,
};

/// Most tunnels a request is tried on, each once (ANPX 3.8).
const TRIES: usize = 3;

/// A request while it looks for a tunnel that takes it.
pub(super) struct Outgoing<'a> {
    pub(super) head: &'a mut RequestHead,
    pub(super) upload: &'a mut Upload,
    /// When its head had come.
    started: Instant,
    tried: [Option<(TunnelId, ReceiverId)>; TRIES],
    /// No tunnel that may have processed it has been lost yet, and nothing of an answer was seen.
    pub(super) may_repeat: bool,
    /// What went wrong on the first tunnel it went on from.
    pub(super) failed: Option<Failure>,
    /// Where every receiver refused it.
    rounds: Option<Rounds>,
}

impl<'a> Outgoing<'a> {
    /// A request that no tunnel was asked to take yet, whose head had come at `started`.
    pub(super) fn new(head: &'a mut RequestHead, upload: &'a mut Upload, started: Instant) -> Self {
        Self {
            head,
            upload,
            started,
            tried: [None; TRIES],
            may_repeat: true,
            failed: None,
            rounds: None,
        }
    }

    /// Whether it may be sent to another tunnel after `failure`, and prepares it: where no byte of
    /// it reached the app, or once where a tunnel was lost and processing it twice does what
    /// processing it once does (RFC 9110 section 9.2.2). Upgrades are never retried (ANPX 3.7).
    pub(super) fn goes_on_after(&mut self, failure: &Failure) -> bool {
        let Failure::Refused(error) = failure else {
            return false;
        };
        let safe = error.is_retry_safe()
            || (*error == ProxyError::TunnelLost
                && self.head.is_idempotent()
                && std::mem::take(&mut self.may_repeat));
        safe && !self.is_upgrade() && self.upload.rewind()
    }

    fn is_upgrade(&self) -> bool {
        self.head.protocol.is_some()
    }

    /// True while it was sent to fewer tunnels than it may be.
    fn may_try(&self) -> bool {
        self.tried.iter().any(Option::is_none)
    }

    /// True where it was sent to a tunnel before.
    fn was_tried(&self) -> bool {
        self.tried.iter().any(Option::is_some)
    }

    /// Whether nobody at the other end of this tunnel was asked yet.
    fn is_new_to(&self, member: &Member) -> bool {
        let mut tried = self.tried.iter().flatten();
        !tried.any(|(_, receiver)| *receiver == member.receiver)
    }

    /// Whether this tunnel may still be asked. Version 1 carries no upgrades.
    fn may_ask(&self, member: &Member) -> bool {
        let carries = !self.is_upgrade() || member.tunnel.version() != Version::V1;
        let mut tried = self.tried.iter().flatten();
        carries && !tried.any(|(tunnel, _)| *tunnel == member.id)
    }
}

/// Opens a stream on a tunnel that the request is to be tried on now. Where every receiver refused it,
/// all of them are asked again, for as long as there are [`Rounds`].
///
/// # Errors
/// What went wrong first, where there is no other tunnel.
pub(super) async fn next<D: Downstream>(
    worker: &Worker,
    pool: &Pool,
    request: &mut Outgoing<'_>,
    down: &mut D,
) -> Result<(Member, RecvStream), Failure> {
    loop {
        let opened = match request.may_try() {
            true => open(worker, pool, request, down).await,
            false => Err(ProxyError::Refused.into()),
        };
        let failure = match opened {
            Ok(opened) => return Ok(opened),
            Err(failure) => failure,
        };
        let Some(before) = request.failed.take() else {
            return Err(failure);
        };
        if !matches!(failure, Failure::Refused(_)) {
            return Err(failure);
        }
        if !is_refusal(&failure) || !is_refusal(&before) {
            // That there is no other tunnel is not what went wrong.
            return Err(before);
        }
        let started = request.started;
        let new = || Rounds::new(worker, started);
        let rounds = request.rounds.get_or_insert_with(new);
        // Boxed: it would make every request's future larger.
        if !Box::pin(rounds.wait(pool, down)).await? {
            return Err(before);
        }
        request.failed = Some(before);
        request.tried = [None; TRIES];
    }
}

/// Opens a stream on the best tunnel, waiting for one where all are full.
async fn open<D: Downstream>(
    worker: &Worker,
    pool: &Pool,
    request: &mut Outgoing<'_>,
    down: &mut D,
) -> Result<(Member, RecvStream), Failure> {
    let tried = match request.was_tried() || pool.queue.is_empty() {
        true => try_open(worker, pool, request),
        // Whatever there is goes to those who came before.
        false => Err(choose(worker, pool, request)
            .err()
            .unwrap_or(ProxyError::Full)),
    };
    let opened = match tried {
        Err(ProxyError::Full) => wait_open(worker, pool, request, down, None).await?,
        Err(ProxyError::NoTunnel) => match worker.shared.tunnels.expects_for() {
            Some(limit) => wait_open(worker, pool, request, down, Some(limit)).await?,
            None => return Err(ProxyError::NoTunnel.into()),
        },
        decided => decided?,
    };
    if request.upload.is_held() && !request.is_upgrade() && opened.0.tunnel.version() == Version::V1
    {
        // Version 1 has no word for 100 (ANPX 2.3): the gateway says it.
        request.upload.release();
        down.inform(&ResponseHead {
            status: 100,
            headers: Fields::default(),
        });
    }
    Ok(opened)
}

/// True where not every place is right: of a request that was sent to a tunnel before, and of an upgrade
/// where there are tunnels of version 1.
fn is_choosy(worker: &Worker, pool: &Pool, request: &Outgoing<'_>) -> bool {
    let mut choosy = request.was_tried();
    if request.is_upgrade() {
        let registry = worker.shared.tunnels.registry();
        registry.members(pool, &mut |members| {
            choosy |= members.iter().any(|m| m.tunnel.version() == Version::V1);
        });
    }
    choosy
}

/// True where a receiver of the endpoint takes requests, now or once others have ended. None does
/// while their apps are down (ANPX 3.9) or their tunnels drain.
fn is_served(worker: &Worker, pool: &Pool) -> bool {
    let mut served = false;
    let registry = worker.shared.tunnels.registry();
    registry.members(pool, &mut |members| {
        served = members.iter().any(|Member { tunnel, .. }| {
            tunnel.status() < Status::Draining && tunnel.is_accepting()
        });
    });
    served
}

/// How many places are free on an endpoint's tunnels.
fn places(worker: &Worker, pool: &Pool) -> usize {
    let mut free = 0_usize;
    let registry = worker.shared.tunnels.registry();
    registry.members(pool, &mut |members| {
        let each = members.iter().map(|member| member.tunnel.capacity());
        free = each.fold(0, usize::saturating_add);
    });
    free
}

/// Waits for a place as long as any request may; where the first tunnel is `expected`, for that, too, and
/// so long.
async fn wait_open<D: Downstream>(
    worker: &Worker,
    pool: &Pool,
    request: &mut Outgoing<'_>,
    down: &mut D,
    expected: Option<Duration>,
) -> Result<(Member, RecvStream), Failure> {
    worker.metrics.queued.fetch_add(1, Relaxed);
    let choosy = is_choosy(worker, pool, request);
    let settings = worker.shared.settings.load();
    let patience = Patience {
        size: settings.config.queue_size,
        limit: expected.unwrap_or(settings.config.queue_timeout.0),
        // Nobody gets a place before the first tunnel is there, or while the apps are down or the
        // tunnels drain: that is no pace. Nor is there one that holds for all the choosy.
        paced: expected.is_none() && !choosy && is_served(worker, pool),
    };
    drop(settings);
    let tunnels = &worker.shared.tunnels;
    let _awaits = expected.and_then(|_| tunnels.awaiting.begin(usize::MAX));
    let attempt = || match try_open(worker, pool, request) {
        Err(ProxyError::NoTunnel) if expected.is_some() && tunnels.expects_for().is_some() => {
            Err(ProxyError::Full)
        }
        decided => decided,
    };
    let queue = match choosy {
        true => &pool.choosy,
        false => &pool.queue,
    };
    let mut place = pin!(queue.wait(patience, attempt, || places(worker, pool)));
    poll_fn(|cx| match place.as_mut().poll(cx) {
        Poll::Ready(opened) => {
            if let Err(ProxyError::Overloaded(_)) = opened {
                worker.metrics.overloaded.fetch_add(1, Relaxed);
            }
            let opened = opened.map_err(|error| match error {
                ProxyError::Full if !is_served(worker, pool) => ProxyError::Paused,
                error => error,
            });
            Poll::Ready(opened.map_err(Failure::from))
        }
        Poll::Pending => down.poll_gone(cx).map(|()| Err(Failure::Gone)),
    })
    .await
}

fn try_open(
    worker: &Worker,
    pool: &Pool,
    request: &mut Outgoing<'_>,
) -> Result<(Member, RecvStream), ProxyError> {
    // Between the look at a tunnel and the opening another worker may take its last place.
    for _ in 0..TRIES {
        let member = choose(worker, pool, request)?;
        let (first, end) = request.upload.first(&member.tunnel);
        match member.tunnel.open(request.head, first, end) {
            Ok((send, recv)) => {
                if let Some(place) = request.tried.iter_mut().find(|t| t.is_none()) {
                    *place = Some((member.id, member.receiver));
                }
                request.upload.attach(send, end);
                return Ok((member, recv));
            }
            Err(error) => {
                request.upload.rewind();
                if error != OpenError::Unavailable {
                    return Err(error.into());
                }
            }
        }
    }
    Err(ProxyError::Full)
}

fn choose(worker: &Worker, pool: &Pool, request: &Outgoing<'_>) -> Result<Member, ProxyError> {
    let mut chosen = Err(ProxyError::NoTunnel);
    let (turn, home) = (worker.turn(), worker.index);
    let again = request.was_tried();
    let doubts = pool.doubts.now();
    // What one receiver could not do, another may, rather than the same by its other tunnel; and rather
    // one of which nothing bad is known.
    let wishes = [(true, true), (true, false), (false, true), (false, false)];
    let wishes = wishes
        .into_iter()
        .filter(|(another, sound)| (again || !another) && (!doubts.is_empty() || !sound));
    worker
        .shared
        .tunnels
        .registry()
        .members(pool, &mut |members| {
            let mut picked = wishes.clone().map(|(another, sound)| {
                pick(members.parts(turn), home, |member| {
                    request.may_ask(member)
                        && (!another || request.is_new_to(member))
                        && (!sound || !doubts.contains(&member.receiver))
                })
            });
            chosen = match picked.find_map(|picked| picked) {
                Some(member) => Ok(member.clone()),
                None if members.is_empty() => Err(ProxyError::NoTunnel),
                None if members.iter().any(|m| request.may_ask(m)) => Err(ProxyError::Full),
                None if !again => Err(ProxyError::Unsupported),
                None => Err(ProxyError::Refused),
            };
        });
    chosen
}

/// True where a receiver took nothing of the request.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(ProxyError::Refused))
}
