//! A hub on this machine for tests, with faults to switch on.
