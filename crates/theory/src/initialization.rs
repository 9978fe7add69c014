use faer::{Accum, Mat};
use rand_distr::{Distribution, StandardNormal};

use crate::error::Result;
use crate::linalg::multiply;
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::random::{Purpose, orthonormal, stream};

/// The shapes (rows, columns) of W_1, …, W_L: d → r → ⋯ → r → k, r components.
fn shapes(moments: &MatrixMoments, depth: usize) -> Vec<(usize, usize)> {
    let ((k, rank), d) = (moments.left().shape(), moments.right().nrows());
    (1..=depth).map(|index| (if index == depth { k } else { rank }, if index == 1 { d } else { rank })).collect()
}

/// The balanced, aligned layers W_i = w₀ O_i O_{i−1}ᵀ, w₀ = e^{−δ}, with O_0 = V, O_L = U and Haar orthogonal r×r matrices from `seed`
/// between: every layer has the singular value w₀ r times, and W = w₀^L U Vᵀ (arXiv 2510.22980, the section on deep linear models).
pub(crate) fn aligned(moments: &MatrixMoments, network: &Network, seed: u64) -> Vec<Mat<f64>> {
    let start = network.layer_start();
    let mut layers = Vec::with_capacity(network.depth());
    let mut inner = moments.right().to_owned();
    for (index, (rows, cols)) in (1..).zip(shapes(moments, network.depth())) {
        let outer = if index == network.depth() {
            moments.left().to_owned()
        } else {
            orthonormal(rows, rows, &mut stream(seed, Purpose::HiddenBases, index))
        };
        let mut weights = Mat::zeros(rows, cols);
        multiply(weights.as_mut(), Accum::Replace, outer.as_ref(), inner.transpose(), start);
        layers.push(weights);
        inner = outer;
    }
    layers
}

/// Layers with independent entries N(0, s²), s² = r e^{−2δ}/(rows · columns): unbalanced and without any relation to the bases, but with the
/// same E‖W_i‖_F² = r e^{−2δ} as the [`aligned`] layers.
pub(crate) fn gaussian(moments: &MatrixMoments, network: &Network, seed: u64) -> Vec<Mat<f64>> {
    let rank = moments.left().ncols() as f64;
    shapes(moments, network.depth())
        .into_iter()
        .enumerate()
        .map(|(index, (rows, cols))| {
            let deviation = network.layer_start() * (rank / (rows * cols) as f64).sqrt();
            let mut rng = stream(seed, Purpose::GaussianLayers, index);
            Mat::from_fn(rows, cols, |_, _| {
                let entry: f64 = StandardNormal.sample(&mut rng);
                deviation * entry
            })
        })
        .collect()
}

/// The two layers W_2 = B, W_1 = Bᵀ Vᵀ for a k×r Gaussian B as in [`gaussian`]: balanced, W_2ᵀ W_2 = W_1 W_1ᵀ, but not aligned. For moments
/// with U = I.
pub(crate) fn balanced_pair(moments: &MatrixMoments, delta: f64, seed: u64) -> Result<(Mat<f64>, Vec<Mat<f64>>)> {
    let mut layers = gaussian(moments, &Network::new(2, Some(delta))?, seed);
    let outer = layers.swap_remove(1);
    let mut inner = Mat::zeros(outer.ncols(), moments.right().nrows());
    let right = moments.right();
    multiply(inner.as_mut(), Accum::Replace, outer.transpose(), right.transpose(), 1.0);
    Ok((outer.clone(), vec![inner, outer]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::frobenius;
    use crate::mixture::{Mixture, MixtureConfig};

    fn moments() -> MatrixMoments {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.0, noise_std: 1.0, dim: Some(7), seed: 3 };
        Mixture::new(config).expect("valid").matrix_moments().expect("small")
    }

    #[test]
    fn both_initializations_have_the_same_size() {
        let moments = moments();
        for depth in 1..=4 {
            let network = Network::new(depth, Some(2.0)).expect("valid");
            let expected = 3.0 * (-4.0_f64).exp();
            for layer in aligned(&moments, &network, 1) {
                assert!((frobenius(layer.as_ref()).powi(2) / expected - 1.0).abs() < 1e-12);
            }
            let draws = 400;
            let mut mean = vec![0.0; depth];
            for seed in 0..draws {
                for (sum, layer) in mean.iter_mut().zip(gaussian(&moments, &network, seed)) {
                    *sum += frobenius(layer.as_ref()).powi(2) / expected / 400.0;
                }
            }
            // Each is a mean of at least 3 600 squares of standard normal variables: 5 standard errors are 0.12.
            assert!(mean.iter().all(|value| (value - 1.0).abs() < 0.12), "{mean:?}");
        }
    }

    #[test]
    fn layers_draw_from_streams_of_their_own() {
        let network = Network::new(3, Some(0.0)).expect("valid");
        let deep = gaussian(&moments(), &network, 5);
        assert_ne!(deep[1], deep[2]);
        assert_eq!(deep, gaussian(&moments(), &network, 5));
        assert_ne!(deep, gaussian(&moments(), &network, 6));
    }
}
