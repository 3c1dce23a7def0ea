//! `anp-proxy inspect`: prints ANPX frames readably and says what is wrong with a bad one.

mod frame;
mod hex;
mod parts;
mod report;
mod rules;
mod split;
mod values;

use std::{
    fs,
    io::{self, Read as _, Write},
    path::Path,
};

use bytes::Bytes;

use crate::exit::Failure;
use report::Report;
use split::Part;

/// Prints the frames in `file` (`-`: standard input) to `out`. True if every frame was good.
///
/// # Errors
/// The input cannot be read, or is hex text with a mistake in it.
pub(crate) fn run(file: &Path, out: &mut impl Write) -> Result<bool, Failure> {
    let name = file.display();
    let mut input = Vec::new();
    let read = if file.as_os_str() == "-" {
        io::stdin().lock().read_to_end(&mut input).map(|_| ())
    } else {
        fs::read(file).map(|bytes| input = bytes)
    };
    read.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    let input = hex::bytes(input).map_err(|error| {
        Failure::usage(format!(
            "{name}: {error} (expected frames, or hex of frames as xxd or hexdump -C print it)"
        ))
    })?;
    inspect(&Bytes::from(input), out)
        .map_err(|error| Failure::runtime(format!("cannot write the report: {error}")))
}

/// Writes the report on `input`. A reader that went away ends it early, and that is no error.
fn inspect(input: &Bytes, out: &mut impl Write) -> io::Result<bool> {
    let (mut frames, mut bad) = (0, 0);
    let mut write = |report: Report| match out.write_all(report.text().as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    };
    for part in split::parts(input) {
        let mut report = Report::default();
        match part {
            Part::Frame(range) => {
                frames += 1;
                frame::describe(frames, range.start, &input.slice(range), &mut report);
            }
            Part::Junk(range) => {
                report.title(format!("no frame · bytes {}..{}", range.start, range.end));
                let start = &input[range.start..range.end.min(range.start + 16)];
                report.wrong(
                    0,
                    format!(
                        "found {}, expected the magic \"ANPX\" (41 4e 50 58)",
                        values::hex(start)
                    ),
                );
            }
        }
        bad += usize::from(report.is_bad());
        if !write(report)? {
            return Ok(bad == 0);
        }
    }
    let mut report = Report::default();
    report.title(match (frames, bad) {
        (0, 0) => "no frames: the input is empty".to_owned(),
        (n, 0) => format!("{n} frame{}, all good", if n == 1 { "" } else { "s" }),
        (n, bad) => format!("{n} frame{}, {bad} bad", if n == 1 { "" } else { "s" }),
    });
    write(report)?;
    Ok(bad == 0 && frames > 0)
}

#[cfg(test)]
mod tests;
