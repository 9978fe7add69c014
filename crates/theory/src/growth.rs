use crate::components::Components;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::rules::Rule;
use crate::rules::deep_gd::DeepComponent;

/// The times at which the components reach the share `fraction` = q of their limits under GD or `SpecGD`, in continuous time; 0 for a component
/// that starts beyond it.
///
/// With a₀ = w₀^L the initial value, w₀ = e^{−δ}:
///
/// - `SpecGD`: (q a_c*)^{1/L} − w₀.
/// - GD, L = 1: ln((a_c* − a₀)/((1 − q) a_c*))/s_xx,c.
/// - GD, L = 2: ln((s_yx,c/a₀ − s_xx,c)/(s_xx,c (1/q − 1)))/(2 s_yx,c): it waits for δ/s_yx,c near zero.
/// - GD, L ≥ 3: the elementary t(w) of [`crate::derivations::depth`] at w = (q a_c*)^{1/L}: it waits for e^{(L−2)δ}/((L − 2) s_yx,c).
///
/// So as δ → ∞ the times of two components under GD have the ratio of s_yx, that is of the priors, for every L ≥ 2, while under `SpecGD` they
/// have the ratio of (a_c*)^{1/L}. Fails for q outside (0, 1), for GD with L ≥ 2 in the limit δ → ∞, and for other rules.
///
/// ```
/// use isorate_theory::{Components, Network, Rule, growth_times};
///
/// let components = Components::new(vec![0.6, 0.1], vec![1.6, 1.1], 2)?;
/// let network = Network::new(2, Some(8.0))?;
/// let gd = growth_times(&components, &network, Rule::Gd, 0.5)?;
/// let spec = growth_times(&components, &network, Rule::SpecGd, 0.5)?;
/// // GD learns the frequent class first, SpecGD the rare one.
/// assert!(gd[1] > 5.0 * gd[0] && spec[1] < spec[0]);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn growth_times(components: &Components, network: &Network, rule: Rule, fraction: f64) -> Result<Vec<f64>> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::setting(
            "fraction",
            fraction,
            "must be more than 0 and less than 1",
            "0.5 is the time at which half of the limit is learned",
        ));
    }
    let root = 1.0 / f64::from(network.exponent());
    match rule {
        Rule::SpecGd => Ok(components
            .limits()
            .into_iter()
            .map(|limit| ((fraction * limit).powf(root) - network.layer_start()).max(0.0))
            .collect()),
        Rule::Gd => {
            network.require_delta("gd", "never leaves the saddle at zero in the limit delta → ∞")?;
            Ok(components.pairs().map(|(yx, xx)| gd_time(yx, xx, network, fraction)).collect())
        }
        _ => Err(Error::NoClosedForm { rule: rule.name(), reason: "the times of growth are known for gd and specgd" }),
    }
}

fn gd_time(yx: f64, xx: f64, network: &Network, fraction: f64) -> f64 {
    let (limit, start) = (yx / xx, network.start());
    if start >= fraction * limit {
        return 0.0;
    }
    match network.depth() {
        1 => ((limit - start) / ((1.0 - fraction) * limit)).ln() / xx,
        2 => ((yx / start - xx) / (xx * (1.0 / fraction - 1.0))).ln() / (2.0 * yx),
        _ => {
            let root = 1.0 / f64::from(network.exponent());
            DeepComponent::new(yx, xx, network.exponent(), network.layer_start()).time_to(fraction.powf(root))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_those_of_the_flows() {
        let c = Components::new(vec![0.5, 0.3, 0.2], vec![1.5, 1.3, 1.2], 3).expect("valid");
        for rule in [Rule::Gd, Rule::SpecGd] {
            for depth in 1..=5 {
                let network = Network::new(depth, Some(2.0)).expect("valid");
                for fraction in [0.3, 0.5, 0.9, 0.999] {
                    let times = growth_times(&c, &network, rule, fraction).expect("valid");
                    for (class, (t, limit)) in times.iter().zip(c.limits()).enumerate() {
                        let alpha = rule.closed_form(&c, &network, &[*t]).expect("valid")[0][class];
                        let expected = (fraction * limit).max(network.start());
                        assert!(
                            (alpha - expected).abs() < 1e-10,
                            "{rule:?}, L = {depth}, q = {fraction}: {alpha} against {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_time_is_an_error() {
        let c = Components::new(vec![0.5], vec![1.5], 1).expect("valid");
        let network = Network::new(3, Some(1.0)).expect("valid");
        for fraction in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(growth_times(&c, &network, Rule::Gd, fraction).is_err());
        }
        assert!(growth_times(&c, &Network::new(3, None).expect("valid"), Rule::Gd, 0.5).is_err());
        assert!(growth_times(&c, &network, Rule::SignGd, 0.5).is_err());
    }
}
