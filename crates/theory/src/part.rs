//! The pieces of the formulas, by name, so that tests can break each of them and see a check fail.

/// What a mutation does to a part.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// x/2.
    Half,
    /// −x.
    Sign,
    /// 0.
    Drop,
}

/// Declares the parts, each with the checks of which at least one must fail under every mutation of it.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident => [$($id:literal),+],)*) => {
        /// A factor or term of a formula.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Part {
            $($(#[$doc])* $name,)*
        }

        #[cfg(test)]
        const PARTS: &[(Part, &[&str])] = &[$((Part::$name, &[$($id),+]),)*];
    };
}

parts! {
    /// μ α_c in the loss of class c.
    LossSignal => ["loss-matrix"],
    /// σ² Σ_j α_j² in every loss.
    LossNoise => ["loss-matrix"],
    /// Σ_j U_cj α_j (v_jᵀ m_c) in the predicted loss of class c of a data set.
    DiagnosisSignal => ["diagnosis-mixture"],
    /// Σ_j α_j² E[(v_jᵀ x)² | c] in the predicted loss of class c of a data set.
    DiagnosisSecond => ["diagnosis-mixture"],
    /// ‖Σ_xx v_j − s_xx,j v_j‖/s_xx,j, which says how far a prediction can be trusted.
    DiagnosisResidual => ["diagnosis-residual"],
}

/// The value of a part: itself, but for tests that break formulas.
#[cfg(not(test))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is nothing at all")]
pub(crate) fn part(_: Part, value: f64) -> f64 {
    value
}

/// The value of a part under the mutation of the calling thread.
#[cfg(test)]
pub(crate) fn part(part: Part, value: f64) -> f64 {
    match tests::mutation() {
        Some((broken, mutation)) if broken == part => match mutation {
            Mutation::Half => 0.5 * value,
            Mutation::Sign => -value,
            Mutation::Drop => 0.0,
        },
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::checks::{VerifyConfig, run};

    thread_local! {
        static MUTATION: Cell<Option<(Part, Mutation)>> = const { Cell::new(None) };
    }

    pub(super) fn mutation() -> Option<(Part, Mutation)> {
        MUTATION.get()
    }

    /// Runs checks on threads of their own, all of which have the mutation.
    fn failures(mutation: Option<(Part, Mutation)>, ids: &[&str]) -> usize {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .start_handler(move |_| MUTATION.set(mutation))
            .build()
            .expect("a pool of two threads");
        let config = VerifyConfig { sets: 60, ..VerifyConfig::default() };
        match pool.install(|| run(&config, |id| ids.contains(&id))) {
            Ok(checks) => checks.iter().filter(|check| ids.contains(&check.id.as_str()) && !check.pass).count(),
            // A formula may be so wrong that the computation breaks down: that is noticed too.
            Err(_) => 1,
        }
    }

    #[test]
    fn every_check_of_a_part_passes_while_nothing_is_broken() {
        for (part, ids) in PARTS {
            assert_eq!(failures(None, ids), 0, "{part:?}");
        }
    }

    #[test]
    fn a_broken_formula_fails_its_check() {
        let mut unseen = Vec::new();
        for &(part, ids) in PARTS {
            for mutation in [Mutation::Half, Mutation::Sign, Mutation::Drop] {
                if failures(Some((part, mutation)), ids) == 0 {
                    unseen.push(format!("{part:?} {mutation:?}: none of {ids:?} fails"));
                }
            }
        }
        assert!(unseen.is_empty(), "{unseen:#?}");
    }
}
