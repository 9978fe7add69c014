//! Checked experiment specifications and the runs they describe.
