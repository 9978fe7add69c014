use crate::components::Components;
use crate::error::{Error, Result};
use crate::mixture::Mixture;
use crate::network::Network;
use crate::part::{Part, part};
use crate::rules::{Rule, power};

/// The times at which the components reach a_c* under the spectral-power flow U Σ^p Vᵀ, p = `exponent`, in component order.
///
/// L = 1 from 0: T_c = s_yx,c^{1−p}/((1−p) s_xx,c). L ≥ 2: T_c = C ∫_{z₀}^{1} x^{a−1} (1−x)^{−p} dx with a = (1 − p(L−1))/L and
/// C = (a_c*)^a s_yx,c^{−p}/L, which is C·B(a, 1−p) in the limit δ → ∞. Infinite for p = 1. Derived in
/// [`crate::derivations::spectral_power`].
///
/// Fails if `exponent` is outside \[0, 1\], and in the limit δ → ∞ if p ≥ 1/(L−1), where zero is never left.
///
/// ```
/// use isorate_theory::{Components, Network, power_saturation_times};
///
/// let components = Components::new(vec![0.25], vec![2.0], 1)?;
/// // √0.25/(½ · 2)
/// assert_eq!(power_saturation_times(&components, &Network::LINEAR, 0.5)?, [0.5]);
/// // SpecGD: a* = 1/8
/// assert_eq!(power_saturation_times(&components, &Network::LINEAR, 0.0)?, [0.125]);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn power_saturation_times(components: &Components, network: &Network, exponent: f64) -> Result<Vec<f64>> {
    Rule::Power { exponent }.check()?;
    power::saturation(exponent, components, network)
}

/// The exponent p* at which components i and j of the spectral-power flow saturate at the same time, L = `depth` layers from zero.
///
/// p₁* = 1 − ln(s_xx,i/s_xx,j)/ln(s_yx,i/s_yx,j) for L = 1, and p* = p₁*/(L + (L−1) p₁*). For L = 1 the order is the same at every
/// share of the limit, not only at the limit: below p* the component with the smaller s_yx is first, as under `SpecGD`; above it the
/// other, as under GD. In a mixture 0 < p₁* < 1 for every pair of unequal priors; in other moments a value outside \[0, 1\] says that
/// the order never changes. Derived in [`crate::derivations::spectral_power`].
///
/// Fails for a component that is not there, equal s_yx, or `depth` = 0.
///
/// ```
/// use isorate_theory::{Components, power_flip_exponent};
///
/// let components = Components::new(vec![0.4, 0.1], vec![2.0, 1.0], 2)?;
/// // 1 − ln 2/ln 4
/// assert!((power_flip_exponent(&components, (0, 1), 1)? - 0.5).abs() < 1e-15);
/// // ½/(2 + ½): depth moves it towards SpecGD.
/// assert!((power_flip_exponent(&components, (0, 1), 2)? - 0.2).abs() < 1e-15);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn power_flip_exponent(components: &Components, (i, j): (usize, usize), depth: usize) -> Result<f64> {
    let count = components.len();
    if i.max(j) >= count {
        return Err(Error::setting(
            "component",
            i.max(j),
            format!("there are {count}, numbered from 0"),
            "components have the order of the classes",
        ));
    }
    if depth == 0 {
        return Err(Error::setting("depth", depth, "must be at least 1", "1 is the linear model"));
    }
    let (yx, xx) = (components.s_yx(), components.s_xx());
    let ratio = (yx[i] / yx[j]).ln();
    if ratio == 0.0 {
        return Err(Error::setting(
            "component",
            (i, j),
            format!("both have s_yx = {:?}, so the order of saturation is the same for every p", yx[i]),
            "choose two components of different strength",
        ));
    }
    let linear = 1.0 - part(Part::PowerFlip, (xx[i] / xx[j]).ln()) / ratio;
    let depth = depth as f64;
    Ok(linear / (depth + part(Part::PowerFlipDepth, (depth - 1.0) * linear)))
}

/// T_M/T_m − 1, the relative spread of the saturation times of the majority and the minority class under the spectral-power flow with
/// L = `depth` layers from zero: (p_M/p_m)^{a p₁* − p} − 1 with a = (1 − p(L−1))/L and p₁* of [`power_flip_exponent`].
///
/// It is ΔT of Proposition 2 (arXiv 2510.22980) at p = 0, falls with p, is 0 at p*, and negative above. As p → 1 it tends to the ratio
/// of GD's half-lives. Fails for p outside \[0, 1\], p = 1 with L ≥ 2, or p ≥ 1/(L−1).
///
/// ```
/// use isorate_theory::{Mixture, MixtureConfig, Network, power_saturation_spread};
///
/// let mixture = Mixture::new(MixtureConfig {
///     priors: vec![0.9, 0.1],
///     mean_norm: 1.0,
///     noise_std: 1.0,
///     dim: None,
///     seed: 0,
/// })?;
/// let spread = power_saturation_spread(&mixture, 0.0, 2)?;
/// assert!((spread - mixture.saturation_spread(&Network::new(2, None)?)).abs() < 1e-14);
/// assert!(power_saturation_spread(&mixture, 0.9, 1)? < 0.0);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn power_saturation_spread(mixture: &Mixture, exponent: f64, depth: usize) -> Result<f64> {
    Rule::Power { exponent }.check()?;
    Network::new(depth, None)?;
    let a = power::deep_exponent(exponent, depth);
    if a <= 0.0 {
        return Err(Error::setting(
            "power",
            exponent,
            format!("with depth = {depth} the flow leaves zero only for p < 1/(depth − 1)"),
            "choose a smaller exponent",
        ));
    }
    let (majority, minority) = (mixture.majority(), mixture.minority());
    let ratio = (mixture.priors()[majority] / mixture.priors()[minority]).ln();
    if ratio == 0.0 {
        return Ok(0.0);
    }
    let flip = power_flip_exponent(&mixture.components(), (majority, minority), 1)?;
    Ok((ratio * (a * flip - part(Part::PowerSpread, exponent))).exp_m1())
}

