//! Moments against the data model's closed form and against direct computation.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "small test data; a test fails by a panic")]

use faer::linalg::solvers::Qr;
use faer::{Mat, Side};
use isorate_data::{Centering, DataError, LabelledFeatures, Moments};
use proptest::prelude::*;
use rand::Rng;
use rand_distr::StandardNormal;

/// A sample whose empirical moments are exactly those of the data model (paper, section 2): orthogonal means of norm `μ` along the
/// columns of `basis`, noise `σ² I` as symmetric pairs `±σ√d` along each axis, and `weights[c]` copies for class `c`.
fn mixture(basis: &Mat<f64>, weights: &[usize], mu: f64, sigma: f64) -> (Vec<f64>, Vec<u32>) {
    let d = basis.nrows();
    let (mut features, mut labels) = (vec![], vec![]);
    for (class, &copies) in weights.iter().enumerate() {
        for _ in 0..copies {
            for (axis, sign) in (0..d).flat_map(|a| [(a, 1.0), (a, -1.0)]) {
                features.extend(
                    (0..d).map(|i| mu * basis[(i, class)] + if i == axis { sign * sigma * (d as f64).sqrt() } else { 0.0 }),
                );
                labels.push(class as u32);
            }
        }
    }
    (features, labels)
}

fn normal(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut rng = isorate_data::stream(seed, "test matrix", 0);
    Mat::from_fn(rows, columns, |_, _| rng.sample(StandardNormal))
}

fn rotation(d: usize, seed: u64) -> Mat<f64> {
    Qr::new(normal(d, d, seed).as_ref()).compute_Q()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{found:?} against {expected:?}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= tolerance, "{found:?} against {expected:?}");
    }
}

#[test]
fn the_data_model_satisfies_condition_1() {
    let (mu, sigma, d) = (1.5, 0.4, 7);
    let basis = rotation(d, 1);
    let (features, labels) = mixture(&basis, &[5, 3, 2], mu, sigma);
    let data = LabelledFeatures::new(&features, d, &labels, 3).unwrap();
    let moments = Moments::new(&data, Centering::Raw).unwrap();
    let p = [0.5, 0.3, 0.2];
    close(moments.priors(), &p, 1e-15);
    close(moments.s_yx(), &p.map(|p| mu * p), 1e-13);
    let s_xx = p.map(|p| mu * mu * p + sigma * sigma);
    close(moments.s_xx(), &s_xx, 1e-13);
    close(&moments.eigenvalues().unwrap(), &[&s_xx[..], &[sigma * sigma; 4]].concat(), 1e-13);
    close(&[moments.trace()], &[mu * mu + d as f64 * sigma * sigma], 1e-12);
    assert!(
        moments.residual() < 1e-13 && moments.block_residual() < 1e-13,
        "{} {}",
        moments.residual(),
        moments.block_residual()
    );
    // U = I and v_c = μ_c/μ, signs included.
    close(moments.left_vectors(), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], 1e-13);
    let means: Vec<f64> = (0..3).flat_map(|c| (0..d).map(move |i| (c, i))).map(|(c, i)| basis[(i, c)]).collect();
    close(moments.right_vectors(), &means, 1e-12);
}

/// Several blocks of rows, single precision input, and a class without samples.
#[test]
fn blocks_add_up() {
    let n = 5_000;
    let x = normal(n, 3, 4);
    let features: Vec<f32> = (0..n).flat_map(|i| (0..3).map(move |j| (i, j))).map(|(i, j)| x[(i, j)] as f32).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 2 * 2).collect();
    let data = LabelledFeatures::new(&features, 3, &labels, 3).unwrap();
    let moments = Moments::new(&data, Centering::Raw).unwrap();
    close(moments.priors(), &[0.5, 0.0, 0.5], 1e-15);
    assert_eq!(moments.rank(), 2);
    let direct: f64 = features.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64;
    close(&[moments.trace()], &[direct], 1e-10);
    close(&[moments.eigenvalues().unwrap().iter().sum()], &[direct], 1e-10);
}

/// The largest basis-dependent parts, from an explicit basis of the complement that diagonalizes its block.
fn direct_residual(features: &Mat<f64>, moments: &Moments) -> f64 {
    let (n, d, r) = (features.nrows(), features.ncols(), moments.rank());
    let sigma = features.transpose() * features * faer::Scale(1.0 / n as f64);
    let v = Mat::from_fn(d, r, |i, c| moments.right_vectors()[c * d + i]);
    // The eigenvectors of I − V Vᵀ with eigenvalue 1 span the complement; Q diagonalizes Σ there.
    let projector = Mat::<f64>::identity(d, d) - &v * v.transpose();
    let eigen = projector.self_adjoint_eigen(Side::Lower).unwrap();
    let complement = eigen.U().subcols(r, d - r).to_owned();
    let block = complement.transpose() * &sigma * &complement;
    let q = block.self_adjoint_eigen(Side::Lower).unwrap();
    let complement = &complement * q.U();
    let basis = Mat::from_fn(d, d, |i, j| if j < r { v[(i, j)] } else { complement[(i, j - r)] });
    let all = basis.transpose() * &sigma * &basis;
    let (mut b, mut s) = (0.0, 0.0);
    for i in 0..d {
        for j in 0..d {
            *if i == j { &mut s } else { &mut b } += all[(i, j)] * all[(i, j)];
        }
    }
    (b / s).sqrt()
}

