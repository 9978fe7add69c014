/// The id and the statement of every check, in the order in which [`verify`](crate::verify) returns them.
pub const STATEMENTS: &[(&str, &str)] = &[
    ("lemma-moments", "The mixture's moments are jointly diagonal: s_yx = μ p, s_xx = μ² p + σ² (Condition 1 and its lemma)"),
    ("lemma-limit", "The least-squares solution is aligned with the limits a_c* = s_yx,c/s_xx,c"),
    ("limit-common", "GD, NGD, SpecGD and the power flow share the limit a_c*"),
    ("loss-matrix", "L_c = ½[(1 − μ α_c)² + σ² Σ_j α_j²] is the loss of the simulated matrix"),
    ("order-specgd", "Under SpecGD weaker components saturate first"),
    ("order-gd", "Under GD dominant components reach half of their limit first"),
    ("rotation-specgd", "SpecGD gives the same α in any pair of bases"),
    ("rotation-signgd", "SignGD depends on the bases"),
    ("signgd-canonical", "SignGD equals SpecGD in the canonical basis"),
    ("gd-discrete", "GD simulated with matrices is a_c*(1 − (1 − η s_xx,c)^n)"),
    ("ngd-discrete", "NGD simulated with matrices is the recursion α ← α + η r/‖r‖₂"),
    ("specgd-discrete", "SpecGD simulated with matrices walks the grid η n and alternates around a_c*"),
    ("specgd-hit", "A component that hits a_c* under SpecGD stays there"),
    (
        "specgd-amplification",
        "Once a component alternates at grid fraction f, SpecGD multiplies errors outside the means' span by 1 − ρ(1 − ρ)/(f(1 − f)) every two steps, ρ = σ²/s_xx,c",
    ),
    ("power-discrete", "The power rule simulated with matrices is the recursion α ← α + η sign(r)|r|^p"),
    ("muon-discrete", "Muon simulated with matrices is SpecGD on the averaged residual of each component"),
    ("muon-specgd", "Muon with momentum equals SpecGD until the first component saturates"),
    ("gd-order", "The GD simulation tends to a_c*(1 − e^{−s_xx,c t}) with order 1 in η"),
    ("ngd-order", "The NGD simulation tends to the re-timed GD path with order 1 in η"),
    ("power-order", "The power-rule simulation tends to its closed form with order 1 in η"),
    ("specgd-continuous", "The SpecGD simulation stays within one step of min(t, a_c*)"),
    ("depth-gd-bilinear", "The GD simulation of two layers tends to its closed form with order 1 in η"),
    ("depth-gd-deep", "The GD simulation of three and four layers tends to the numeric solution with order 1 in η"),
    ("depth-gd-numeric", "The numeric solution for L layers satisfies the closed form's equation at L = 2"),
    ("depth-specgd", "The SpecGD simulation of L layers is (w₀ + η n)^L until the first component saturates"),
    ("depth-saturation", "SpecGD with L layers saturates at (a_c*)^{1/L} − w₀, to one step (Proposition 2)"),
    ("depth-spread", "The relative spread of saturation times is ((SNR + 1/p_m)/(SNR + 1/p_M))^{1/L} − 1"),
    ("depth-shrinks", "That spread shrinks with every layer"),
    ("thm1-minority", "Theorem 1: L_m of GF exceeds that of Spec by at least μ t/4 on (0, t*]"),
    ("thm1-balanced", "Theorem 1: L_bal of GF exceeds that of Spec by at least μ t/2 on (0, t*]"),
    ("thm2-minority", "Theorem 2: L_m of NGF exceeds that of Spec by at least μ t/2 on (0, t*]"),
    (
        "thm2-balanced-quarter",
        "Theorem 2, checked here with constant 1/4: L_bal of NGF exceeds that of Spec by at least μ t/4 on (0, t*]",
    ),
    (
        "thm2-balanced-half",
        "The constant 1/2 for the balanced NGF gap is in doubt; claimed here: it fails, a counterexample satisfies the conditions",
    ),
    ("thm1-simulated", "Theorem 1 holds for matrix simulations of GD and SpecGD with a small step size"),
    ("thm2-simulated", "Theorem 2, with 1/4 for the balanced gap, holds for matrix simulations of NGD and SpecGD"),
    ("thm-ratio-simulated", "The simulated gap/(μ t) is the one of the closed forms"),
];

/// The statement of a check's id, for readers of stored checks; `None` for an unknown id.
///
/// ```
/// assert!(isorate_theory::statement("thm1-minority").is_some_and(|text| text.contains("μ t/4")));
/// assert_eq!(isorate_theory::statement("thm9"), None);
/// ```
pub fn statement(id: &str) -> Option<&'static str> {
    STATEMENTS.iter().find(|(known, _)| *known == id).map(|(_, statement)| *statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_plain() {
        for (index, (id, text)) in STATEMENTS.iter().enumerate() {
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{id}");
            assert!(!text.is_empty());
            assert!(STATEMENTS[index + 1..].iter().all(|(other, _)| other != id), "{id}");
        }
    }
}
