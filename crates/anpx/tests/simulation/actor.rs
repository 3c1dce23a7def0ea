//! One application at one end of one exchange. It acts only on events and on its own timers, so
//! that an event which a session forgets leaves it waiting for ever.

use std::time::{Duration, Instant};

use anpx::{
    Fields, ResetCode, ResponseHead, StreamError,
    session::{End, Read, Role, Session, StreamId},
};
use bytes::Bytes;

use super::{
    body,
    monitor::Monitor,
    plan::{AppBreak, EndStyle, Exchange, HalfPlan, Leave, When},
};

/// How an exchange ended for one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Complete,
    /// It broke the exchange off itself.
    Left,
    Failed(StreamError),
    /// Never sent: the tunnel drained or ended first.
    NotOpened,
}

#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) id: StreamId,
    pub(crate) index: usize,
    role: Role,
    sent: u64,
    /// The head was sent.
    answered: bool,
    send_done: bool,
    pub(crate) got: u64,
    informed: u8,
    /// Gateway: the final status.
    status: Option<u16>,
    recv_done: bool,
    /// The reader waits for its timer.
    reading_later: bool,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) released: bool,
}

/// What an actor needs of the world.
pub(crate) struct Stage<'a> {
    pub(crate) now: Instant,
    pub(crate) session: &'a mut Session,
    pub(crate) monitor: &'a mut Monitor,
    pub(crate) exchange: &'a Exchange,
    /// Timers to be set: read again, or release.
    pub(crate) read_later: Option<Duration>,
    pub(crate) release_later: Option<Duration>,
}

impl Actor {
    pub(crate) fn new(id: StreamId, index: usize, role: Role) -> Self {
        Self {
            id,
            index,
            role,
            sent: 0,
            answered: role == Role::Gateway,
            send_done: false,
            got: 0,
            informed: 0,
            status: None,
            recv_done: false,
            reading_later: false,
            outcome: None,
            released: false,
        }
    }

