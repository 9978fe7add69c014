//! The Gaussian mixture of the theory as a data set.

use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use crate::{DataError, Table, stream};

/// How far the priors' sum may be from 1.
const PRIOR_SUM_TOLERANCE: f64 = 1e-9;
/// Far above any use, and squares stay finite.
const LARGEST_SCALE: f64 = 1e90;
/// 2²⁷ values are 1 GiB.
const MOST_VALUES: usize = 1 << 27;

/// The data model of the paper: classes with priors p_c and means μ_c = μ e_c on the first coordinate axes of R^d, x | y = c ~
/// N(μ_c, σ² I_d).
///
/// Its moments are `Σ_yx = Σ_c μ p_c e_c e_cᵀ` and `Σ_xx = Σ_c μ² p_c e_c e_cᵀ + σ² I`: Condition 1 holds with `s_yx,c = μ p_c`
/// and `s_xx,c = μ² p_c + σ²`. The paper's means may be any orthogonal vectors of one length. A rotation of them is a rotation of
/// the data, and changes nothing for rules that commute with it (GD, NGD, SpecGD, Muon), but does for SignGD and Adam, which
/// prefer these axes.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianMixture {
    /// p_c, positive, with sum 1 (within 1e-9).
    pub priors: Vec<f64>,
    /// μ, the length of the class means, positive.
    pub mean_norm: f64,
    /// σ, the standard deviation of the noise in each coordinate, not negative.
    pub noise_std: f64,
    /// d, at least the number of classes; that number if absent.
    pub dim: Option<usize>,
}

impl GaussianMixture {
    /// The number of rows of each class among `rows`: `rows · p_c`, rounded by largest remainders (ties to the lower class).
    ///
    /// # Errors
    /// [`DataError::Setting`] for a setting outside its range, fewer than two rows for a class, or more than 2²⁷ values.
    pub fn class_counts(&self, rows: usize) -> Result<Vec<usize>, DataError> {
        self.check()?;
        let dim = self.dim.unwrap_or(self.priors.len());
        if rows.checked_mul(dim).is_none_or(|values| values > MOST_VALUES) {
            return Err(DataError::setting("rows", rows, format!("times {dim} features must be at most {MOST_VALUES} values")));
        }
        let exact: Vec<f64> = self.priors.iter().map(|prior| prior * rows as f64).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of rows")]
        let mut counts: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
        let missing = rows.saturating_sub(counts.iter().sum());
        for &class in order.iter().cycle().take(missing) {
            counts[class] += 1;
        }
        if let Some(class) = counts.iter().position(|&count| count < 2) {
            return Err(DataError::setting(
                "rows",
                rows,
                format!(
                    "leaves {} to class {class} with prior {}, and every class needs two\nhint: choose at least {}",
                    counts[class],
                    self.priors[class],
                    (2.0 / self.priors[class]).ceil()
                ),
            ));
        }
        Ok(counts)
    }

    /// A sample of `rows` rows, as features `x0`, `x1`, … and classes 0, 1, …
    ///
    /// The number of rows of each class is fixed ([`Self::class_counts`]), not drawn, so that every seed has the same imbalance
    /// and a rare class is never absent; their order is random. The empirical `Σ_yx` then has an error from the noise alone. Each
    /// row has a noise stream of its own, (`seed`, "gaussian mixture noise", row).
    ///
    /// # Errors
    /// [`DataError::Setting`] for a setting outside its range, fewer than two rows for a class, or more than 2²⁷ values;
    /// [`DataError::Table`] for more than 2,048 features.
    ///
    /// ```
    /// use isorate_data::GaussianMixture;
    /// let mixture = GaussianMixture { priors: vec![0.5, 0.3, 0.2], mean_norm: 2.0, noise_std: 1.0, dim: None };
    /// let table = mixture.sample(1_000, 0)?;
    /// assert_eq!((table.dim(), table.class_counts()), (3, vec![500, 300, 200]));
    /// # Ok::<(), isorate_data::DataError>(())
    /// ```
    pub fn sample(&self, rows: usize, seed: u64) -> Result<Table, DataError> {
        let counts = self.class_counts(rows)?;
        let dim = self.dim.unwrap_or(self.priors.len());
        let mut labels: Vec<u32> = (0u32..).zip(&counts).flat_map(|(class, &count)| vec![class; count]).collect();
        labels.shuffle(&mut stream(seed, "gaussian mixture labels", 0));
        let mut features = Vec::with_capacity(rows * dim);
        for (row, &label) in labels.iter().enumerate() {
            let mut rng = stream(seed, "gaussian mixture noise", row as u64);
            features.extend((0..dim).map(|feature| {
                let noise: f64 = StandardNormal.sample(&mut rng);
                let mean = if feature == label as usize { self.mean_norm } else { 0.0 };
                mean + self.noise_std * noise
            }));
        }
        Table::from_rows("gaussian mixture", self.priors.len(), dim, features, labels)
    }

