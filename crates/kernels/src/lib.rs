//! Matrix kernels for the CPU that candle lacks.
