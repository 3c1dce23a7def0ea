//! The tunnels of one endpoint, as a snapshot that is cheap to change.

use std::{fmt, sync::Arc};

use anp_tunnel::Tunnel;

use crate::pick::Candidate;

/// Most members of a block. A change copies one block and the list of them, so that ten thousand
/// tunnels that come one after the other cost less than their square.
const BLOCK: usize = 64;

/// Names a tunnel in logs; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TunnelId(pub(crate) u64);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// Which receiver a tunnel leads to: a request that one could not serve is tried at another first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReceiverId(pub(crate) u64);

/// A tunnel that serves an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) id: TunnelId,
    /// Whose it is.
    pub(crate) receiver: ReceiverId,
    /// The worker that moves its bytes.
    pub(crate) worker: usize,
    /// The tunnel.
    pub(crate) tunnel: Tunnel,
}

impl Candidate for Member {
    fn pending(&self) -> usize {
        self.tunnel.open_streams()
    }
    fn capacity(&self) -> usize {
        self.tunnel.capacity()
    }
    fn worker(&self) -> usize {
        self.worker
    }
}

/// Tunnels in blocks, none of which is empty. Copies share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(Vec<Arc<Vec<Member>>>);

impl Members {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|block| block.len()).sum()
    }

    /// True if there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.iter().flat_map(|block| block.iter())
    }

    /// All of them in parts, none or several of which are empty, from a place that `turn` decides.
    pub(crate) fn parts(&self, turn: usize) -> impl Iterator<Item = &[Member]> {
        let blocks = self.0.len().max(1);
        let (before, from) = self.0.split_at(turn % blocks);
        let (first, behind) = match from.split_first() {
            Some((first, behind)) => (&first[..], behind),
            None => (&[][..], from),
        };
        let (end, start) = first.split_at(turn / blocks % first.len().max(1));
        let others = behind.iter().chain(before).map(|block| &block[..]);
        std::iter::once(start)
            .chain(others)
            .chain(std::iter::once(end))
    }

    /// Adds one, where there is room.
    pub(crate) fn push(&mut self, member: Member) {
        match self.0.iter_mut().rev().find(|block| block.len() < BLOCK) {
            Some(block) => Arc::make_mut(block).push(member),
            None => self.0.push(Arc::new(vec![member])),
        }
    }

    /// Takes one out, if it is there.
    pub(crate) fn remove(&mut self, tunnel: TunnelId) {
        let is_it = |member: &Member| member.id == tunnel;
        let Some(at) = self.0.iter().position(|block| block.iter().any(is_it)) else {
            return;
        };
        match self.0[at].len() {
            1 => drop(self.0.remove(at)),
            _ => Arc::make_mut(&mut self.0[at]).retain(|member| !is_it(member)),
        }
    }
}

#[cfg(test)]
mod tests {
    use anp_tunnel::{TunnelConfig, Version};
    use anpx::session::Role;
    use bytes::Bytes;

    use super::*;

    fn member(id: u64) -> Member {
        let (io, _) = tokio::io::duplex(1);
        let config = TunnelConfig::new(Role::Gateway);
        Member {
            id: TunnelId(id),
            receiver: ReceiverId(id),
            worker: 0,
            tunnel: Tunnel::new(io, Bytes::new(), Version::V2, config, None).0,
        }
    }

    #[tokio::test]
    async fn all_are_there_in_every_turn_and_no_block_is_empty() {
        let mut members = Members::default();
        assert!(members.is_empty() && members.parts(3).all(<[Member]>::is_empty));
        let count = 3 * BLOCK as u64 + 1;
        for id in 0..count {
            members.push(member(id));
        }
        let ids = |parts: Vec<&[Member]>| {
            let mut ids: Vec<_> = parts.concat().iter().map(|m| m.id.0).collect();
            let first = ids.first().copied();
            ids.sort_unstable();
            (ids, first)
        };
        let all: Vec<_> = (0..count).collect();
        let mut firsts = Vec::new();
        for turn in 0..4 * BLOCK {
            let (found, first) = ids(members.parts(turn).collect());
            assert_eq!(found, all, "{turn}");
            firsts.extend(first);
        }
        firsts.sort_unstable();
        firsts.dedup();
        // Each comes first in some turn.
        assert_eq!(firsts, all);

        let before = members.clone();
        for id in (0..count).rev() {
            members.remove(TunnelId(id));
            members.remove(TunnelId(id));
            assert_eq!(
                (members.len() as u64, members.iter().count() as u64),
                (id, id)
            );
            assert!(members.0.iter().all(|block| !block.is_empty()));
        }
        assert!(members.is_empty());
        assert_eq!(before.len() as u64, count);
    }

    #[tokio::test]
    async fn a_change_copies_one_block() {
        let mut members = Members::default();
        for id in 0..2 * BLOCK as u64 {
            members.push(member(id));
        }
        let before = members.clone();
        members.remove(TunnelId(1));
        members.push(member(1_000));
        let shared = |at: usize| Arc::ptr_eq(&before.0[at], &members.0[at]);
        assert_eq!((shared(0), shared(1)), (false, true));
        assert_eq!(members.0.len(), 2);
    }
}
