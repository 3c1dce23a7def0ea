//! The text of the report on one frame.

use std::fmt::Display;

use anp_receiver::printable;

/// Lines about one frame; remembers whether any of them says that something is wrong.
#[derive(Debug, Default)]
pub(super) struct Report {
    text: String,
    bad: bool,
}

impl Report {
    /// The line above a frame.
    pub(super) fn title(&mut self, title: String) {
        self.text.push_str(&title);
        self.text.push('\n');
    }

    /// A field at byte `at` of the frame.
    pub(super) fn field(&mut self, at: usize, name: &str, value: impl Display) {
        self.line(&format!("{at:>8}  {name:<14}{value}"));
    }

    /// A line that goes on with the field above it.
    pub(super) fn more(&mut self, line: impl Display) {
        self.line(&format!("{:24}{line}", ""));
    }

    /// Something unusual that is no mistake.
    pub(super) fn note(&mut self, line: impl Display) {
        self.line(&format!("{:>8}  {line}", "note"));
    }

    /// Something wrong at byte `at` of the frame.
    pub(super) fn wrong(&mut self, at: usize, line: impl Display) {
        self.bad = true;
        self.line(&format!("{:>8}  byte {at}: {line}", "WRONG"));
    }

    /// A reader refuses the frame for what is visible above.
    pub(super) fn refused(&mut self, line: impl Display) {
        self.bad = true;
        self.line(&format!("{:>8}  {line}", "WRONG"));
    }

    /// One line, whatever the frame has in it.
    fn line(&mut self, line: &str) {
        self.text.push_str(&printable(line));
        self.text.push('\n');
    }

    /// True once something was wrong.
    pub(super) fn is_bad(&self) -> bool {
        self.bad
    }

    /// All lines.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}