    fn check(&self) -> Result<(), DataError> {
        let classes = self.priors.len();
        if classes < 2 {
            return Err(DataError::setting("priors", &self.priors, "must be at least two"));
        }
        if let Some(prior) = self.priors.iter().find(|prior| prior.is_nan() || **prior <= 0.0) {
            return Err(DataError::setting("priors", prior, "each must be positive"));
        }
        let sum: f64 = self.priors.iter().sum();
        if (sum - 1.0).abs() > PRIOR_SUM_TOLERANCE {
            return Err(DataError::setting(
                "priors",
                &self.priors,
                format!("must add up to 1, but add up to {sum}\nhint: divide each by the sum"),
            ));
        }
        if !(self.mean_norm > 0.0 && self.mean_norm <= LARGEST_SCALE) {
            return Err(DataError::setting("mean_norm", self.mean_norm, "must be positive and at most 1e90"));
        }
        if !(0.0..=LARGEST_SCALE).contains(&self.noise_std) {
            return Err(DataError::setting("noise_std", self.noise_std, "must be in [0, 1e90]"));
        }
        if self.dim.is_some_and(|dim| dim < classes) {
            return Err(DataError::setting(
                "dim",
                self.dim,
                format!(
                    "must be at least {classes}: so many orthogonal means need as many dimensions\nhint: leave it out for that number"
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Centering, LabelledFeatures, Moments};
    use proptest::prelude::*;

    fn mixture(priors: &[f64]) -> GaussianMixture {
        GaussianMixture { priors: priors.to_vec(), mean_norm: 2.0, noise_std: 0.5, dim: None }
    }

    /// The singular values of a large sample are those of the closed form, up to the sampling error.
    #[test]
    fn moments_converge_to_the_closed_form() {
        let (n, p, mu, sigma) = (40_000, [0.5, 0.3, 0.2], 2.0, 0.5);
        let mixture = GaussianMixture { priors: p.to_vec(), mean_norm: mu, noise_std: sigma, dim: Some(5) };
        let table = mixture.sample(n, 7).unwrap();
        let data = LabelledFeatures::new(table.features(), table.dim(), table.labels(), 3).unwrap();
        let moments = Moments::new(&data, Centering::Raw).unwrap();
        for (c, p) in p.into_iter().enumerate() {
            // An entry of Σ_yx is a sum of n p normals over n: standard deviation σ √(p/n). Five of them.
            let error = 5.0 * sigma * (p / n as f64).sqrt();
            assert!((moments.s_yx()[c] - mu * p).abs() < error, "s_yx {c}: {}", moments.s_yx()[c]);
            // (μ + σz)² has variance 4μ²σ² + 2σ⁴, and σ²z² has 2σ⁴.
            let variance = p * (4.0 * mu * mu * sigma * sigma + 2.0 * sigma.powi(4)) + (1.0 - p) * 2.0 * sigma.powi(4);
            let error = 5.0 * (variance / n as f64).sqrt();
            assert!((moments.s_xx()[c] - (mu * mu * p + sigma * sigma)).abs() < error, "s_xx {c}: {}", moments.s_xx()[c]);
        }
        assert!(moments.residual() < 0.02, "{}", moments.residual());
    }

    #[test]
    fn without_noise_the_rows_are_the_means() {
        let mixture = GaussianMixture { noise_std: 0.0, dim: Some(3), ..mixture(&[0.5, 0.5]) };
        let table = mixture.sample(4, 0).unwrap();
        for (x, &label) in table.features().chunks_exact(3).zip(table.labels()) {
            let expected: Vec<f64> = (0..3).map(|i| if i == label { 2.0 } else { 0.0 }).collect();
            assert_eq!(x, expected);
        }
    }

    proptest! {
        #[test]
        fn counts_are_the_shares_rounded(weights in prop::collection::vec(1u32..20, 2..7), rows in 400usize..3000) {
            let sum: u32 = weights.iter().sum();
            let mixture = mixture(&weights.iter().map(|&w| f64::from(w) / f64::from(sum)).collect::<Vec<_>>());
            let counts = mixture.class_counts(rows).unwrap();
            prop_assert_eq!(counts.iter().sum::<usize>(), rows);
            for (count, prior) in counts.iter().zip(&mixture.priors) {
                prop_assert!((*count as f64 - prior * rows as f64).abs() < 1.0 + 1e-9);
            }
        }
    }

    #[test]
    fn the_seed_is_enough_and_matters() {
        let sample = |seed| mixture(&[0.7, 0.3]).sample(20, seed).unwrap();
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1).features(), sample(2).features());
        assert_ne!(sample(1).labels(), sample(2).labels());
        assert_eq!(sample(1).class_counts(), sample(2).class_counts());
    }

    #[test]
    fn bad_settings_are_named() {
        let error = |mixture: GaussianMixture, rows| mixture.sample(rows, 0).unwrap_err();
        insta::assert_snapshot!(error(mixture(&[1.0]), 9), @"priors = [1.0]: must be at least two");
        insta::assert_snapshot!(error(mixture(&[1.0, 0.0]), 9), @"priors = 0.0: each must be positive");
        insta::assert_snapshot!(error(mixture(&[0.5, f64::NAN]), 9), @"priors = NaN: each must be positive");
        insta::assert_snapshot!(error(mixture(&[0.5, 0.4]), 9), @r"
        priors = [0.5, 0.4]: must add up to 1, but add up to 0.9
        hint: divide each by the sum
        ");
        insta::assert_snapshot!(error(mixture(&[0.9, 0.1]), 14), @r"
        rows = 14: leaves 1 to class 1 with prior 0.1, and every class needs two
        hint: choose at least 20
        ");
        let with = |mean_norm, noise_std, dim| GaussianMixture { mean_norm, noise_std, dim, ..mixture(&[0.5, 0.5]) };
        insta::assert_snapshot!(error(with(0.0, 1.0, None), 9), @"mean_norm = 0.0: must be positive and at most 1e90");
        insta::assert_snapshot!(error(with(1.0, -1.0, None), 9), @"noise_std = -1.0: must be in [0, 1e90]");
        insta::assert_snapshot!(error(with(1.0, f64::INFINITY, None), 9), @"noise_std = inf: must be in [0, 1e90]");
        insta::assert_snapshot!(error(with(1.0, 1.0, Some(1)), 9), @r"
        dim = Some(1): must be at least 2: so many orthogonal means need as many dimensions
        hint: leave it out for that number
        ");
        insta::assert_snapshot!(error(with(1.0, 1.0, Some(9000)), usize::MAX), @"rows = 18446744073709551615: times 9000 features must be at most 134217728 values");
        insta::assert_snapshot!(error(with(1.0, 1.0, Some(9000)), 9), @r"
        gaussian mixture: 9000 features: at most 2048 are taken: their second moments are a dense matrix
        hint: leave columns out with --ignore, make images smaller, or project the features first
        ");
    }
}
