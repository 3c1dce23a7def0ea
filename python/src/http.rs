//! The rules of ASGI for one HTTP request (asgi.readthedocs.io, "HTTP & WebSocket", version 2.3). That
//! `send` raises once the caller has left is of version 2.4.

use std::task::{Context, Poll, ready};

use anp_tunnel::{Part, RecvStream};
use anpx::{RequestHead, ResponseHead};
use bytes::Bytes;

use crate::{
    event::{Event, Message, Sent},
    fields::Headers,
    outgoing::{Outgoing, Tail},
    refusal::Refusal,
};

/// Where the response is.
///
/// ```text
/// Start ─ start ─► Head ─ body ─► Body ─ last body ─► (Trailers ─ last trailers ─►) Complete
///   └─ start of an event stream ───┘
/// ```
enum Phase {
    Start,
    /// The head waits for the first of the body (the specification wants it to), but for that of an event
    /// stream: its first event may be long in coming, and its caller waits to learn that it is open.
    Head {
        status: u16,
        headers: Headers,
    },
    Body,
    Trailers(Headers),
    Complete,
}

/// The state of one HTTP request.
pub(crate) struct Http {
    phase: Phase,
    is_head: bool,
    /// The app announced trailers behind the body, and did not send all of them yet.
    trailers: bool,
    /// The response has no body, whatever the app sends.
    bodyless: bool,
    /// Bytes of the response's body that are to come, where the app said how many.
    left: Option<u64>,
    /// A part of the request that was taken to see whether there is any.
    first: Option<Part>,
    /// The caller waits to be asked for the body.
    expects: bool,
    /// None comes, whatever the stream says.
    no_body: bool,
    /// The app was told that the body is over.
    ended: bool,
}

impl Http {
    /// The request `head`, and whether it has a body of unknown length.
    pub(crate) fn new(head: &RequestHead, recv: &mut RecvStream) -> (Self, bool) {
        // An upgrade that is none for us is a request without a body (ANPX 3.7).
        let upgrade = head.protocol.is_some();
        let unknown = !upgrade && head.headers.get("content-length").is_none();
        let mut http = Self {
            phase: Phase::Start,
            is_head: head.method == b"HEAD"[..],
            trailers: false,
            bodyless: false,
            left: None,
            first: None,
            expects: head.expects_continue(),
            no_body: upgrade,
            ended: false,
        };
        // A look costs a lock: the usual request without a body is spared it.
        let looks = unknown && !matches!(&head.method[..], b"GET" | b"HEAD" | b"OPTIONS");
        let chunked = looks && http.has_body(recv);
        (http, chunked)
    }

    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// True once something of the response may have gone out.
    pub(crate) fn is_begun(&self) -> bool {
        !matches!(self.phase, Phase::Start | Phase::Head { .. })
    }

