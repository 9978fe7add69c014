//! Figures and tables drawn from results.
