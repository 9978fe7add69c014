use crate::components::Components;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::rules::{Rule, gd, specgd};
use crate::summation::add_compensated;

/// The exact discrete-time iterate in the components: α_c after each number of steps in `steps`, of size `eta`.
///
/// Linear model from 0: GD is a_c* (1 − (1 − η s_xx,c)^n) and `SpecGD` walks the grid η n (arXiv 2510.22980, trajectories); the
/// other rules iterate α ← α + η Δ(r), r_c = s_yx,c − s_xx,c α_c. With L layers each layer's value iterates
/// w ← w + η Δ(w^{L−1} r), α = w^L: all layers keep equal values, because they start balanced and get equal updates.
///
/// `SignGD` here is in the canonical basis, where it equals `SpecGD`. In the limit δ → ∞ with L ≥ 2, `SpecGD` and Muon take their
/// first step from exactly zero in the direction that they take from any small positive initialization; the other rules
/// have no such limit, which is an error. Rows are in the order of `steps`.
pub fn discrete(components: &Components, network: &Network, rule: Rule, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    check_eta(eta)?;
    rule.check()?;
    if *network == Network::LINEAR {
        match rule {
            Rule::Gd => {
                return steps.iter().map(|&n| finite(gd::discrete(components, eta, n), components, rule, eta, n)).collect();
            }
            Rule::SpecGd => {
                return Ok(steps.iter().map(|&n| specgd::discrete(components, eta, n)).collect());
            }
            _ => {}
        }
    }
    let mut recursion = Recursion::new(components, network, rule, eta)?;
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|&index| steps[index]);
    let mut rows = vec![Vec::new(); steps.len()];
    for index in order {
        while recursion.step < steps[index] {
            recursion.advance();
            finite(recursion.alpha(), components, rule, eta, recursion.step)?;
        }
        rows[index] = recursion.alpha();
    }
    Ok(rows)
}

/// Fails unless the step size is positive and finite.
pub(crate) fn check_eta(eta: f64) -> Result<()> {
    if eta.is_finite() && eta > 0.0 {
        return Ok(());
    }
    Err(Error::setting(
        "eta",
        eta,
        "the step size must be positive and finite",
        "a step size such as 1e-3 resolves the trajectories",
    ))
}

fn finite(alpha: Vec<f64>, c: &Components, rule: Rule, eta: f64, step: usize) -> Result<Vec<f64>> {
    if alpha.iter().all(|a| a.is_finite()) {
        return Ok(alpha);
    }
    Err(Error::Diverged { rule: rule.name(), eta, step, stable: 2.0 / c.largest_second() })
}

/// The recursion of one layer's values in the shared bases.
#[derive(Debug, Clone)]
pub(crate) struct Recursion<'a> {
    components: &'a Components,
    rule: Rule,
    exponent: i32,
    eta: f64,
    step: usize,
    values: Vec<f64>,
    carry: Vec<f64>,
    momentum: Vec<f64>,
    gradient: Vec<f64>,
    direction: Vec<f64>,
}

impl<'a> Recursion<'a> {
    pub(crate) fn new(components: &'a Components, network: &Network, rule: Rule, eta: f64) -> Result<Self> {
        if !matches!(rule, Rule::SpecGd | Rule::Muon { .. } | Rule::SignGd) {
            network.require_delta(rule.name(), "has no discrete path from zero in the limit delta → ∞")?;
        }
        let k = components.len();
        Ok(Self {
            components,
            rule,
            exponent: network.exponent(),
            eta,
            step: 0,
            values: vec![network.layer_start(); k],
            carry: vec![0.0; k],
            momentum: vec![0.0; k],
            gradient: vec![0.0; k],
            direction: vec![0.0; k],
        })
    }

    pub(crate) fn alpha(&self) -> Vec<f64> {
        self.values.iter().map(|w| w.powi(self.exponent)).collect()
    }

