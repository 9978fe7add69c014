//! The isorate command line.
fn main() {}
