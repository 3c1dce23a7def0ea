//! A connection from its first request to its end.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use anp_http1::Decoder;
use anpx::RequestHead;
use bytes::{Buf, Bytes, BytesMut};
use http::{Response, StatusCode};

use super::{
    caller::Http1,
    head::{self, Head, Scan},
    pump::{End, Over},
    response::{Framing, Persistence, put_head, put_own_head},
};
use crate::{
    access_log::Outcome,
    alive::Life,
    conn::{Deadline, Metered, http2::PREFACE},
    error::ProxyError,
    handshake::{self, Becomes, Hello},
    health,
    listener::Listener,
    proxy::{
        Answer, Downstream as _, Exchange, Failure, Upload, forward,
        request::{self, Asked},
        response::{Follows, judge},
    },
    redirect, respond,
    stop::{Step, Stop},
    tls::Socket,
    worker::Caller,
};

/// What is left of a connection whose HTTP is over.
#[derive(Debug)]
pub(crate) enum Finished<IO> {
    /// Nothing: it was closed.
    Closed,
    /// A socket to be reset. A message on it had no end but the connection's, and a plain end would
    /// make the part that came look whole.
    Broken(IO),
    /// A connection that turned out to speak HTTP/2, and what was read of it. Its first request must
    /// come before the deadline; until it has found a tunnel the connection is beginning.
    Http2(Metered<IO>, Bytes, Deadline, Option<Life>),
    /// A socket with another purpose, and what was read of it ahead.
    Becomes(IO, Bytes, Becomes),
}

/// Serves HTTP/1 on `io`, of which `read` was read already. The first head must come before
/// `deadline`; `beginning` lasts until its request has found a tunnel.
pub(crate) async fn serve<IO>(
    caller: &Arc<Caller>,
    io: Metered<IO>,
    read: BytesMut,
    deadline: Deadline,
    beginning: Option<Life>,
) -> Finished<IO>
where
    IO: Socket,
{
    let shared = &caller.worker.shared;
    let limits = shared.settings.load().limits;
    let mut http = Http1::new(io, read, deadline, limits, beginning);
    let mut stopping = Stopping {
        stop: &shared.stop,
        closes_idle: pin!(shared.stop.reached(Step::CloseIdle)),
        registered: false,
    };
    let mut end = End::Next;
    let mut first = true;
    while matches!(end, End::Next) {
        end = match http.next_head(caller, &mut stopping, first).await {
            Ok(Some(_)) if first && http.conn.read.starts_with(PREFACE) => End::Http2,
            Ok(Some(len)) => http.one(caller, len).await,
            Ok(None) => End::Quiet,
            Err(error) => http.refuse(caller, error, false),
        };
        first = false;
        if matches!(end, End::Next) {
            // Also where the answer took no tunnel.
            http.beginning = None;
        }
    }
    match end {
        End::Next | End::Quiet => Finished::Closed,
        End::Linger => {
            http.linger(&shared.stop).await;
            Finished::Closed
        }
        End::Reset => Finished::Broken(http.conn.into_parts().0.into_inner()),
        End::Http2 => {
            let (io, read) = http.conn.into_parts();
            Finished::Http2(io, read.freeze(), http.deadline, http.beginning)
        }
        End::Becomes(becomes) => {
            if http.flush().await.is_err() {
                return Finished::Closed;
            }
            let (io, read) = http.conn.into_parts();
            Finished::Becomes(io.into_inner(), read.freeze(), becomes)
        }
    }
}

/// A stop, as idle connections see it.
struct Stopping<'a, F> {
    stop: &'a Stop,
    closes_idle: Pin<&'a mut F>,
    registered: bool,
}

impl<F: Future<Output = ()>> Stopping<'_, F> {
    /// True once idle connections shall be closed. Polled once, to be woken, and then not before a
    /// stop has begun: it takes a lock.
    fn is_over(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        if self.registered && !self.stop.is(Step::Draining) {
            return false;
        }
        self.registered = true;
        self.stop.is(Step::CloseIdle) || self.closes_idle.as_mut().poll(cx).is_ready()
    }
}