    pub(crate) fn advance(&mut self) {
        let mut norm_squared = 0.0;
        let mut largest_factor = 0.0_f64;
        for ((g, w), (yx, xx)) in self.gradient.iter_mut().zip(&self.values).zip(self.components.pairs()) {
            let alpha = w.powi(self.exponent);
            // At exactly zero the other layers' product only sets the scale of the limit w₀ → 0, not the direction.
            let from_limit = self.step == 0 && *w == 0.0;
            let factor = if from_limit { 1.0 } else { w.powi(self.exponent - 1) };
            *g = factor * (xx * alpha - yx);
            norm_squared += alpha * alpha;
            largest_factor = largest_factor.max(factor.abs());
        }
        let floor = self.components.residual_floor(norm_squared.sqrt()) * largest_factor;
        let before = (self.step == 0 && self.exponent > 1 && self.values[0] == 0.0).then(|| self.momentum.clone());
        self.rule.scalar_direction(&self.gradient, floor, self.step, &mut self.momentum, &mut self.direction);
        // The gradient of that first step vanishes with w₀: it leaves no trace in the momentum.
        if let Some(before) = before {
            self.momentum = before;
        }
        for ((w, carry), d) in self.values.iter_mut().zip(&mut self.carry).zip(&self.direction) {
            add_compensated(w, carry, -self.eta * d);
        }
        self.step += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components() -> Components {
        Components::new(vec![0.5, 0.3, 0.2], vec![1.5, 1.3, 1.2], 3).expect("valid")
    }

    #[test]
    fn the_recursion_is_the_closed_discrete_form() {
        let c = components();
        for rule in [Rule::Gd, Rule::SpecGd] {
            // 1/600 hits a* = 1/3 and 1/6; the others miss.
            for eta in [1e-3, 1.0 / 600.0, 0.013, 0.09] {
                let mut recursion = Recursion::new(&c, &Network::LINEAR, rule, eta).expect("valid");
                for n in 0..1000 {
                    let exact = &discrete(&c, &Network::LINEAR, rule, eta, &[n]).expect("valid")[0];
                    for (a, b) in exact.iter().zip(recursion.alpha()) {
                        assert!((a - b).abs() < 1e-14, "{rule:?}, eta {eta}, n {n}: {a} against {b}");
                    }
                    recursion.advance();
                }
            }
        }
    }

    #[test]
    fn muon_is_specgd_until_the_first_saturation_and_then_overshoots() {
        let c = components();
        let eta = 1e-3;
        let muon = Rule::Muon { momentum: 0.9 };
        let first = 166; // ⌊(0.2/1.2)/η⌋
        let steps: Vec<usize> = (0..=first).collect();
        let a = discrete(&c, &Network::LINEAR, muon, eta, &steps).expect("valid");
        let b = discrete(&c, &Network::LINEAR, Rule::SpecGd, eta, &steps).expect("valid");
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            assert!((a - b).abs() < 1e-14);
        }
        let later: Vec<usize> = (first..first + 40).collect();
        let overshoot = discrete(&c, &Network::LINEAR, muon, eta, &later)
            .expect("valid")
            .iter()
            .map(|row| row[2] - c.limits()[2])
            .fold(0.0, f64::max);
        assert!(overshoot > 3.0 * eta, "{overshoot}");
    }

    #[test]
    fn the_limit_of_a_vanishing_initialization() {
        let c = components();
        for rule in [Rule::SpecGd, Rule::Muon { momentum: 0.9 }] {
            let limit = Network::new(3, None).expect("valid");
            let small = Network::new(3, Some(30.0)).expect("valid");
            let a = discrete(&c, &limit, rule, 0.01, &[1, 5, 40, 90]).expect("limit");
            let b = discrete(&c, &small, rule, 0.01, &[1, 5, 40, 90]).expect("small");
            for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
                assert!((a - b).abs() < 1e-12, "{rule:?}: {a} against {b}");
            }
        }
        for rule in [Rule::Gd, Rule::Ngd, Rule::Power { exponent: 0.5 }] {
            let network = Network::new(2, None).expect("valid");
            let error = discrete(&c, &network, rule, 0.01, &[1]).expect_err("saddle").to_string();
            assert!(error.contains("--delta"), "{error}");
        }
    }

    #[test]
    fn divergence_is_reported() {
        let c = components();
        let error = discrete(&c, &Network::LINEAR, Rule::Gd, 1e10, &[1000]).expect_err("diverges").to_string();
        assert!(error.contains("gd diverges") && error.contains("eta = 1"), "{error}");
        // NGD moves by η a step and cannot overflow.
        assert!(discrete(&c, &Network::LINEAR, Rule::Ngd, 1e10, &[1000]).is_ok());
        assert!(discrete(&c, &Network::LINEAR, Rule::Gd, 0.0, &[1]).is_err());
        assert!(discrete(&c, &Network::LINEAR, Rule::Gd, f64::INFINITY, &[1]).is_err());
    }
}
