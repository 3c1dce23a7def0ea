//! Version 2 of the wire (ANPX section 3): frames and their codec.
