//! Checks of the theory: closed form against simulation, structure, depth, and the theorems.

mod depth;
mod linear;
mod sets;
mod statements;
mod structure;
mod theorems;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use statements::{STATEMENTS, statement};

/// One check: a measured value against its bound.
///
/// `margin` is the distance to failing in the units of the value: value − bound where the value must not fall below the
/// bound, bound − value where it must not exceed it. `pass` says whether the margin is at least 0 (more than 0 for a check
/// whose statement is a strict inequality); a value that is not a number fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// A stable name, such as `thm1-minority`.
    pub id: String,
    /// What is claimed; the text of [`statement`].
    pub statement: String,
    /// What was measured, on what, and where the extreme value was found.
    pub quantity: String,
    /// The measured value.
    pub value: f64,
    /// The bound.
    pub bound: f64,
    /// The distance to failing; negative when it failed.
    pub margin: f64,
    /// Whether the claim held.
    pub pass: bool,
}

impl Check {
    /// The claim is value ≤ bound.
    fn at_most(id: &'static str, value: f64, bound: f64, quantity: String) -> Self {
        Self::new(id, value, bound, bound - value, value <= bound, quantity)
    }

    /// The claim is value ≥ bound.
    fn at_least(id: &'static str, value: f64, bound: f64, quantity: String) -> Self {
        Self::new(id, value, bound, value - bound, value >= bound, quantity)
    }

    /// The claim is value < bound.
    fn below(id: &'static str, value: f64, bound: f64, quantity: String) -> Self {
        Self::new(id, value, bound, bound - value, value < bound, quantity)
    }

    fn new(id: &'static str, value: f64, bound: f64, margin: f64, pass: bool, quantity: String) -> Self {
        let statement = statement(id).expect("every check has a statement (tested)").to_owned();
        Self { id: id.to_owned(), statement, quantity, value, bound, margin, pass }
    }
}

/// What [`verify`] does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VerifyConfig {
    /// Parameter sets for each theorem, at least 1. Up to half of them enumerate the corners of the conditions.
    pub sets: usize,
    /// The seed of all random draws.
    pub seed: u64,
    /// The largest difference that counts as equal where two evaluations are the same in exact arithmetic.
    pub tolerance: f64,
}

impl Default for VerifyConfig {
    /// 4,000 sets a theorem, seed 0, tolerance 1e-12.
    fn default() -> Self {
        Self { sets: 4000, seed: 0, tolerance: 1e-12 }
    }
}

/// Runs every check, in a fixed order. The values do not depend on the number of threads.
///
/// Fails only for a bad configuration or a simulation that breaks down; a claim that does not hold is a [`Check`] with `pass`
/// false.
pub fn verify(config: &VerifyConfig) -> Result<Vec<Check>> {
    if config.sets == 0 {
        return Err(Error::setting("sets", config.sets, "at least one parameter set is needed", "the default is 4000"));
    }
    if !(config.tolerance.is_finite() && config.tolerance > 0.0) {
        return Err(Error::setting("tolerance", config.tolerance, "must be positive and finite", "the default is 1e-12"));
    }
    let ((structure, linear), (depth, theorems)) = rayon::join(
        || rayon::join(|| structure::checks(config), || linear::checks(config)),
        || rayon::join(|| depth::checks(config), || theorems::checks(config)),
    );
    let mut checks = structure?;
    checks.extend(linear?);
    checks.extend(depth?);
    checks.extend(theorems?);
    Ok(checks)
}

/// The largest |a − b| over two lists of rows; NaN if any difference is.
fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).fold(0.0, |largest: f64, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() || difference > largest { difference } else { largest }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> VerifyConfig {
        VerifyConfig { sets: 60, ..VerifyConfig::default() }
    }

    #[test]
    fn every_check_passes_and_every_statement_is_checked() {
        let checks = verify(&small()).expect("valid");
        for check in &checks {
            assert!(check.pass, "{check:?}");
            assert!(check.margin >= 0.0 && check.value.is_finite(), "{check:?}");
            assert_eq!(statement(&check.id), Some(check.statement.as_str()));
        }
        let ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
        let known: Vec<&str> = STATEMENTS.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, known);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| verify(&small())).expect("valid")
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn a_violated_claim_fails() {
        assert!(!Check::at_most("thm1-minority", 2.0, 1.0, String::new()).pass);
        assert!(!Check::at_least("thm1-minority", f64::NAN, 1.0, String::new()).pass);
        assert!(!Check::below("thm1-minority", 1.0, 1.0, String::new()).pass);
    }

    #[test]
    fn a_tolerance_below_rounding_fails_checks_rather_than_hiding_errors() {
        let strict = VerifyConfig { tolerance: 1e-30, ..small() };
        assert!(verify(&strict).expect("valid").iter().any(|check| !check.pass));
    }

    #[test]
    fn bad_configurations_are_errors() {
        assert!(verify(&VerifyConfig { sets: 0, ..small() }).is_err());
        assert!(verify(&VerifyConfig { tolerance: 0.0, ..small() }).is_err());
        assert!(verify(&VerifyConfig { tolerance: f64::NAN, ..small() }).is_err());
    }
}
