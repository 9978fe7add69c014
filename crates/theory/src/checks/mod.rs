//! Checks of the theory, in groups: each file here has the statements of one group and the jobs that decide them.

mod condition1;
mod depth;
mod depth_errors;
mod diagnosis;
mod given;
mod linear;
mod momentum;
mod newton_schulz;
mod power;
mod retiming;
mod samples;
mod sets;
mod shampoo;
mod sharp;
mod structure;
mod theorems;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// All groups, in the order in which [`verify`] returns their checks.
const GROUPS: &[Group] = &[
    structure::GROUP,
    linear::GROUP,
    retiming::GROUP,
    given::GROUP,
    condition1::GROUP,
    samples::GROUP,
    depth::GROUP,
    depth_errors::GROUP,
    theorems::GROUP,
    sharp::GROUP,
    power::GROUP,
    momentum::GROUP,
    newton_schulz::GROUP,
    shampoo::GROUP,
    diagnosis::GROUP,
];

/// Statements that belong together, and the jobs that check them.
struct Group {
    /// The heading of the group.
    title: &'static str,
    /// The id of each check and what is claimed, in a line.
    statements: &'static [(&'static str, &'static str)],
    /// What computes the checks; together the jobs of a group have exactly the ids of its statements, in any order.
    jobs: &'static [Job],
}

/// One computation that decides one or several checks.
struct Job {
    ids: &'static [&'static str],
    run: fn(&VerifyConfig) -> Result<Vec<Check>>,
}

/// The statement of a check's id, for readers of stored checks; `None` for an unknown id.
///
/// ```
/// assert!(isorate_theory::statement("thm1-minority").is_some_and(|text| text.contains("μ t/4")));
/// assert_eq!(isorate_theory::statement("thm9"), None);
/// ```
pub fn statement(id: &str) -> Option<&'static str> {
    GROUPS.iter().flat_map(|group| group.statements).find(|(known, _)| *known == id).map(|(_, statement)| *statement)
}

/// The heading under which a check stands; `None` for an unknown id.
///
/// ```
/// assert_eq!(isorate_theory::heading("thm1-minority"), Some("Theorems 1 and 2"));
/// ```
pub fn heading(id: &str) -> Option<&'static str> {
    GROUPS.iter().find(|group| group.statements.iter().any(|(known, _)| *known == id)).map(|group| group.title)
}

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
    run(config, |_| true)
}

/// Runs the jobs that have a check that is `wanted`; checks in the order of the statements.
pub(crate) fn run(config: &VerifyConfig, wanted: impl Fn(&str) -> bool) -> Result<Vec<Check>> {
    let jobs: Vec<&Job> = GROUPS.iter().flat_map(|group| group.jobs).filter(|job| job.ids.iter().any(|id| wanted(id))).collect();
    let found = jobs.into_par_iter().map(|job| (job.run)(config)).collect::<Result<Vec<_>>>()?;
    let mut found: Vec<Check> = found.into_iter().flatten().collect();
    let place = |id: &str| GROUPS.iter().flat_map(|group| group.statements).position(|(known, _)| *known == id);
    found.sort_by_key(|check| place(&check.id));
    Ok(found)
}

/// The largest |a − b| over two lists of rows; NaN if any difference is.
fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).fold(0.0, |largest: f64, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() || difference > largest { difference } else { largest }
    })
}

/// Whether `value` is above `worst` or not a number, so that the worst case of all is kept.
fn is_worse(value: f64, worst: f64) -> bool {
    value.is_nan() || value > worst
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
        let known: Vec<&str> = GROUPS.iter().flat_map(|group| group.statements).map(|(id, _)| *id).collect();
        assert_eq!(ids, known);
    }

    #[test]
    fn ids_are_unique_and_plain_and_each_has_one_job() {
        let known: Vec<&str> = GROUPS.iter().flat_map(|group| group.statements).map(|(id, _)| *id).collect();
        for (index, id) in known.iter().enumerate() {
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{id}");
            assert!(!known[index + 1..].contains(id), "{id}");
            assert!(!statement(id).expect("known").is_empty());
        }
        for group in GROUPS {
            let mut stated: Vec<&str> = group.statements.iter().map(|(id, _)| *id).collect();
            let mut done: Vec<&str> = group.jobs.iter().flat_map(|job| job.ids).copied().collect();
            stated.sort_unstable();
            done.sort_unstable();
            assert_eq!(stated, done, "{}", group.title);
        }
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
