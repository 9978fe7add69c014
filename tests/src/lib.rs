//! End-to-end tests of the isorate binary live in `tests/`.
