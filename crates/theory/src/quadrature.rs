/// A Gauss–Legendre rule on \[0, 1\]: nodes and weights, exact for polynomials up to degree 2n − 1.
#[derive(Debug, Clone)]
pub(crate) struct GaussLegendre {
    nodes: Vec<f64>,
    weights: Vec<f64>,
}

impl GaussLegendre {
    /// The rule with `n` nodes: roots of the Legendre polynomial P_n by Newton's method from Tricomi's guess.
    pub(crate) fn new(n: usize) -> Self {
        let mut nodes = Vec::with_capacity(n);
        let mut weights = Vec::with_capacity(n);
        let size = n as f64;
        for i in 0..n {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (size + 0.5)).cos();
            let mut slope = 1.0;
            // Newton converges quadratically from this guess; ten rounds are more than enough for every n used here.
            for _ in 0..10 {
                let (mut previous, mut value) = (1.0, x);
                for degree in 2..=n {
                    let degree = degree as f64;
                    (previous, value) = (value, ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * previous) / degree);
                }
                slope = size * (x * value - previous) / (x * x - 1.0);
                x -= value / slope;
            }
            nodes.push(0.5 * (1.0 - x));
            weights.push(1.0 / ((1.0 - x * x) * slope * slope));
        }
        Self { nodes, weights }
    }

    /// ∫ f over \[start, start + width\].
    pub(crate) fn integrate(&self, start: f64, width: f64, f: impl Fn(f64) -> f64) -> f64 {
        width * self.pairs().map(|(node, weight)| weight * f(start + width * node)).sum::<f64>()
    }

    /// The pairs (node, weight).
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.nodes.iter().copied().zip(self.weights.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_for_polynomials_and_accurate_for_exponentials() {
        for n in [2, 4, 7, 10, 16] {
            let rule = GaussLegendre::new(n);
            let degree = i32::try_from(2 * n - 1).expect("small");
            let integral = rule.integrate(0.0, 1.0, |x| x.powi(degree));
            assert!((integral - 1.0 / f64::from(degree + 1)).abs() < 1e-15, "n = {n}: {integral}");
        }
        let rule = GaussLegendre::new(10);
        let integral = rule.integrate(1.0, 2.0, |x| (-x).exp());
        assert!((integral - ((-1.0_f64).exp() - (-3.0_f64).exp())).abs() < 1e-15);
    }
}
