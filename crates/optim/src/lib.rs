//! Spectral optimizers for candle.