fn rows(x: &Mat<f64>) -> Vec<f64> {
    x.row_iter().flat_map(|row| row.iter().copied().collect::<Vec<_>>()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rotating_the_features_changes_no_spectrum(seed: u64) {
        let (n, d, k) = (40, 6, 3);
        let x = normal(n, d, seed);
        let rotated = &x * rotation(d, seed ^ 1);
        let labels: Vec<u32> = (0..n as u32).map(|i| i % k).collect();
        let of = |x: &Mat<f64>| {
            let x = rows(x);
            Moments::new(&LabelledFeatures::new(&x, d, &labels, k as usize).unwrap(), Centering::Raw).unwrap()
        };
        let (a, b) = (of(&x), of(&rotated));
        close(a.s_yx(), b.s_yx(), 1e-12);
        close(&a.eigenvalues().unwrap(), &b.eigenvalues().unwrap(), 1e-11);
        // Vectors are as good as the gaps between singular values.
        let gap = a.s_yx().windows(2).map(|s| s[0] - s[1]).fold(f64::INFINITY, f64::min);
        let tolerance = 1e-12 / gap;
        close(a.s_xx(), b.s_xx(), tolerance);
        close(&[a.residual(), a.block_residual()], &[b.residual(), b.block_residual()], tolerance);
    }

    #[test]
    fn the_residual_is_that_of_the_best_basis(seed: u64) {
        let (n, d, k) = (30, 6, 3);
        let x = normal(n, d, seed);
        let labels: Vec<u32> = (0..n as u32).map(|i| i % k).collect();
        let flat = rows(&x);
        let moments = Moments::new(&LabelledFeatures::new(&flat, d, &labels, k as usize).unwrap(), Centering::Raw).unwrap();
        close(&[moments.residual()], &[direct_residual(&x, &moments)], 1e-10);
        // Singular values and vectors give Σ_yx back: u_cᵀ Σ_yx = s_c v_cᵀ.
        for c in 0..moments.rank() {
            let u = &moments.left_vectors()[c * k as usize..(c + 1) * k as usize];
            for j in 0..d {
                let product: f64 = (0..n).map(|i| u[labels[i] as usize] * x[(i, j)] / n as f64).sum();
                prop_assert!((product - moments.s_yx()[c] * moments.right_vectors()[c * d + j]).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn centred_moments_are_raw_moments_of_centred_features(seed: u64) {
        let (n, d, k) = (30, 5, 3);
        let x = normal(n, d, seed);
        let shifted: Vec<f64> = rows(&x).iter().enumerate().map(|(i, v)| v + (i % d) as f64).collect();
        let mean: Vec<f64> = (0..d).map(|j| shifted.iter().skip(j).step_by(d).sum::<f64>() / n as f64).collect();
        let centred: Vec<f64> = shifted.iter().enumerate().map(|(i, v)| v - mean[i % d]).collect();
        let labels: Vec<u32> = (0..n as u32).map(|i| i % k).collect();
        let of = |x: &[f64], centering| Moments::new(&LabelledFeatures::new(x, d, &labels, k as usize).unwrap(), centering).unwrap();
        let (a, b) = (of(&shifted, Centering::Centered), of(&centred, Centering::Raw));
        prop_assert_eq!(a.rank(), 2);
        close(a.s_yx(), &b.s_yx()[..2], 1e-12);
        close(&a.eigenvalues().unwrap(), &b.eigenvalues().unwrap(), 1e-11);
    }
}

#[test]
fn bad_input_is_named() {
    let view = |x: &'static [f64], dim, labels| LabelledFeatures::new(x, dim, labels, 2);
    insta::assert_snapshot!(view(&[1.0; 3], 2, &[0]).unwrap_err(), @"number of features = 3: must be 1 rows × 2");
    insta::assert_snapshot!(view(&[], 2, &[]).unwrap_err(), @"labelled features: no rows; a data set needs at least one");
    insta::assert_snapshot!(view(&[], 0, &[0]).unwrap_err(), @"dim = 0: must be positive");
    insta::assert_snapshot!(view(&[1.0], 1, &[2]).unwrap_err(), @"labelled features: row 0: label 2 is outside 0..2");
    let nan = view(&[1.0, 2.0, 3.0, f64::NAN], 2, &[0, 1]).unwrap();
    insta::assert_snapshot!(Moments::new(&nan, Centering::Raw).unwrap_err(), @"features: row 1, column 1 is NaN; every feature must be finite");
    let zero = view(&[0.0; 4], 2, &[0, 1]).unwrap();
    let error = Moments::new(&zero, Centering::Raw).unwrap_err();
    assert!(matches!(error, DataError::Setting { .. }), "{error}");
}
