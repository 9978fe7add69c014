//! The only reader and writer of results.
