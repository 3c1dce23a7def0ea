//! Lines for standard output and error, which a thread of their own writes.
//!
//! Whoever reads them may stop, and a pipe or terminal that is full then blocks its writer. Here that is
//! the thread alone: what carries requests leaves a line and goes on. What waits is bounded; lines beyond
//! it are dropped and counted, and once there is room again the reader is told how many.

mod queue;

use std::{
    io::{self, ErrorKind, Write},
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use self::queue::{Next, Queue};

/// Bytes that wait at most, those being written among them.
const LIMIT: usize = 1 << 20;

/// How long a thread that had nothing to do lets lines come together before it writes: a system call for
/// many is what makes a line cheap.
const GATHERING: Duration = Duration::from_millis(5);

/// How long a reader may take nothing before the end no longer waits for it.
const STILL: Duration = Duration::from_secs(1);

/// The longest that the end waits, also for one who reads slowly.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines on their way to one stream. They come out in the order they were given.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    queue: Arc<Queue>,
    /// Whose thread writes.
    process: u32,
}

impl Lines {
    /// Lines to `out`, whose errors concern nobody. `lost` is called with the number of lines that were
    /// dropped once there is room, and may [`insert`](Self::insert) a line that says so.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        name: &str,
        mut out: impl Write + Send + 'static,
        lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(LIMIT));
        let taken = Arc::clone(&queue);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                loop {
                    match taken.next(GATHERING) {
                        Next::Block(block) => write(&taken, &mut out, &block),
                        Next::Lost(count) => {
                            lost(count);
                            taken.told(count);
                        }
                    }
                }
            })?;
        Ok(Self {
            queue,
            process: process::id(),
        })
    }

    /// Leaves `text`, whole lines, to be written.
    pub(crate) fn push(&self, text: &[u8]) {
        self.queue.push(text);
    }

    /// As [`push`](Self::push), beyond the bound: what says that lines were lost, or the last word.
    pub(crate) fn insert(&self, text: &[u8]) {
        self.queue.insert(text);
    }

    /// False in a process that was forked: it has the lines, and nobody who writes them.
    pub(crate) fn has_thread(&self) -> bool {
        process::id() == self.process
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Waits until everything is written; a second for a reader that reads nothing, and never long.
    pub(crate) fn finish(&self) {
        if self.has_thread() {
            self.queue.drained(STILL, Instant::now() + PATIENCE);
        }
    }
}

/// Writes `block`, as far as it can be written.
fn write(queue: &Queue, out: &mut impl Write, mut block: &[u8]) {
    while !block.is_empty() {
        match out.write(block) {
            Ok(0) => break,
            Ok(written) => {
                block = block.get(written..).unwrap_or_default();
                queue.written(written);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares the stream may have made it so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GATHERING),
            Err(_) => break,
        }
    }
    let _ = out.flush();
    queue.written(block.len());
}

#[cfg(test)]
mod tests;
