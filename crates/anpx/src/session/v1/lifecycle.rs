//! What happens to a stream of either role: its turns, its deadline, its place, its end.

use std::time::Duration;

use super::{GONE, Session, stream::Stream};
use crate::{StreamError, role::Role, session::terms::StreamId};

impl Session {
    pub(super) fn next_id(&mut self) -> StreamId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let id = StreamId(self.last_id);
            if !self.streams.contains_key(&id) {
                return id;
            }
        }
    }

    /// The stream, if it may still be sent on.
    pub(super) fn writable(&mut self, id: StreamId) -> Result<&mut Stream, StreamError> {
        let over = self.over;
        let stream = self.streams.get_mut(&id).ok_or(GONE)?;
        match stream.error {
            Some(error) => Err(error),
            None if over => Err(StreamError::SessionEnded { written: true }),
            None => Ok(stream),
        }
    }

    /// Gives the stream a turn if it has a frame to write.
    pub(super) fn take_turn(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !self.over
            && stream.outgoing.has_frame()
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.turns.push_back(id);
        }
    }

    /// Sets the stream's deadline.
    pub(super) fn arm(&mut self, id: StreamId, after: Duration) {
        let at = self.clock + after;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.deadline = Some(at);
            self.next_check = Some(self.next_check.map_or(at, |check| check.min(at)));
        }
    }

    pub(super) fn expire(&mut self, id: StreamId) {
        match self.config.role {
            Role::Gateway => self.expire_response(id),
            Role::Receiver => self.expire_request(id),
        }
    }

    /// Ends the stream for its application, which learns `error` where there is none yet.
    pub(super) fn fail(&mut self, id: StreamId, error: StreamError) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.error.get_or_insert(error);
            stream.incoming.clear(&mut self.account);
            self.events.readable(id, &mut stream.pending);
            self.events.writable(id, &mut stream.pending);
        }
    }

    /// The request was answered (or withdrawn before it was written).
    pub(super) fn free_place(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && std::mem::take(&mut stream.place)
        {
            stream.deadline = None;
            if let Some((wire, _)) = self.places.remove_entry(stream.outgoing.id()) {
                self.ended.insert(wire);
            }
            if self.config.role == Role::Gateway {
                self.events.capacity();
            }
        }
    }

    /// Forgets a stream that nobody needs any more.
    pub(super) fn reap(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.released
            && !stream.place
            && !stream.outgoing.has_frame()
        {
            stream.incoming.clear(&mut self.account);
            self.streams.remove(&id);
        }
    }
}
