//! Rounds and medians.

use std::time::Instant;

use serde::Serialize;

use crate::work::Work;
use crate::works::matmul_flops;
use crate::{Result, inputs::normal, works::MATMUL};

/// What a work took: one entry of the list that `isorate bench --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// The name of the work.
    pub work: String,
    /// Milliseconds of one call, the median over the rounds.
    pub milliseconds: f64,
    /// Nominal floating-point operations ÷ time, in 10⁹ per second; None where there are none.
    pub gflops: Option<f64>,
    /// That, as a fraction of the rate of the matrix products timed in the same rounds.
    pub fraction_of_matmul: Option<f64>,
    /// Threads of the products.
    pub threads: usize,
    /// The largest resident memory of a process that does this work alone, in MiB: [`peak_mib`](crate::peak_mib). None where
    /// it was not measured.
    pub peak_mib: Option<f64>,
}

/// How long a work is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// At least so many rounds.
    pub fewest_rounds: usize,
    /// No more rounds than these.
    pub most_rounds: usize,
    /// No new round after so many seconds, once the fewest are done.
    pub seconds: f64,
}

impl Effort {
    /// One round, for examples and tests.
    pub const SHORTEST: Self = Self { fewest_rounds: 1, most_rounds: 1, seconds: 0.0 };
}

impl Default for Effort {
    /// 5 to 31 rounds in some 1.2 s, of which the products take a part.
    fn default() -> Self {
        Self { fewest_rounds: 5, most_rounds: 31, seconds: 1.2 }
    }
}

/// Calls that do not count: memory is handed out, states are made, caches are filled.
pub(crate) const WARM_UP: usize = 3;
/// A round repeats a short work until it takes about so long: far above the clock's resolution.
const SHORTEST_MILLISECONDS: f64 = 2.0;

/// Measures works one after the other; `watch` is told the name of each before it begins.
///
/// # Errors
/// Those of the operations.
pub fn measure(works: &[Work], effort: &Effort, watch: impl FnMut(&str) + Send) -> Result<Vec<Measurement>> {
    // candle and rayon count the threads differently where neither is told; this gives rayon candle's number.
    candle_core::utils::init_global_threadpool();
    // On a thread of rayon's pool, as training runs: from outside every parallel pass waits until one of them wakes up.
    rayon::scope(|_| measure_here(works, effort, watch))
}

fn measure_here(works: &[Work], effort: &Effort, mut watch: impl FnMut(&str)) -> Result<Vec<Measurement>> {
    let (a, b) = (normal((MATMUL, MATMUL), 1)?, normal((MATMUL, MATMUL), 2)?);
    let mut product = || -> Result<()> {
        a.matmul(&b)?;
        Ok(())
    };
    (0..WARM_UP).try_for_each(|_| product())?;
    let mut measurements = Vec::with_capacity(works.len());
    for work in works {
        watch(work.name());
        let mut call = (work.prepare)()?;
        let mut repeats = 1;
        for _ in 0..WARM_UP {
            let milliseconds = time(1, &mut call)?;
            repeats = repeats_for(milliseconds);
        }
        let (mut products, mut calls) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while calls.len() < effort.fewest_rounds
            || (calls.len() < effort.most_rounds && start.elapsed().as_secs_f64() < effort.seconds)
        {
            products.push(time(1, &mut product)?);
            calls.push(time(repeats, &mut call)?);
        }
        measurements.push(Measurement::new(work, &mut products, &mut calls, candle_core::utils::get_num_threads()));
    }
    Ok(measurements)
}

/// Does a work again and again for some seconds, and says how many times: for a profiler.
///
/// # Errors
/// Those of the operations.
pub fn repeat(work: &Work, seconds: f64) -> Result<u32> {
    candle_core::utils::init_global_threadpool();
    rayon::scope(|_| {
        let mut call = (work.prepare)()?;
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed().as_secs_f64() < seconds {
            call()?;
            count += 1;
        }
        Ok(count)
    })
}

/// Calls in a round.
fn repeats_for(milliseconds: f64) -> u32 {
    (1..1000).find(|&repeats| f64::from(repeats) * milliseconds >= SHORTEST_MILLISECONDS).unwrap_or(1000)
}

/// Milliseconds of one of `repeats` calls.
fn time(repeats: u32, call: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..repeats {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3 / f64::from(repeats))
}

impl Measurement {
    fn new(work: &Work, products: &mut [f64], calls: &mut [f64], threads: usize) -> Self {
        let (product, milliseconds) = (median(products), median(calls));
        let gflops = work.nominal_flops().map(|flops| flops / milliseconds / 1e6);
        let of_products = matmul_flops() / product / 1e6;
        Self {
            work: work.name().to_owned(),
            milliseconds,
            gflops,
            fraction_of_matmul: gflops.map(|gflops| gflops / of_products),
            threads,
            peak_mib: None,
        }
    }
}

/// The middle one, or the mean of the two in the middle. Not of nothing.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(flops: Option<f64>) -> Work {
        let work = Work::new("a/b", || Ok(Box::new(|| Ok(()))));
        flops.into_iter().fold(work, Work::flops)
    }

    #[test]
    fn rates_are_those_of_the_medians() {
        // 2·1024³ operations in 2.147483648 ms are 1,000 GFLOP/s.
        let mut products = [100.0, 2.147_483_648, 2.0];
        let measurement = Measurement::new(&work(Some(1e9)), &mut products, &mut [3.0, 90.0, 5.0, 1.0], 2);
        assert_eq!((measurement.work.as_str(), measurement.threads), ("a/b", 2));
        assert!((measurement.milliseconds - 4.0).abs() < 1e-12);
        assert!(measurement.gflops.is_some_and(|gflops| (gflops - 250.0).abs() < 1e-9));
        assert!(measurement.fraction_of_matmul.is_some_and(|fraction| (fraction - 0.25).abs() < 1e-12));
    }

    #[test]
    fn without_flops_there_is_no_rate() {
        let measurement = Measurement::new(&work(None), &mut [1.0], &mut [2.0], 1);
        let json = serde_json::to_string(&measurement).unwrap();
        assert_eq!(
            json,
            r#"{"work":"a/b","milliseconds":2.0,"gflops":null,"fraction_of_matmul":null,"threads":1,"peak_mib":null}"#
        );
    }

    #[test]
    fn short_works_are_repeated() {
        assert_eq!([5.0, 2.0, 0.9, 1e-9, 0.0].map(repeats_for), [1, 1, 3, 1000, 1000]);
    }

    #[test]
    fn a_failure_ends_the_measurement() {
        let failing = Work::new("fails", || Ok(Box::new(|| Err(candle_core::Error::msg("no").into()))));
        let mut seen = Vec::new();
        assert!(measure(&[work(None), failing], &Effort::SHORTEST, |name| seen.push(name.to_owned())).is_err());
        assert_eq!(seen, ["a/b", "fails"]);
    }
}
