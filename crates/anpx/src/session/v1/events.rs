//! Events waiting for the owner, at most one of a kind a stream.

use std::collections::{HashMap, VecDeque};

use super::stream::{Pending, Stream};
use crate::session::terms::{Event, StreamId};

#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    incoming: bool,
    capacity: bool,
}

impl Events {
    pub(super) fn established(&mut self) {
        self.queue.push_back(Event::Established);
    }

    pub(super) fn incoming(&mut self) {
        if !std::mem::replace(&mut self.incoming, true) {
            self.queue.push_back(Event::Incoming);
        }
    }

    pub(super) fn capacity(&mut self) {
        if !std::mem::replace(&mut self.capacity, true) {
            self.queue.push_back(Event::Capacity);
        }
    }

    pub(super) fn readable(&mut self, id: StreamId, pending: &mut Pending) {
        if !std::mem::replace(&mut pending.readable, true) {
            self.queue.push_back(Event::Readable(id));
        }
    }

    pub(super) fn writable(&mut self, id: StreamId, pending: &mut Pending) {
        if !std::mem::replace(&mut pending.writable, true) {
            self.queue.push_back(Event::Writable(id));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next event; those of streams that are gone or released are left out.
    pub(super) fn pop(&mut self, streams: &mut HashMap<StreamId, Stream>) -> Option<Event> {
        loop {
            let event = self.queue.pop_front()?;
            match event {
                Event::Incoming => self.incoming = false,
                Event::Capacity => self.capacity = false,
                Event::Readable(id) => match streams.get_mut(&id) {
                    Some(stream) if !stream.released => stream.pending.readable = false,
                    _ => continue,
                },
                Event::Writable(id) => match streams.get_mut(&id) {
                    Some(stream) if !stream.released => stream.pending.writable = false,
                    _ => continue,
                },
                Event::Established | Event::Draining => {}
            }
            return Some(event);
        }
    }
}