/// The exponents between which the order of saturation of the linear model turns round: (1/(1 + SNR p_M), 1/(1 + SNR p_m)), which are
/// σ²/s_xx of the majority and the minority class.
///
/// For p up to the first, weaker classes saturate first, all of them in order; from the second on, more frequent classes do. Between,
/// the class with the prior nearest to (1 − p)/(p SNR), on the scale of ln T, is the last. Derived in
/// [`crate::derivations::spectral_power`].
pub fn power_order_range(mixture: &Mixture) -> (f64, f64) {
    let share = |class: usize| 1.0 / (1.0 + part(Part::PowerOrder, mixture.snr() * mixture.priors()[class]));
    (share(mixture.majority()), share(mixture.minority()))
}

/// (η s_xx/2)^{1/(1−p)}: the residual |r| = |s_yx − s_xx α| between whose two signs the discrete power rule with 0 ≤ p < 1 alternates
/// in the end, from every start except those that hit r = 0 exactly.
///
/// The step |r|^p has an infinite slope at 0, so no step size lets it converge; the amplitude in α is that over s_xx. Two steps
/// multiply a deviation by (1 − 2p)²: p = ½ falls on the cycle fastest. For p = 0 every pair of neighbouring grid points is a cycle, and
/// this one is the widest. Derived in [`crate::derivations::spectral_power`].
///
/// Fails for p outside \[0, 1) and for s_xx or η that are not positive and finite.
///
/// ```
/// // (0.1 · 2/2)²
/// let residual = isorate_theory::power_cycle_residual(0.5, 2.0, 0.1)?;
/// assert!((residual - 0.01).abs() < 1e-16);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn power_cycle_residual(exponent: f64, s_xx: f64, eta: f64) -> Result<f64> {
    Rule::Power { exponent }.check()?;
    crate::discrete::check_eta(eta)?;
    if exponent >= 1.0 {
        return Err(Error::setting("power", exponent, "GD converges for small steps and has no such cycle", "choose p below 1"));
    }
    if !(s_xx.is_finite() && s_xx > 0.0) {
        return Err(Error::setting("s_xx", s_xx, "must be positive and finite", "it is an eigenvalue of E[x xᵀ]"));
    }
    Ok((part(Part::PowerCycle, 0.5) * eta * s_xx).powf(1.0 / (1.0 - exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::MixtureConfig;

    fn mixture(snr: f64) -> Mixture {
        Mixture::new(MixtureConfig { priors: vec![0.7, 0.25, 0.05], mean_norm: snr.sqrt(), noise_std: 1.0, dim: None, seed: 0 })
            .expect("valid")
    }

    #[test]
    fn the_flip_lies_between_the_ends_of_the_order_and_moves_with_the_snr() {
        let mut last = 1.0;
        for snr in [1e-3, 0.1, 1.0, 10.0, 1e3, 1e6] {
            let mixture = mixture(snr);
            let flip = power_flip_exponent(&mixture.components(), (0, 2), 1).expect("unequal");
            let (first, second) = power_order_range(&mixture);
            assert!(first < flip && flip < second, "SNR {snr}: {first} < {flip} < {second}");
            assert!(flip < last);
            last = flip;
        }
        // 1 − p* ≈ SNR (p_M − p_m)/ln(p_M/p_m) for a small SNR.
        let flip = power_flip_exponent(&mixture(1e-6).components(), (0, 2), 1).expect("unequal");
        assert!(((1.0 - flip) / 1e-6 / (0.65 / 14.0_f64.ln()) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_spread_is_that_of_the_saturation_times() {
        for depth in [1, 2, 3] {
            let mixture = mixture(2.0);
            for p in [0.0, 0.1, 0.3, 0.45] {
                let network = Network::new(depth, None).expect("valid");
                let times = power_saturation_times(&mixture.components(), &network, p).expect("leaves zero");
                let spread = power_saturation_spread(&mixture, p, depth).expect("leaves zero");
                assert!((times[0] / times[2] - 1.0 - spread).abs() < 1e-12, "L = {depth}, p = {p}");
            }
        }
    }

    #[test]
    fn bad_input() {
        let mixture = mixture(1.0);
        let c = mixture.components();
        let equal = Components::new(vec![0.5, 0.5], vec![1.0, 2.0], 2).expect("valid");
        let saddle = Network::new(3, None).expect("valid");
        for error in [
            power_saturation_times(&c, &Network::LINEAR, 1.2).expect_err("p"),
            power_saturation_times(&c, &saddle, 0.5).expect_err("saddle"),
            power_flip_exponent(&c, (0, 3), 1).expect_err("component"),
            power_flip_exponent(&c, (0, 1), 0).expect_err("depth"),
            power_flip_exponent(&equal, (0, 1), 1).expect_err("equal"),
            power_saturation_spread(&mixture, 0.5, 3).expect_err("saddle"),
            power_cycle_residual(1.0, 1.0, 0.1).expect_err("GD"),
            power_cycle_residual(0.5, f64::NAN, 0.1).expect_err("s_xx"),
            power_cycle_residual(0.5, 1.0, 0.0).expect_err("eta"),
        ] {
            assert!(error.to_string().contains("\nhint: "), "{error}");
        }
    }
}
