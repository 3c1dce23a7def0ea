//! An observer of every frame, with its own idea of the rules: it shares no state with the sessions.

use std::collections::HashMap;

use anpx::{
    limits::{Budget, MAX_HEAD_BODY},
    session::{Role, StreamId},
    v2::{Frame, Payload},
};

use super::{plan::SidePlan, role_index};

/// What one side did on one stream.
#[derive(Debug, Default)]
struct Half {
    /// Body bytes the session took from its application.
    accepted: u64,
    /// Body bytes in frames.
    emitted: u64,
    /// Body bytes that arrived at the other side.
    delivered: u64,
    /// Body bytes its reader took.
    taken: u64,
    /// Credit the reader's session sent.
    granted: u64,
    /// Credit that reached the sender.
    credited: u64,
    head: bool,
    informational: u32,
    /// END_STREAM or RESET was emitted.
    over: bool,
    reset: bool,
    /// The number of the acceptance that made this half's first DATA wait.
    first_data: Option<u64>,
    first_data_emitted: bool,
    /// The number of the latest acceptance.
    latest: u64,
}

/// Counts of one side when a stream was opened.
#[derive(Clone, Copy, Debug, Default)]
struct Emitted {
    data_frames: u64,
    head_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Monitor {
    settings: [SidePlan; 2],
    budgets: [Budget; 2],
    halves: HashMap<(StreamId, usize), Half>,
    emitted: [Emitted; 2],
    settings_emitted: [bool; 2],
    opened: HashMap<StreamId, Emitted>,
    /// Streams of each side whose first DATA waits.
    fresh: [HashMap<StreamId, u64>; 2],
    acceptances: u64,
    pub(crate) frames: u64,
}

impl Monitor {
    pub(crate) fn new(settings: [SidePlan; 2], budgets: [Budget; 2]) -> Self {
        Self {
            settings,
            budgets,
            halves: HashMap::new(),
            emitted: Default::default(),
            settings_emitted: [false; 2],
            opened: HashMap::new(),
            fresh: Default::default(),
            acceptances: 0,
            frames: 0,
        }
    }

    fn frame_body(&self) -> u64 {
        let [a, b] = &self.settings;
        u64::from(a.max_frame_body.min(b.max_frame_body))
    }

    pub(crate) fn opened(&mut self, id: StreamId) {
        self.opened.insert(id, self.emitted[0]);
    }

    /// `side` gave its session body bytes; `in_head`: inside a head.
    pub(crate) fn accepted(&mut self, role: Role, id: StreamId, len: u64, in_head: bool) {
        let (side, limit) = (role_index(role), self.frame_body() + MAX_HEAD_BODY as u64);
        self.acceptances += 1;
        let half = self.halves.entry((id, side)).or_default();
        half.accepted += len;
        half.latest = self.acceptances;
        assert!(
            half.accepted - half.emitted <= limit,
            "{id:?}: {} bytes wait",
            half.accepted - half.emitted
        );
        let waits = !in_head && half.head && !half.first_data_emitted && half.first_data.is_none();
        if waits {
            half.first_data = Some(self.acceptances);
            self.fresh[side].insert(id, self.acceptances);
        }
    }

    /// The reader of `role` took body bytes.
    pub(crate) fn taken(&mut self, role: Role, id: StreamId, len: u64) {
        let half = self.halves.entry((id, 1 - role_index(role))).or_default();
        half.taken += len;
        assert!(half.taken <= half.delivered, "{id:?}: read before arrival");
    }

    pub(crate) fn gone(&mut self, role: Role, id: StreamId) {
        self.fresh[role_index(role)].remove(&id);
    }

