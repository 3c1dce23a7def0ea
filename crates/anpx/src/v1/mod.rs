//! Version 1 of the wire (ANPX section 2): messages, chunks, control texts and their HTTP rules.
