//! Bytes that a version-1 session holds, charged before they are kept (ANPX section 4).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{limits::Budget, session::config::V1Config};

/// Parts smaller than this are copied together, so that many tiny chunks don't each keep a message
/// and a queue entry alive.
const SMALL: usize = 1 << 10;
/// Bytes at which copied parts are closed and a new buffer begun.
const TAIL: usize = 16 << 10;

/// What a session may hold and holds.
#[derive(Debug)]
pub(super) struct Account {
    max_message: u64,
    max_session: u64,
    used: u64,
    process: Budget,
}

impl Account {
    pub(super) fn new(config: &V1Config) -> Self {
        Self {
            max_message: config.max_message,
            max_session: config.max_session,
            used: 0,
            process: config.process_held.clone(),
        }
    }

    /// Adds `bytes` to what `message` holds; false, and nothing charged, where a limit forbids it.
    pub(super) fn charge(&mut self, message: &mut u64, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if bytes > self.max_message.saturating_sub(*message)
            || bytes > self.max_session.saturating_sub(self.used)
            || !self.process.try_charge(bytes)
        {
            return false;
        }
        *message += bytes;
        self.used += bytes;
        true
    }

    /// Gives back `bytes` of what `message` holds.
    pub(super) fn refund(&mut self, message: &mut u64, bytes: u64) {
        let bytes = bytes.min(*message);
        *message -= bytes;
        self.used -= bytes;
        self.process.refund(bytes);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.process.refund(self.used);
    }
}

/// Body bytes in order, waiting for the reader.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    parts: VecDeque<Bytes>,
    tail: BytesMut,
}

impl Buffer {
    pub(super) fn push(&mut self, part: Bytes) {
        if part.len() < SMALL {
            self.tail.extend_from_slice(&part);
            if self.tail.len() >= TAIL {
                self.close_tail();
            }
        } else {
            self.close_tail();
            self.parts.push_back(part);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.parts.is_empty() {
            self.close_tail();
        }
        self.parts.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty()
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.parts
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}