    /// `role` wrote a frame.
    pub(crate) fn emitted(&mut self, role: Role, frame: &Frame, encoded: usize) {
        let side = role_index(role);
        self.frames += 1;
        let id = StreamId(frame.stream);
        let first = !std::mem::replace(&mut self.settings_emitted[side], true);
        assert_eq!(
            first,
            matches!(frame.payload, Payload::Settings(_)),
            "SETTINGS is first"
        );
        if id.0 == 0 {
            return;
        }
        let frame_body = self.frame_body();
        match &frame.payload {
            Payload::Request { body, .. } => {
                assert_eq!(role, Role::Gateway);
                self.check_head_order(id);
                self.emitted[side].head_bytes += encoded as u64;
                self.on_head(side, id, body.len() as u64, frame.end);
            }
            Payload::Response { head, body } => {
                assert_eq!(role, Role::Receiver);
                self.emitted[side].head_bytes += encoded as u64;
                if head.is_informational() {
                    let half = self.halves.entry((id, side)).or_default();
                    half.informational += 1;
                    assert!(
                        !half.head && !half.over && half.informational <= 16,
                        "{id:?}"
                    );
                } else {
                    self.on_head(side, id, body.len() as u64, frame.end);
                }
            }
            Payload::Data(body) => {
                assert!(body.len() as u64 <= frame_body, "{id:?}: DATA too large");
                assert!(frame.end || !body.is_empty(), "{id:?}: DATA for nothing");
                self.check_data_order(side, id);
                self.emitted[side].data_frames += 1;
                self.on_body(side, id, body.len() as u64, frame.end);
            }
            Payload::Trailers(_) => {
                self.fresh[side].remove(&id);
                self.on_body(side, id, 0, true);
            }
            Payload::Window(credit) => self.on_window(side, id, *credit),
            Payload::Reset(_) => {
                let half = self.halves.entry((id, side)).or_default();
                assert!(!half.reset, "{id:?}: two RESETs");
                half.reset = true;
                half.over = true;
                self.fresh[side].remove(&id);
            }
            other => panic!("{role:?} wrote {other:?}"),
        }
    }

    /// Only DATA that the 64 KiB rule lets through may pass a head.
    fn check_head_order(&self, id: StreamId) {
        let then = self.opened[&id];
        let data = self.emitted[0].data_frames - then.data_frames;
        let heads = self.emitted[0].head_bytes - then.head_bytes;
        assert!(
            data <= 1 + heads / (64 << 10),
            "{id:?}: {data} DATA frames before its REQUEST"
        );
    }

    /// No DATA that came later than a stream's first DATA may pass it.
    fn check_data_order(&mut self, side: usize, id: StreamId) {
        let half = self.halves.entry((id, side)).or_default();
        half.first_data_emitted = true;
        let latest = half.latest;
        self.fresh[side].remove(&id);
        for (other, waits_since) in &self.fresh[side] {
            assert!(
                latest < *waits_since,
                "DATA of {id:?} passes the first of {other:?}"
            );
        }
    }

    fn on_head(&mut self, side: usize, id: StreamId, body: u64, end: bool) {
        let half = self.halves.entry((id, side)).or_default();
        assert!(!half.head, "{id:?}: two heads");
        half.head = true;
        assert!(body <= MAX_HEAD_BODY as u64);
        self.on_body(side, id, body, end);
    }

    fn on_body(&mut self, side: usize, id: StreamId, body: u64, end: bool) {
        let window = u64::from(self.settings[1 - side].initial_window);
        let half = self.halves.entry((id, side)).or_default();
        assert!(half.head && !half.over, "{id:?}: out of place");
        half.emitted += body;
        half.over |= end;
        assert!(half.emitted <= half.accepted, "{id:?}");
        assert!(
            half.emitted <= window + half.credited,
            "{id:?}: window overrun"
        );
    }

    /// Credit is what the reader took, and growth that the budget paid for.
    fn on_window(&mut self, side: usize, id: StreamId, credit: u32) {
        let settings = self.settings[side];
        let charged = settings.growth - self.budgets[side].left();
        let half = self.halves.entry((id, 1 - side)).or_default();
        half.granted += u64::from(credit);
        assert!(
            half.granted <= half.taken + charged,
            "{id:?}: credit before the reader took the bytes"
        );
        let reset = self.halves.get(&(id, side)).is_some_and(|half| half.reset);
        assert!(!reset, "{id:?}: WINDOW after RESET");
    }

    /// A frame arrived at `role`.
    pub(crate) fn delivered(&mut self, role: Role, frame: &Frame) {
        let (side, id) = (role_index(role), StreamId(frame.stream));
        match &frame.payload {
            Payload::Window(credit) => {
                self.halves.entry((id, side)).or_default().credited += u64::from(*credit);
            }
            Payload::Request { body, .. }
            | Payload::Response { body, .. }
            | Payload::Data(body) => {
                let half = self.halves.entry((id, 1 - side)).or_default();
                half.delivered += body.len() as u64;
            }
            _ => {}
        }
    }
}
