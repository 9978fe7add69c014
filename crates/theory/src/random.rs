use faer::Mat;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What a stream of random numbers is for; each purpose draws from its own ChaCha stream of the same seed, so a change in
/// one consumer never moves another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Directions of the class means (the right singular basis V).
    Means = 1,
    /// Left singular basis U of a rotated problem.
    OutputBasis = 2,
    /// Bases between the layers of a deep linear model.
    HiddenBases = 3,
    /// Parameter sets for Theorem 1.
    TheoremOne = 4,
    /// Parameter sets for Theorem 2.
    TheoremTwo = 5,
    /// Labelled examples of a mixture.
    Samples = 20,
    /// Gaussian draws of the population's cross-entropy.
    PopulationDraws = 21,
    /// Gaussian draws of test and validation sets.
    TestDraws = 22,
    /// Small random initial weights.
    InitialWeights = 23,
    /// Matrices for the Newton–Schulz iteration.
    NewtonSchulz = 50,
    /// Parameter sets for Shampoo's gap.
    ShampooGap = 51,
    /// Bases that are permutations with signs.
    Permutations = 30,
    /// Spectra of moments that come from no mixture.
    Spectra = 31,
    /// Residuals B of Condition 1.
    Residuals = 32,
    /// Class means that are not orthogonal.
    ObliqueMeans = 33,
    /// Mixtures for the spectral-power flow.
    PowerMixtures = 40,
    /// Parameter sets for the order of the power flow's minority loss.
    PowerTheorem = 41,
    /// Components of Muon's overshoot.
    MuonOvershoot = 42,
    /// Components of Muon's long-run cycle.
    MuonCycle = 43,
    /// Random layers of a deep linear model.
    GaussianLayers = 10,
    /// Starting points of the search for the sharp constants.
    SharpStarts = 60,
    /// Parameter sets for the proved bounds.
    SharpSets = 61,
    /// Parameter sets that break one condition.
    DroppedConditions = 62,
    /// Perturbed mixtures for the limits of the diagnosis.
    PerturbedMixtures = 70,
}

/// The generator of (seed, purpose, index).
pub(crate) fn stream(seed: u64, purpose: Purpose, index: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((purpose as u64) << 48) | (index as u64));
    rng
}

/// `cols` orthonormal columns in R^`rows`, Haar distributed: Q of a Gaussian matrix's QR decomposition, with each column's
/// sign such that R has a positive diagonal (without that, Q is not uniform; Mezzadri 2007, arXiv math-ph/0609050).
pub(crate) fn orthonormal(rows: usize, cols: usize, rng: &mut ChaCha8Rng) -> Mat<f64> {
    let gaussian: Mat<f64> = Mat::from_fn(rows, cols, |_, _| StandardNormal.sample(rng));
    let qr = gaussian.qr();
    let mut q = qr.compute_thin_Q();
    let r = qr.thin_R();
    for j in 0..cols {
        if r[(j, j)] < 0.0 {
            for i in 0..rows {
                q[(i, j)] = -q[(i, j)];
            }
        }
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_orthonormal_and_the_streams_differ() {
        let v = orthonormal(7, 4, &mut stream(3, Purpose::Means, 0));
        let gram = v.transpose() * &v;
        for i in 0..4 {
            for j in 0..4 {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((gram[(i, j)] - expected).abs() < 1e-14);
            }
        }
        let again = orthonormal(7, 4, &mut stream(3, Purpose::Means, 0));
        assert_eq!(v, again);
        assert_ne!(v, orthonormal(7, 4, &mut stream(3, Purpose::Means, 1)));
        assert_ne!(v, orthonormal(7, 4, &mut stream(3, Purpose::OutputBasis, 0)));
        assert_ne!(v, orthonormal(7, 4, &mut stream(4, Purpose::Means, 0)));
    }

    #[test]
    fn directions_are_uniform() {
        // Each entry of a Haar column in R^3 has mean 0 and second moment 1/3; LAPACK's sign convention alone would bias
        // the first entry of the first column.
        let draws = 4000;
        let (mut first, mut second) = (0.0, 0.0);
        for index in 0..draws {
            let entry = orthonormal(3, 3, &mut stream(11, Purpose::Means, index))[(0, 0)];
            first += entry / f64::from(4000);
            second += entry * entry / f64::from(4000);
        }
        assert!(first.abs() < 4.0 * (1.0 / (3.0 * f64::from(4000))).sqrt(), "mean {first}");
        assert!((second - 1.0 / 3.0).abs() < 0.03, "second moment {second}");
    }
}
