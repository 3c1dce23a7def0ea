//! Comments that keep a silent event stream alive (html.spec.whatwg.org, "Server-sent events").

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use anpx::{ResponseHead, session::End};
use bytes::{Buf, Bytes};

use crate::conn::Deadline;

/// A comment and an empty line. Between events neither means anything.
const COMMENT: &[u8] = b":\n\n";

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The silence of an event stream, and whether it is between two events.
#[derive(Debug)]
pub(crate) struct Comments {
    every: Duration,
    due: Deadline,
    /// The last bytes of the stream, the newest last; line ends before there are any.
    tail: [u8; 3],
    begun: bool,
    commented: bool,
}

impl Comments {
    /// Comments for what follows `head`, one after each silence of `every`; `None` where there is
    /// no place for them: no event stream, one whose length is told, or one that is compressed.
    pub(crate) fn new(
        every: Duration,
        head: &ResponseHead,
        end: End,
        is_head: bool,
    ) -> Option<Self> {
        let field = |name| head.headers.get(name);
        let events = field("content-type").is_some_and(is_event_stream);
        let plain = field("content-encoding").is_none_or(|c| c.eq_ignore_ascii_case(b"identity"));
        let fits = events && plain && field("content-length").is_none();
        let follows = !is_head && !end.is_end() && head.status == 200;
        (fits && follows).then(|| Self {
            every,
            due: Deadline::new(every),
            tail: *b"\n\n\n",
            begun: false,
            commented: false,
        })
    }

    /// The app sent `data`; what of it is passed on.
    pub(super) fn saw(&mut self, mut data: Bytes) -> Bytes {
        // A byte order mark is one at the beginning alone, which is gone.
        if !std::mem::replace(&mut self.begun, true) && self.commented && data.starts_with(BOM) {
            data.advance(BOM.len());
        }
        for byte in data.iter().skip(data.len().saturating_sub(self.tail.len())) {
            self.tail.rotate_left(1);
            self.tail[2] = *byte;
        }
        self.due.set(self.every);
        data
    }

    /// Ready with a comment once the stream was silent long enough, and is between two events.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            ready!(self.due.poll(cx));
            self.due.set(self.every);
            if self.is_between() {
                self.commented = true;
                return Poll::Ready(Bytes::from_static(COMMENT));
            }
        }
    }

    /// True where the last line was empty. Lines end with CR, LF or both.
    fn is_between(&self) -> bool {
        let is_end = |byte: u8| matches!(byte, b'\r' | b'\n');
        match self.tail {
            [before, b'\r', b'\n'] => is_end(before),
            [_, before, last] => is_end(before) && is_end(last),
        }
    }
}

fn is_event_stream(content_type: &[u8]) -> bool {
    let media = content_type
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default();
    media
        .trim_ascii()
        .eq_ignore_ascii_case(b"text/event-stream")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use anpx::Fields;
    use tokio::time::{Instant, timeout};

    use super::*;

    const EVERY: Duration = Duration::from_secs(15);

    fn head(fields: &[(&str, &str)]) -> ResponseHead {
        ResponseHead {
            status: 200,
            headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
        }
    }

    fn comments() -> Comments {
        let head = head(&[("content-type", "Text/Event-Stream; charset=utf-8")]);
        Comments::new(EVERY, &head, End::No, false).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_for_plain_event_streams_that_go_on() {
        let events = ("content-type", "text/event-stream");
        for fields in [
            &[("content-type", "text/plain")][..],
            &[("content-type", "text/event-streams")],
            &[],
            &[events, ("content-encoding", "gzip")],
            &[events, ("content-length", "10")],
        ] {
            assert!(
                Comments::new(EVERY, &head(fields), End::No, false).is_none(),
                "{fields:?}"
            );
        }
        let head = head(&[events, ("content-encoding", "identity")]);
        assert!(Comments::new(EVERY, &head, End::No, false).is_some());
        assert!(Comments::new(EVERY, &head, End::No, true).is_none());
        assert!(Comments::new(EVERY, &head, End::Yes, false).is_none());
        let other = ResponseHead {
            status: 404,
            ..head
        };
        assert!(Comments::new(EVERY, &other, End::No, false).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn between_events_and_never_inside() {
        for (sent, between) in [
            (&[][..], true),
            (&["data: a\n\n"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r\n\r\n"], true),
            (&["data: a\r\n\r", "\n"], true),
            (&["data: a\r\r"], true),
            (&["data: a\r\n\n"], true),
            (&["\n"], true),
            (&["data: a\n"], false),
            (&["data: a\r\n"], false),
            (&["data: a\r", "\n"], false),
            (&["data: a\r"], false),
            (&["data: a\n\nd"], false),
            (&["d"], false),
            (&["data", ":", " ", "a"], false),
            (&[": comment\n"], false),
        ] {
            let mut comments = comments();
            for piece in sent {
                comments.saw(Bytes::from_static(piece.as_bytes()));
            }
            let comment = timeout(3 * EVERY, poll_fn(|cx| comments.poll(cx))).await;
            assert_eq!(comment.is_ok(), between, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_after_each_silence() {
        let mut comments = comments();
        let begin = Instant::now();
        let secs = || begin.elapsed().as_secs();
        assert_eq!(poll_fn(|cx| comments.poll(cx)).await, COMMENT);
        assert_eq!(secs(), 15);
        tokio::time::advance(Duration::from_secs(10)).await;
        comments.saw("data: a\n\n".into());
        poll_fn(|cx| comments.poll(cx)).await;
        assert_eq!(secs(), 40);
        poll_fn(|cx| comments.poll(cx)).await;
        assert_eq!(secs(), 55);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_order_mark_behind_a_comment_is_none() {
        let marked = "\u{feff}data: a\n\n";
        let mut silent = comments();
        poll_fn(|cx| silent.poll(cx)).await;
        assert_eq!(silent.saw(marked.into()), "data: a\n\n");
        assert_eq!(silent.saw(marked.into()), marked);
        assert_eq!(comments().saw(marked.into()), marked);
    }
}
