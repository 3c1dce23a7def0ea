//! Lines to a reader that the test has read, or not.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// Hands over each piece that is written, and waits until the test has taken it.
struct Pipe(SyncSender<String>);

impl Write for Pipe {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        // Where nobody reads any more, it is as with a pipe.
        let sent = self.0.send(text.clone());
        sent.map(|()| text.len())
            .map_err(|_| ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that say of those lost how many there were, and their reader.
fn piped() -> (Lines, Receiver<String>) {
    let (pipe, reader) = sync_channel(0);
    let (give, given) = sync_channel::<Lines>(1);
    let given = std::sync::Mutex::new(given);
    let this = std::sync::OnceLock::<Lines>::new();
    let lost = move |count| {
        let lines = this.get_or_init(|| given.lock().unwrap().recv().unwrap());
        lines.insert(format!("{count} lost\n").as_bytes());
    };
    let lines = Lines::start("lines", Pipe(pipe), lost).unwrap();
    give.send(lines.clone()).unwrap();
    (lines, reader)
}

/// Reads up to the line `last`.
fn read_to(reader: &Receiver<String>, last: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    while lines.last().is_none_or(|line| line != last) {
        let text = reader.recv().unwrap();
        assert!(text.ends_with('\n'), "half a line");
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[test]
fn lines_keep_their_order_and_come_together() {
    let (lines, reader) = piped();
    let given: Vec<_> = (0..1000).map(|number| format!("line {number}")).collect();
    for line in &given {
        lines.push(format!("{line}\n").as_bytes());
    }
    assert_eq!(read_to(&reader, "line 999"), given);
    lines.finish();
    assert_eq!(lines.dropped(), 0);
}

#[test]
fn what_does_not_fit_is_dropped_and_told_of_where_it_is_missing() {
    let (lines, reader) = piped();
    let long = "x".repeat(1023);
    let fit = LIMIT / 1024;
    for _ in 0..fit + 7 {
        lines.push(format!("{long}\n").as_bytes());
    }
    // Even one that would fit: its place is behind those that are missing.
    lines.push(b"\n");
    assert_eq!(lines.dropped(), 8);
    let read = read_to(&reader, "8 lost");
    assert_eq!(read.len(), fit + 1);
    lines.push(b"again\n");
    assert_eq!(read_to(&reader, "again"), ["again"]);
    assert_eq!(lines.dropped(), 8);
}

#[test]
fn a_line_longer_than_all_room_is_written_where_nothing_waits() {
    let (lines, reader) = piped();
    let long = "x".repeat(2 * LIMIT);
    lines.push(format!("{long}\n").as_bytes());
    assert_eq!(read_to(&reader, &long).len(), 1);
}

#[test]
fn the_end_waits_for_a_reader_and_not_for_one_that_does_not_read() {
    let (lines, reader) = piped();
    lines.push(b"one\n");
    // Nobody reads.
    lines.finish();
    let reading = thread::spawn(move || read_to(&reader, "three"));
    lines.push(b"two\n");
    lines.push(b"three\n");
    lines.finish();
    assert_eq!(reading.join().unwrap(), ["one", "two", "three"]);
}

#[test]
fn a_reader_that_is_gone_is_no_matter() {
    let (lines, reader) = piped();
    drop(reader);
    lines.push(b"one\n");
    lines.finish();
    lines.push(b"two\n");
    lines.finish();
    assert_eq!(lines.dropped(), 0);
}
