//! Limits of both versions (ANPX section 4) and the budgets that tunnels share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Most bytes of an encoded header block.
pub const MAX_FIELDS_BYTES: usize = 64 << 10;
/// Most fields in a header block.
pub const MAX_FIELDS: usize = 256;
/// Most bytes of a request target.
pub const MAX_TARGET: usize = 16 << 10;
/// Most bytes of a head besides its fields and target.
pub const MAX_HEAD_REST: usize = 16 << 10;
/// Most bytes of an informational head.
pub const MAX_INFORMATIONAL_HEAD: usize = 8 << 10;
/// Most informational heads a stream.
pub const MAX_INFORMATIONAL: u8 = 16;
/// What a version-2 frame may hold besides `max_frame_body` bytes of body.
pub const FRAME_OVERHEAD: usize = 96 << 10;
/// Most bytes of a version-1 frame.
pub const MAX_V1_FRAME: usize = 64 << 20;
/// Largest flow-control window that growth may reach, in bytes.
pub const MAX_GROWN_WINDOW: u32 = 16 << 20;
/// Most bytes of body inside a head that goes in the heads' class (ANPX 3.5).
pub const MAX_HEAD_BODY: usize = 16 << 10;
/// DATA is encoded only while fewer bytes than this wait unwritten in user space (ANPX 3.5).
pub const MAX_UNWRITTEN: usize = 128 << 10;

/// An amount of memory that several owners charge and return, shared by clones.
///
/// Used for the growth of windows (1 GiB a process) and for version-1 bytes held (1 GiB a process).
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicU64>,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(bytes)),
        }
    }

    /// Charges `bytes`, or nothing and returns false where fewer are left.
    pub fn try_charge(&self, bytes: u64) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }

    /// Gives back what was charged.
    pub fn refund(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes not charged now.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}
