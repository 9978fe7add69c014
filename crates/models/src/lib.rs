//! Small candle models with seeded initialization.
