//! Request ids that have ended, so that late frames are told from foreign ones (ANPX section 4).

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

/// How many are remembered.
const REMEMBERED: usize = 4096;

/// The ids ended last.
#[derive(Debug, Default)]
pub(super) struct Ended {
    ids: HashSet<Bytes>,
    order: VecDeque<Bytes>,
}

impl Ended {
    pub(super) fn insert(&mut self, id: Bytes) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: &[u8]) -> bool {
        self.ids.contains(id)
    }
}
