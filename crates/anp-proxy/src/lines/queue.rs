//! What waits to be written.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Bytes that are written at once, unless one line is longer: what a pipe takes as a whole
/// (`PIPE_BUF`), so that lines of processes that share it stay whole.
const BLOCK: usize = 4 << 10;

/// Lines between those who leave them and the thread that writes them.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    limit: usize,
    /// There is something for the thread to do.
    filled: Condvar,
    /// Something was written, or the lines that were lost were told of.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    blocks: VecDeque<Vec<u8>>,
    /// Bytes not yet written, those of the block being written among them.
    waiting: usize,
    /// Bytes written so far.
    written: u64,
    /// Lines dropped and not yet told of. While there are some, none is taken: what says that they are
    /// lost stands where they are missing.
    lost: u64,
    dropped: u64,
    /// The thread has nothing to do.
    idle: bool,
    /// Nothing is to be gathered: someone waits for the end.
    hurried: bool,
}

/// What the thread is to do.
pub(super) enum Next {
    Block(Vec<u8>),
    /// Tell that so many lines were dropped.
    Lost(u64),
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            limit,
            filled: Condvar::new(),
            moved: Condvar::new(),
        }
    }

    /// Takes `text`, or counts it where there is no room.
    pub(super) fn push(&self, text: &[u8]) {
        let mut state = self.state();
        if state.lost > 0 || state.waiting > 0 && state.waiting + text.len() > self.limit {
            state.lost += 1;
            state.dropped += 1;
            return;
        }
        self.add(state, text);
    }

    /// Takes `text`, whether there is room or not.
    pub(super) fn insert(&self, text: &[u8]) {
        self.add(self.state(), text);
    }

    fn add(&self, mut state: MutexGuard<'_, State>, text: &[u8]) {
        state.waiting += text.len();
        match state.blocks.back_mut() {
            Some(block) if block.len() + text.len() <= BLOCK => block.extend_from_slice(text),
            _ => state.blocks.push_back(text.to_vec()),
        }
        // Telling someone costs a system call.
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.filled.notify_one();
        }
    }

    /// Waits for something to do, and for `gathering` where there was nothing.
    pub(super) fn next(&self, gathering: Duration) -> Next {
        let mut state = self.state();
        loop {
            // Not at once: who reads slowly would be told again and again.
            if state.lost > 0 && state.waiting <= self.limit / 2 {
                return Next::Lost(state.lost);
            }
            if let Some(block) = state.blocks.pop_front() {
                return Next::Block(block);
            }
            state.idle = true;
            let filled = self.filled.wait_while(state, |state| state.idle);
            state = filled.unwrap_or_else(PoisonError::into_inner);
            let gathered = self
                .filled
                .wait_timeout_while(state, gathering, |state| !state.hurried);
            state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// So many bytes are no longer waiting.
    pub(super) fn written(&self, bytes: usize) {
        let mut state = self.state();
        state.waiting -= bytes;
        state.written += bytes as u64;
        drop(state);
        self.moved.notify_all();
    }

    /// So many lost lines were told of.
    pub(super) fn told(&self, lines: u64) {
        self.state().lost -= lines;
        self.moved.notify_all();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Waits until nothing waits any more; true then. Gives up once nothing was written for `still`, or
    /// at `deadline`.
    pub(super) fn drained(&self, still: Duration, deadline: Instant) -> bool {
        let mut state = self.state();
        state.hurried = true;
        state.idle = false;
        self.filled.notify_all();
        loop {
            let written = state.written;
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = self
                .moved
                .wait_timeout_while(state, still.min(left), |state| {
                    state.is_busy() && state.written == written
                });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.is_busy() || state.written == written || Instant::now() >= deadline {
                state.hurried = false;
                return !state.is_busy();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_busy(&self) -> bool {
        self.waiting > 0 || self.lost > 0
    }
}