/// What a head turned out to be.
enum Taken {
    /// A request for an app. Boxed: it goes from hand to hand, and each would move all of it.
    Request(Box<Received>),
    /// A receiver's handshake; whether it is HEAD, and whether the connection stays after a refusal.
    Handshake(Box<Result<Hello, handshake::Refusal>>, bool, bool),
    /// Answered by the gateway itself; whether it is HEAD, and whether the connection stays, which it
    /// does not after a refusal.
    Own(Result<Response<Bytes>, ProxyError>, bool, bool),
}

/// A request whose head was read.
struct Received {
    exchange: Exchange,
    head: Result<RequestHead, ProxyError>,
    is_head: bool,
    keep_alive: bool,
    expects: bool,
}

impl<IO: Socket> Http1<IO> {
    /// Waits for the next head; its length, or `None` where none comes.
    async fn next_head<F: Future<Output = ()>>(
        &mut self,
        caller: &Caller,
        stopping: &mut Stopping<'_, F>,
        first: bool,
    ) -> Result<Option<usize>, ProxyError> {
        let max = caller.worker.shared.settings.load().max_header_size();
        let mut scan = Scan::default();
        let mut idle = self.conn.read.is_empty();
        if !first {
            self.deadline.set(match idle {
                true => self.limits.keep_alive,
                false => self.limits.head,
            });
        }
        poll_fn(|cx| {
            loop {
                if let Some(len) = scan.find(&mut self.conn.read, max)? {
                    return Poll::Ready(Ok(Some(len)));
                }
                match self.conn.poll_read(cx) {
                    Poll::Ready(true) if idle => {
                        idle = false;
                        // The first head's time runs from the connection.
                        if !first {
                            self.deadline.set(self.limits.head);
                        }
                    }
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Ok(None)),
                    Poll::Pending => break,
                }
            }
            if idle && stopping.is_over(cx) {
                return Poll::Ready(Ok(None));
            }
            self.deadline.poll(cx).map(|()| Ok(None))
        })
        .await
    }

    /// Serves the request whose head is the first `len` bytes read.
    async fn one(&mut self, caller: &Arc<Caller>, len: usize) -> End {
        let shared = &caller.worker.shared;
        let bytes = self.conn.read.get(..len).unwrap_or_default();
        let mut body = Decoder::empty();
        let mut is_old = false;
        let settings = shared.settings.load();
        let parsed = head::parse(bytes, &settings.config.upgrades, |head| {
            (body, is_old) = (head.body.clone(), head.is_old);
            if caller.listener == Listener::Redirect {
                // A body is for the place that it is sent on to.
                let keep_alive = head.keep_alive && body.is_done();
                let answer = redirect::answer(caller, &settings.config, head);
                return Taken::Own(answer, head.method == "HEAD", keep_alive);
            }
            let method = head.method.as_bytes();
            if let Some(response) = health::answer(caller, &settings.config, method, head.target) {
                return Taken::Own(Ok(response), head.method == "HEAD", head.keep_alive);
            }
            match handshake::is_for_us(caller, head.target) {
                true => {
                    let hello = Hello::read(head, &settings.config);
                    Taken::Handshake(Box::new(hello), head.method == "HEAD", head.keep_alive)
                }
                false => Taken::Request(Box::new(receive(caller, head))),
            }
        });
        drop(settings);
        self.conn.read.advance(len);
        (self.body, self.is_old) = (body, is_old);
        match parsed {
            Ok(Taken::Request(received)) => self.answer(caller, received).await,
            Ok(Taken::Own(Ok(response), is_head, keep_alive)) => {
                let close = !keep_alive || shared.stop.is(Step::Draining) || !self.discard_body();
                self.put_whole(&response, is_head, self.persistence(close));
                self.flushed(close).await
            }
            Ok(Taken::Handshake(hello, is_head, keep_alive)) => {
                match handshake::answer(caller, *hello).await {
                    (response, Some(becomes)) => {
                        self.put_own(&response, Follows::Raw, Persistence::Keep);
                        End::Becomes(becomes)
                    }
                    (response, None) => {
                        // Who was refused on the tunnel listener has nothing else to do there.
                        let is_kept = keep_alive && caller.listener == Listener::Public;
                        let close = !is_kept || !self.discard_body();
                        self.put_whole(&response, is_head, self.persistence(close));
                        self.flushed(close).await
                    }
                }
            }
            Ok(Taken::Own(Err(error), is_head, _)) => self.refuse(caller, error, is_head),
            Err(error) => self.refuse(caller, error, false),
        }
    }

    /// Answers what is no request, or none that is served here.
    fn refuse(&mut self, caller: &Arc<Caller>, error: ProxyError, is_head: bool) -> End {
        let mut exchange = Exchange::begin(caller, b"-", b"-");
        self.put_answer(&mut exchange, error.into(), is_head, Persistence::Close);
        End::Linger
    }

    async fn answer(&mut self, caller: &Arc<Caller>, mut received: Box<Received>) -> End {
        let worker = &caller.worker;
        self.limits = self.usual;
        self.wait_from(received.exchange.started(), self.limits.response);
        let Received {
            exchange,
            head,
            is_head,
            keep_alive,
            expects,
        } = &mut *received;
        let (is_head, expects) = (*is_head, *expects);
        let protocol = head.as_ref().ok().and_then(|h| h.protocol.clone());
        let mut upload = match &protocol {
            Some(_) => Upload::new(false, true),
            None => Upload::new(self.body.is_done(), expects),
        };
        let answered = match head {
            Ok(head) => forward(worker, head, &mut upload, self, exchange).await,
            Err(error) => Err((*error).into()),
        };
        self.beginning = None;
        let judged = answered.and_then(|answer| {
            let follows = judge(&answer.head, answer.end, is_head, protocol.is_some())?;
            Ok((answer, follows))
        });
        let mut close = !*keep_alive || worker.shared.stop.is(Step::Draining);
        let (answer, follows) = match judged {
            Ok(judged) => judged,
            Err(Failure::Gone) => return End::Quiet,
            Err(failure) => {
                // The app learns of it now, not when the caller has read the answer.
                drop(upload);
                let close = close || expects || !self.discard_body();
                self.put_answer(exchange, failure, is_head, self.persistence(close));
                return self.flushed(close).await;
            }
        };
        if follows == Follows::Raw {
            let protocol = protocol.unwrap_or_default();
            return self.switch(answer, &protocol, upload, exchange).await;
        }
        if protocol.is_some() {
            upload.end();
            // What came behind the head of a refused upgrade was not meant for HTTP.
            close |= !self.conn.read.is_empty();
        }
        // A body nobody asked for stays with the caller, and so does what follows it.
        close |= upload.is_held();
        let framing = Framing::of(follows, self.is_old);
        close |= framing == Framing::Close;
        let persistence = self.persistence(close);
        let status = answer.head.status;
        put_head(
            self.conn.head(),
            status,
            &answer.head.headers,
            follows,
            framing,
            persistence,
        );
        exchange.answered(status, None);
        self.wait_for(self.limits.idle);
        let ended = answer.end.is_end() || follows == Follows::Nothing;
        let recv = (!ended).then_some(answer.recv);
        match self.pump(recv, &mut upload, framing, exchange).await {
            Over::Complete => exchange.ended(Outcome::Complete),
            Over::Gone => return End::Quiet,
            Over::Broken => {
                exchange.ended(Outcome::Broken);
                // What came before the break is the caller's.
                let _ = self.flush().await;
                return match framing {
                    Framing::Close => End::Reset,
                    Framing::Length | Framing::Chunked => End::Quiet,
                };
            }
        }
        // Written down now: a rest of the upload is nothing that its response waits for.
        drop(received);
        let over = self.finish_upload(&mut upload).await;
        drop(upload);
        if !self.is_body_whole() {
            if close || over != Over::Complete {
                return End::Linger;
            }
            // Boxed, as all that few requests need.
            if let Err(end) = Box::pin(self.discard_rest(&worker.shared.stop)).await {
                return end;
            }
        }
        self.conn.rest();
        match close {
            true => End::Linger,
            false => End::Next,
        }
    }

    /// Turns the connection into a stream of bytes both ways (ANPX 3.7).
    async fn switch(
        &mut self,
        answer: Answer,
        protocol: &[u8],
        mut upload: Upload,
        exchange: &mut Exchange,
    ) -> End {
        let Answer { head, recv, .. } = answer;
        put_head(
            self.conn.head(),
            head.status,
            &head.headers,
            Follows::Raw,
            Framing::Length,
            Persistence::Upgrade(protocol),
        );
        exchange.answered(head.status, None);
        self.body = Decoder::until_close();
        upload.release();
        self.wait_for(self.limits.idle);
        match self.pump_raw(recv, &mut upload, exchange).await {
            Over::Complete => {
                exchange.ended(Outcome::Complete);
                End::Quiet
            }
            Over::Gone => End::Quiet,
            Over::Broken => {
                exchange.ended(Outcome::Broken);
                let _ = self.flush().await;
                End::Reset
            }
        }
    }

    /// Gets an answer of the gateway's own out.
    async fn flushed(&mut self, close: bool) -> End {
        if close {
            return End::Linger;
        }
        match self.flush().await {
            Ok(()) => {
                self.conn.rest();
                End::Next
            }
            Err(_) => End::Quiet,
        }
    }

    fn persistence(&self, close: bool) -> Persistence<'static> {
        match (close, self.is_old) {
            (true, _) => Persistence::Close,
            (false, true) => Persistence::KeepOld,
            (false, false) => Persistence::Keep,
        }
    }

    /// Answers in the app's place.
    fn put_answer(
        &mut self,
        exchange: &mut Exchange,
        failure: Failure,
        is_head: bool,
        persistence: Persistence<'_>,
    ) {
        let Some((response, error)) = respond::answer(failure, exchange) else {
            return;
        };
        exchange.answered(response.status().as_u16(), error);
        if !is_head {
            exchange.sent(response.body().len());
        }
        exchange.ended(Outcome::Complete);
        self.put_whole(&response, is_head, persistence);
    }

    fn put_whole(
        &mut self,
        response: &Response<Bytes>,
        is_head: bool,
        persistence: Persistence<'_>,
    ) {
        let length = response.body().len() as u64;
        let follows = match response.status() {
            StatusCode::NO_CONTENT => Follows::Nothing,
            _ => Follows::Sized(length),
        };
        self.put_own(response, follows, persistence);
        if !is_head {
            self.conn.head().extend_from_slice(response.body());
        }
    }

    fn put_own(
        &mut self,
        response: &Response<Bytes>,
        follows: Follows,
        persistence: Persistence<'_>,
    ) {
        let fields = response.headers().iter();
        let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let status = response.status().as_u16();
        put_own_head(self.conn.head(), status, fields, follows, persistence);
    }
}

/// Begins an exchange and maps the head.
fn receive(caller: &Arc<Caller>, head: &Head<'_>) -> Received {
    let (method, target) = (head.method.as_bytes(), head.target.as_bytes());
    let exchange = Exchange::begin(caller, method, target);
    let asked = Asked {
        method,
        target,
        authority: None,
        may_lack_host: head.is_old,
        protocol: head.upgrade.map(str::as_bytes),
    };
    let fields = head.fields.iter().map(|f| (f.name.as_bytes(), f.value));
    Received {
        head: request::head(&caller.origin, asked, fields, exchange.id()),
        is_head: method == b"HEAD",
        keep_alive: head.keep_alive,
        expects: head.expects,
        exchange,
    }
}