    /// True once the app sent all of the response.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete)
    }

    /// The response was sent in the app's place.
    pub(crate) fn complete(&mut self) {
        self.phase = Phase::Complete;
    }

    /// The next event for the app.
    pub(crate) fn poll_receive(
        &mut self,
        recv: &mut Option<RecvStream>,
        out: &mut Outgoing,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if self.is_complete() || out.is_broken() {
            return Poll::Ready(Event::Disconnect);
        }
        if self.ended {
            ready!(out.poll_broken(cx));
            return Poll::Ready(Event::Disconnect);
        }
        let part = match (self.first.take(), recv) {
            _ if self.no_body => None,
            (Some(part), _) => Some(Ok(part)),
            (None, Some(recv)) => {
                let polled = recv.poll_part(cx);
                if polled.is_pending() && std::mem::take(&mut self.expects) {
                    // Where that fails, the next poll does.
                    let _ = recv.ask();
                }
                ready!(polled)
            }
            (None, None) => None,
        };
        Poll::Ready(match part {
            Some(Ok(Part::Data(body, end))) => {
                self.ended = end.is_end();
                Event::Request {
                    body,
                    more: !end.is_end(),
                }
            }
            // ASGI has no place for a request's trailers.
            Some(Ok(Part::Trailers(_))) | None => {
                self.ended = true;
                Event::Request {
                    body: Bytes::new(),
                    more: false,
                }
            }
            Some(Err(_)) => {
                self.ended = true;
                // So that nothing more is expected of the app.
                let _ = out.poll_broken(cx);
                Event::Disconnect
            }
        })
    }

    /// Takes an event of the app.
    pub(crate) fn send(&mut self, out: &mut Outgoing, sent: Sent) -> Result<(), Refusal> {
        let Sent {
            kind,
            denies,
            message,
        } = sent;
        if out.is_broken() {
            return Err(Refusal::Gone);
        }
        if self.drops_trailers(&message) {
            return Ok(());
        }
        let expected = match self.phase {
            Phase::Start => "http.response.start",
            Phase::Head { .. } | Phase::Body => "http.response.body",
            Phase::Trailers(_) => "http.response.trailers",
            Phase::Complete => {
                return Err(Refusal::Unexpected(format!(
                    "unexpected ASGI message {kind:?}: the response is complete"
                )));
            }
        };
        if denies || kind != expected {
            return Err(Refusal::Unexpected(format!(
                "expected the ASGI message {expected:?}, got {kind:?}"
            )));
        }
        match message {
            Message::Start {
                status,
                headers,
                trailers,
            } => {
                self.trailers = trailers;
                self.bodyless = self.is_head || matches!(status, 204 | 304);
                self.left = headers.length.filter(|_| !self.bodyless);
                self.phase = match headers.event_stream {
                    true => {
                        let headers = headers.build();
                        out.respond(ResponseHead { status, headers });
                        Phase::Body
                    }
                    false => Phase::Head { status, headers },
                };
                Ok(())
            }
            Message::Body { data, more } => self.body(out, data, more),
            Message::Trailers { headers, more } => self.trailers(out, headers, more),
            // The name was compared above.
            _ => Ok(()),
        }
    }

    fn body(&mut self, out: &mut Outgoing, data: Bytes, more: bool) -> Result<(), Refusal> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or_else(|| {
                Refusal::Unexpected("the response is longer than its content-length".into())
            })?;
            if *left > 0 && !more {
                return Err(Refusal::Unexpected(
                    "the response is shorter than its content-length".into(),
                ));
            }
        }
        if let Phase::Head { status, headers } = std::mem::replace(&mut self.phase, Phase::Body) {
            let mut headers = headers;
            if !more && !self.bodyless && !self.trailers && headers.length.is_none() {
                headers.set_length(data.len());
            }
            out.respond(ResponseHead {
                status,
                headers: headers.build(),
            });
        }
        if !self.bodyless {
            out.push(data);
        }
        if !more {
            if self.trailers && !self.bodyless {
                self.phase = Phase::Trailers(Headers::ours(&[]));
            } else {
                self.phase = Phase::Complete;
                out.finish(Tail::End);
            }
        }
        Ok(())
    }

    fn trailers(
        &mut self,
        out: &mut Outgoing,
        headers: Headers,
        more: bool,
    ) -> Result<(), Refusal> {
        let Phase::Trailers(gathered) = &mut self.phase else {
            return Ok(());
        };
        for (name, value) in &headers.build() {
            gathered.add(name, value)?;
        }
        if !more {
            let gathered = std::mem::replace(&mut self.phase, Phase::Complete);
            if let Phase::Trailers(gathered) = gathered {
                out.finish(Tail::Trailers(gathered.build()));
            }
        }
        Ok(())
    }

    /// Whether these are trailers that the app announced for a response without a body, which has no
    /// place for them (RFC 9110 section 6.5).
    fn drops_trailers(&mut self, message: &Message) -> bool {
        let announced = self.trailers && self.bodyless && self.is_complete();
        match message {
            Message::Trailers { more, .. } if announced => {
                self.trailers = *more;
                true
            }
            _ => false,
        }
    }

    /// Whether a body comes, of a request that does not say so.
    fn has_body(&mut self, recv: &mut RecvStream) -> bool {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        match recv.poll_part(cx) {
            Poll::Ready(Some(Ok(part))) => {
                self.first = Some(part);
                true
            }
            Poll::Ready(None) => false,
            // An error comes again at the next poll.
            Poll::Ready(Some(Err(_))) | Poll::Pending => true,
        }
    }
}