    fn halves<'a>(&self, exchange: &'a Exchange) -> (&'a HalfPlan, &'a HalfPlan) {
        match self.role {
            Role::Gateway => (&exchange.request, &exchange.response),
            Role::Receiver => (&exchange.response, &exchange.request),
        }
    }

    /// The caller's application, right after the session took the head and `len` body bytes.
    pub(crate) fn opened(&mut self, stage: &mut Stage<'_>, len: u64, end: End) {
        self.sent = len;
        self.send_done = end.is_end();
        stage.monitor.accepted(self.role, self.id, len, true);
    }

    /// The app, right after the request was accepted.
    pub(crate) fn accepted(&mut self, stage: &mut Stage<'_>) {
        if let Some((AppBreak::AtAccept, code)) = stage.exchange.app_breaks {
            stage.session.reset(self.id, code);
            return self.finish(stage, Outcome::Left);
        }
        if stage.exchange.respond == When::AtOnce {
            self.respond(stage);
        }
        if !stage.exchange.ignore_request {
            self.read(stage);
        }
    }

    pub(crate) fn on_readable(&mut self, stage: &mut Stage<'_>) {
        let ignores = self.role == Role::Receiver && stage.exchange.ignore_request;
        if ignores {
            if let Some(error) = stage.session.stream_error(self.id) {
                self.finish(stage, Outcome::Failed(error));
            }
        } else if !self.reading_later {
            self.read(stage);
        }
    }

    pub(crate) fn on_read_timer(&mut self, stage: &mut Stage<'_>) {
        self.reading_later = false;
        self.read(stage);
    }

    pub(crate) fn on_writable(&mut self, stage: &mut Stage<'_>) {
        self.send(stage);
    }

    /// The caller leaves, or its timer runs out.
    pub(crate) fn leave(&mut self, stage: &mut Stage<'_>, code: Option<ResetCode>) {
        if self.outcome.is_none() {
            if let Some(code) = code {
                stage.session.reset(self.id, code);
            }
            self.finish(stage, Outcome::Left);
        }
    }

    fn read(&mut self, stage: &mut Stage<'_>) {
        let pace = self.halves(stage.exchange).1.pace;
        let mut pieces = pace.map_or(u32::MAX, |(pieces, _)| pieces);
        while self.outcome.is_none() && !self.recv_done {
            if pieces == 0 {
                self.reading_later = true;
                stage.read_later = pace.map(|(_, wait)| wait);
                return;
            }
            pieces -= 1;
            match stage.session.read(|| stage.now, self.id) {
                Ok(Read::Pending) => return self.after_read(stage),
                Ok(part) => self.take(stage, part),
                Err(error) => return self.finish(stage, Outcome::Failed(error)),
            }
            self.after_read(stage);
        }
    }

    fn take(&mut self, stage: &mut Stage<'_>, part: Read) {
        match part {
            Read::Informational(head) => {
                assert_eq!(head.status, 103);
                self.informed += 1;
                assert!(self.informed <= stage.exchange.informational && self.status.is_none());
            }
            Read::Head(head, end) => {
                assert!(self.status.replace(head.status).is_none(), "two heads");
                self.recv_done = end.is_end();
                self.on_head(stage, head.status);
            }
            Read::Data(data, end) => {
                assert!(self.role == Role::Receiver || self.status.is_some());
                let sender = match self.role {
                    Role::Gateway => Role::Receiver,
                    Role::Receiver => Role::Gateway,
                };
                let expected = body::slice(sender, self.index, self.got, data.len() as u64);
                assert_eq!(data, expected, "wrong bytes at {}", self.got);
                self.got += data.len() as u64;
                stage.monitor.taken(self.role, self.id, data.len() as u64);
                self.recv_done = end.is_end();
            }
            Read::Trailers(trailers) => {
                assert_eq!(trailers, body::trailers());
                self.recv_done = true;
            }
            Read::End => self.recv_done = true,
            Read::Pending => {}
        }
        if self.recv_done {
            self.check_whole(stage.exchange);
        }
    }

    fn check_whole(&self, exchange: &Exchange) {
        let total = match (self.role, exchange.upgrade) {
            (Role::Receiver, Some(false)) => 0,
            (Role::Receiver, _) => exchange.request.total,
            (Role::Gateway, _) if exchange.method == "HEAD" => 0,
            (Role::Gateway, _) => exchange.response.total,
        };
        assert_eq!(self.got, total, "{:?}: an end before the whole", self.role);
    }

    /// Gateway: the final head says how the request goes on.
    fn on_head(&mut self, stage: &mut Stage<'_>, status: u16) {
        if stage.exchange.upgrade.is_some() {
            if status == 101 {
                self.send(stage);
            } else {
                self.send_done = true;
            }
        }
    }

    fn after_read(&mut self, stage: &mut Stage<'_>) {
        if self.role == Role::Receiver && !self.answered {
            let due = match stage.exchange.respond {
                When::AtOnce => true,
                When::AfterBytes(bytes) => self.recv_done || self.got >= bytes,
                When::AfterEnd => self.recv_done,
            };
            if due {
                self.respond(stage);
            }
        }
        self.check_done(stage);
    }

    fn respond(&mut self, stage: &mut Stage<'_>) {
        let exchange = stage.exchange;
        for _ in 0..exchange.informational {
            let head = ResponseHead {
                status: 103,
                headers: Fields::default(),
            };
            if let Err(error) = stage.session.inform(self.id, &head) {
                return self.finish(stage, Outcome::Failed(error));
            }
        }
        let half = &exchange.response;
        let status = match exchange.upgrade {
            Some(true) => 101,
            Some(false) => 403,
            None => 200,
        };
        let headers = if half.announce {
            Fields::from_pairs([("content-length", half.total.to_string())]).unwrap()
        } else {
            Fields::default()
        };
        let bodyless = exchange.method == "HEAD";
        let first = if bodyless { 0 } else { half.in_head };
        let first = first.min(stage.session.first_capacity() as u64);
        let end = bodyless || (first == half.total && half.end == EndStyle::WithData);
        let bytes = body::slice(self.role, self.index, 0, first);
        let head = ResponseHead { status, headers };
        self.answered = true;
        match stage.session.respond(self.id, &head, bytes, End::from(end)) {
            Ok(()) => {
                stage.monitor.accepted(self.role, self.id, first, true);
                self.sent = first;
                self.send_done = end;
                self.send(stage);
                self.check_done(stage);
            }
            Err(error) => self.finish(stage, Outcome::Failed(error)),
        }
    }

    /// Sends what the session takes.
    fn send(&mut self, stage: &mut Stage<'_>) {
        let exchange = stage.exchange;
        let half = self.halves(exchange).0;
        let before_101 =
            self.role == Role::Gateway && exchange.upgrade.is_some() && self.status != Some(101);
        while !self.send_done && self.outcome.is_none() && self.answered && !before_101 {
            if let (Role::Receiver, Some((AppBreak::AfterSent(bytes), code))) =
                (self.role, exchange.app_breaks)
                && self.sent >= bytes
            {
                stage.session.reset(self.id, code);
                return self.finish(stage, Outcome::Left);
            }
            let left = half.total - self.sent;
            let result = if left > 0 {
                self.send_piece(stage, half, left)
            } else if half.end == EndStyle::Trailers {
                self.send_done = true;
                let result = stage.session.send_trailers(self.id, body::trailers());
                result.map(|()| true)
            } else {
                self.send_done = true;
                let result = stage.session.send_data(self.id, Bytes::new(), End::Yes);
                result.map(|()| true)
            };
            match result {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.on_send_error(stage, error),
            }
        }
        self.check_done(stage);
    }

    /// False where the session takes nothing now.
    fn send_piece(
        &mut self,
        stage: &mut Stage<'_>,
        half: &HalfPlan,
        left: u64,
    ) -> Result<bool, StreamError> {
        let capacity = stage.session.send_capacity(self.id)? as u64;
        let len = capacity.min(left).min(half.piece);
        if len == 0 {
            return Ok(false);
        }
        let end = len == left && half.end == EndStyle::WithData;
        let bytes = body::slice(self.role, self.index, self.sent, len);
        stage.session.send_data(self.id, bytes, End::from(end))?;
        stage.monitor.accepted(self.role, self.id, len, false);
        self.sent += len;
        self.send_done = end;
        Ok(true)
    }

    fn on_send_error(&mut self, stage: &mut Stage<'_>, error: StreamError) {
        self.send_done = true;
        // A caller may still have a whole response to read; the read side tells.
        if self.role == Role::Receiver {
            self.finish(stage, Outcome::Failed(error));
        } else {
            self.check_done(stage);
        }
    }

    fn check_done(&mut self, stage: &mut Stage<'_>) {
        if self.outcome.is_some() {
            return;
        }
        let leaves_early = match self.role {
            Role::Gateway => self.recv_done && stage.exchange.leave == Leave::AfterResponse,
            Role::Receiver => self.send_done && stage.exchange.ignore_request,
        };
        if leaves_early || self.send_done && self.recv_done {
            self.finish(stage, Outcome::Complete);
        }
    }

    fn finish(&mut self, stage: &mut Stage<'_>, outcome: Outcome) {
        assert_eq!(self.outcome.replace(outcome), None, "a second outcome");
        stage.monitor.gone(self.role, self.id);
        let lingers = self.role == Role::Receiver && outcome != Outcome::Complete;
        if lingers && !stage.exchange.linger.is_zero() {
            stage.release_later = Some(stage.exchange.linger);
        } else {
            self.release(stage);
        }
    }

    pub(crate) fn release(&mut self, stage: &mut Stage<'_>) {
        self.released = true;
        stage.session.release(self.id);
    }

    /// The transport is gone: what the session still has is read, and there is an outcome.
    pub(crate) fn on_end(&mut self, stage: &mut Stage<'_>) {
        self.reading_later = false;
        while self.outcome.is_none() {
            let (got, done) = (self.got, (self.recv_done, self.status));
            self.read(stage);
            self.reading_later = false;
            stage.read_later = None;
            self.send(stage);
            if (got, done) == (self.got, (self.recv_done, self.status)) && self.outcome.is_none() {
                panic!("{:?}: no outcome after the end: {self:?}", self.role);
            }
        }
        if !self.released {
            self.release(stage);
        }
    }
}
