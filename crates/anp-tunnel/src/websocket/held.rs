//! Memory of messages that are not whole.

use anpx::{
    CloseCode,
    limits::{Budget, FRAME_OVERHEAD},
};

use super::WebSocketError;

/// What a message that is not whole takes of the memory that tunnels share.
#[derive(Debug)]
pub(super) struct Held {
    budget: Budget,
    charged: u64,
}

impl Held {
    /// Not charged: the largest frame of version 2, of which each tunnel has one at most.
    const FREE: usize = (1 << 20) + FRAME_OVERHEAD;

    /// Charges to `budget`, and nothing yet.
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, charged: 0 }
    }

    /// Charges for a message of `len` bytes so far.
    pub(super) fn grow(&mut self, len: usize) -> Result<(), WebSocketError> {
        let wanted = len.saturating_sub(Self::FREE) as u64;
        let more = wanted.saturating_sub(self.charged);
        if more > 0 && !self.budget.try_charge(more) {
            return Err(WebSocketError {
                code: CloseCode::LIMIT,
                reason: "messages of version 1 hold too much memory",
            });
        }
        self.charged += more;
        Ok(())
    }

    /// The message is whole, or given up: who keeps it charges for it.
    pub(super) fn settle(&mut self) {
        self.budget.refund(std::mem::take(&mut self.charged));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{Reader, Side};

    #[test]
    fn what_is_not_whole_is_charged_beyond_a_frame_of_version_2() {
        let budget = Budget::new(3 << 20);
        let limit = 64 << 20;
        let head = [0x82, 127, 0, 0, 0, 0, 4, 0, 0, 0];
        let part = vec![0; 1 << 20];
        let mut readers: Vec<_> = (0..3)
            .map(|_| {
                let mut reader = Reader::new(Side::Client, limit, budget.clone());
                assert_eq!(reader.feed(&mut &head[..]), Ok(None));
                reader
            })
            .collect();
        assert_eq!(budget.left(), 3 << 20);
        for reader in &mut readers {
            assert_eq!(reader.feed(&mut &part[..]), Ok(None));
        }
        let mut fed = 0;
        let refused = loop {
            match readers[0].feed(&mut &part[..]) {
                Ok(_) => fed += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((refused.code, fed > 0), (CloseCode::LIMIT, true));
        assert!(budget.left() < 2 << 20);
        // Each is given back with its reader.
        drop(readers);
        assert_eq!(budget.left(), 3 << 20);
    }
}
