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
    /// The means' term of the population's cross-entropy gradient.
    SoftmaxMeans => ["softmax-population"],
    /// The noise's term of the population's cross-entropy gradient.
    SoftmaxNoise => ["softmax-population"],
    /// The variance of Σ̂_yx,cc in that of GD's component.
    SampleCross => ["sample-gd-constant"],
    /// The covariance of Σ̂_yx,cc and Σ̂_xx,cc there.
    SampleMixed => ["sample-gd-constant"],
    /// The variance of Σ̂_xx,cc there.
    SampleSecond => ["sample-gd-constant"],
    /// Rotations between the classes in SpecGD's loss of rate.
    RotationWithin => ["sample-specgd-rate"],
    /// Rotations out of the span of the means there.
    RotationBeyond => ["sample-specgd-rate"],
    /// The noise in the share of the signal with few examples.
    NoiseShare => ["sample-few"],
    /// 3.4445 x in the Newton–Schulz quintic.
    NewtonSchulzLinear => ["ns-matrix"],
    /// −4.7750 x³ in it.
    NewtonSchulzCubic => ["ns-matrix"],
    /// 2.0315 x⁵ in it.
    NewtonSchulzQuintic => ["ns-matrix"],
    /// The squares of its critical points.
    NewtonSchulzCritical => ["ns-range"],
    /// 3.4445^steps.
    NewtonSchulzSlope => ["ns-slope"],
    /// The integral of 1/φ.
    NewtonSchulzDelay => ["ns-delay"],
    /// η s_xx κ/‖r‖.
    NewtonSchulzDamping => ["ns-dead-zone"],
    /// 2 ‖r‖/(η s_xx).
    NewtonSchulzHover => ["ns-hover"],
    /// φ(p_m/‖p‖) in the early gap to GD.
    NewtonSchulzGap => ["ns-gap"],
    /// μ p_m in it.
    NewtonSchulzGapOfGd => ["ns-gap"],
    /// u² − 1 − 2 ln u in Shampoo's closed form.
    ShampooShape => ["shampoo-sum"],
    /// 8 e_c in it.
    ShampooDamping => ["shampoo-epsilon"],
    /// The fraction of SpecGD that Shampoo's sum has at least.
    ShampooSandwich => ["shampoo-sandwich"],
    /// The lag of Shampoo's average.
    ShampooLag => ["shampoo-rate"],
    /// The distance at which Shampoo's average alternates.
    ShampooHover => ["shampoo-hover"],
    /// ε there.
    ShampooHoverDamping => ["shampoo-hover"],
    /// μ p_c, the singular value s_yx,c of a mixture.
    LemmaCross => ["lemma-moments"],
    /// μ² p_c in s_xx,c.
    LemmaSignal => ["lemma-moments"],
    /// σ² in s_xx,c.
    LemmaNoise => ["lemma-moments"],
    /// a_c* in the gradient flow.
    GdLimit => ["gd-order"],
    /// s_xx,c t in the gradient flow.
    GdRate => ["gd-order"],
    /// a_c* in the exact discrete form of GD.
    GdDiscreteLimit => ["gd-discrete"],
    /// η s_xx,c in it.
    GdDiscreteRate => ["gd-discrete"],
    /// s_yx,c² e^{−2 s_xx,c s} in ‖∇(s)‖² along the gradient flow's path.
    NgdSquare => ["ngd-retiming"],
    /// s_xx,c in it.
    NgdRate => ["ngd-retiming"],
    /// r/‖r‖ in NGD's recursion.
    NgdDirection => ["ngd-discrete"],
    /// a_c*, at which SpecGD's flow saturates.
    SpecGdLimit => ["specgd-continuous"],
    /// t, its growth.
    SpecGdSlope => ["specgd-continuous"],
    /// η n, the discrete growth.
    SpecGdGrid => ["specgd-discrete"],
    /// The alternation around a_c* after it.
    SpecGdAlternation => ["specgd-discrete"],
    /// J(s, λ; t) in GD's first-order movement.
    Duhamel => ["condition1-gd"],
    /// J₂(s, s, λ; t) in the second-order movement of GD's components.
    SecondDuhamel => ["condition1-alpha"],
    /// (1 − q^ρ)/ρ in SpecGD's movement towards the complement.
    LeakageDrift => ["condition1-specgd"],
    /// −(q^ρ − q)/(1 − ρ) in it.
    LeakageReturn => ["condition1-specgd"],
    /// The entries of (S + B)_rr that decide SpecGD's first saturation.
    SaturationPencil => ["condition1-specgd-span", "condition1-specgd-saturation"],
    /// 1 − p in the rate at which the power flow uses up |r₀|^{1−p}.
    PowerRate => ["power-closed-form"],
    /// 1/(1 − p), the exponent of the power flow's residual.
    PowerShape => ["power-closed-form"],
    /// ln of the ratio of the s_xx in p*.
    PowerFlip => ["power-flip"],
    /// (L − 1) p₁* in the denominator of p* for L layers.
    PowerFlipDepth => ["power-deep-flip"],
    /// p in the exponent of the spread.
    PowerSpread => ["power-spread"],
    /// SNR p_c in the ends of the order.
    PowerOrder => ["power-order-range"],
    /// ½ in the residual of the discrete cycle.
    PowerCycle => ["power-cycle"],
    /// C, the time scale of a deep component.
    PowerDeepScale => ["power-deep"],
    /// p (L − 1) in the exponent a of a deep component.
    PowerDeepExponent => ["power-deep"],
    /// (τ + N) e^{−λN}, what a start at N steps leaves in the momentum.
    MuonWarmStart => ["muon-overshoot"],
    /// τ = 1/(1 − β) in a swing.
    MuonMemory => ["muon-overshoot", "muon-swing"],
    /// q = β/(1 − β) in the least swing.
    MuonLeast => ["muon-swing", "muon-swing-sharp"],
    /// τ in the longest run.
    MuonLongestRun => ["muon-longest-run"],
    /// τ tanh(λT/2) in the condition of a cycle.
    MuonCycle => ["muon-cycle"],
    /// 1 − β in the step size that keeps the overshoot below a share.
    MuonStepSize => ["muon-share"],
    /// β, by which Nesterov's look-ahead shortens the overshoot.
    NesterovAhead => ["nesterov-overshoot"],
    /// 2 s_yx t in the closed form of GD with two layers.
    GdBilinearRate => ["depth-gd-bilinear"],
    /// s_xx in the denominator of that closed form.
    GdBilinearLimit => ["depth-gd-bilinear"],
    /// s_yx/a₀ − s_xx in it.
    GdBilinearStart => ["depth-gd-bilinear"],
    /// w^{L−2} in the equation of GD with L layers, solved in ln w.
    GdDeepGrowth => ["depth-gd-deep"],
    /// s_yx in that equation.
    GdDeepLimit => ["depth-gd-deep"],
    /// The waiting time near the saddle in t(w) of GD with L ≥ 3 layers.
    GdImplicitWaiting => ["depth-gd-implicit"],
    /// The elementary function that is the rest of t(w).
    GdImplicitTail => ["depth-gd-implicit"],
    /// The exponent L − 1 in the norm of a layer's gradient, which re-times NGD.
    NgdDeepExponent => ["depth-ngd"],
    /// w₀ in the flow of `SpecGD` with L layers.
    SpecGdDeepStart => ["depth-specgd"],
    /// t in it.
    SpecGdDeepTime => ["depth-specgd"],
    /// 1/L in the limit of a layer's value.
    SpecGdDeepRoot => ["depth-alternation"],
    /// 1/L in the saturation times of `SpecGD`.
    SaturationRoot => ["depth-saturation"],
    /// w₀ in them.
    SaturationStart => ["depth-saturation"],
    /// SNR in their relative spread ΔT.
    SpreadSnr => ["depth-spread"],
    /// 1/p in ΔT.
    SpreadPrior => ["depth-spread"],
    /// 1/L in ΔT.
    SpreadRoot => ["depth-spread"],
    /// What a finite δ adds to ΔT.
    SpreadStart => ["depth-delta-spread"],
    /// w₀ in the deviation of a finite δ from the limit.
    DeviationStart => ["depth-delta-path"],
    /// η in the alternation of `SpecGD` with L layers after saturation.
    AlternationStep => ["depth-alternation"],
    /// The first-order term of the error of GD's steps.
    EulerTerm => ["depth-euler"],
    /// t S in the bilinear `SpecGD` path from a balanced initialization.
    BalancedGrowth => ["depth-balanced"],
    /// (S P₀ S)^{1/2} in it.
    BalancedStart => ["depth-balanced"],
    /// μ t (1 + x)/2 in the theorems' ratios.
    RatioSignal => ["thm-ratio-exact"],
    /// ½ σ² t (Σ x² − k)/μ in them.
    RatioNoise => ["thm-ratio-exact"],
    /// s_xx,c t in GD's share x_c.
    RatioRate => ["thm-ratio-exact"],
    /// s_xx,c τ in NGD's share x_c.
    RatioPathRate => ["thm-ratio-exact"],
    /// 1 − e^{−μ/(6k)} in the bounds of Theorem 1.
    SharpGrowth => ["sharp-gf-minority", "sharp-gf-balanced"],
    /// The term with κ = 1/6 in the bounds of Theorem 1.
    SharpKappa => ["sharp-gf-minority", "sharp-gf-balanced"],
    /// p_m/‖p‖ and Σ p/(k ‖p‖) in the infima of Theorem 2.
    SharpDirection => ["sharp-ngf-minority", "sharp-ngf-balanced"],
    /// (k − 1)/(12 k) in the infima of Theorem 2.
    SharpNoise => ["sharp-ngf-minority", "sharp-ngf-balanced"],
    /// The infima without a condition on the priors.
    SharpFree => ["sharp-no-prior-condition-attained"],
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
