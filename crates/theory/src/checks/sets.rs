//! Parameter sets that satisfy the conditions of Theorems 1 and 2.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::random::{Purpose, stream};
use crate::ratios::TheoremSet;

const CORNER_CLASSES: [usize; 7] = [3, 4, 6, 10, 30, 100, 300];
const CORNER_SNR: [f64; 5] = [1e-6, 1e6, 1.0, 1e-2, 1e2];
const CORNER_SHARE: [f64; 3] = [1.0, 0.1, 1e-6];
/// μ = 1, the geometric middle of \[1, k/3\], and k/3.
const CORNER_MEANS: usize = 3;
const CORNERS: usize = CORNER_CLASSES.len() * CORNER_SNR.len() * CORNER_SHARE.len() * CORNER_MEANS * Rest::ALL.len();

/// How the probability outside the minority class is spread over the other k − 1 classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rest {
    /// All equal.
    Equal,
    /// One class takes all, the others are as rare as the minority.
    One,
    /// Each class half of the one before.
    Geometric,
    /// Half of the classes ten times as frequent as the other half.
    TwoLevels,
    /// A uniform draw from the simplex.
    Random,
}

impl Rest {
    /// The deterministic shapes.
    const ALL: [Self; 4] = [Self::Equal, Self::One, Self::Geometric, Self::TwoLevels];

    fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::One => "one dominant",
            Self::Geometric => "geometric",
            Self::TwoLevels => "two levels",
            Self::Random => "random",
        }
    }

    fn weights(self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let raw: Vec<f64> = (0..count)
            .map(|index| match self {
                Self::Equal => 1.0,
                Self::One => f64::from(u8::from(index == 0)),
                Self::Geometric => 0.5_f64.powf(index as f64),
                Self::TwoLevels => {
                    if 2 * index < count {
                        10.0
                    } else {
                        1.0
                    }
                }
                // Normalized exponential variables are uniform on the simplex; 1 − u is in (0, 1].
                Self::Random => -(1.0 - rng.random::<f64>()).ln(),
            })
            .collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|weight| weight / sum).collect()
    }
}

/// A parameter set and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub set: TheoremSet,
    rest: Rest,
}

impl Sample {
    /// The set in words.
    pub(crate) fn describe(&self) -> String {
        let share = self.set.priors[0] / self.set.largest_minority();
        let place = if share > 1.0 - 1e-9 { "at its bound".to_owned() } else { format!("{share:.2e} of its bound") };
        format!(
            "k = {}, μ = {}, SNR = {:.3e}, p_m = {:.4e} ({place}), other priors {}",
            self.set.priors.len(),
            (1e4 * self.set.mean_norm).round() / 1e4,
            self.set.snr(),
            self.set.priors[0],
            self.rest.name()
        )
    }
}

/// Set `index` of `count`, from its own stream of (seed, purpose): independent of the other sets and of the order of
/// evaluation. The first sets, up to half of them, enumerate corners; the rest is random.
pub(crate) fn sample(seed: u64, purpose: Purpose, index: usize, count: usize) -> Sample {
    let mut rng = stream(seed, purpose, index);
    let corners = count.div_ceil(2).min(CORNERS);
    let sample = if index < corners { corner(index * CORNERS / corners, &mut rng) } else { random(&mut rng) };
    debug_assert!(sample.set.satisfies_conditions(), "{sample:?}");
    sample
}

/// Corner number `number` of the product of all corner values; number 0 has the fewest classes and p_m at its bound.
fn corner(number: usize, rng: &mut ChaCha8Rng) -> Sample {
    let mut left = number;
    let mut pick = |count: usize| {
        let choice = left % count;
        left /= count;
        choice
    };
    let rest = Rest::ALL[pick(Rest::ALL.len())];
    let share = CORNER_SHARE[pick(CORNER_SHARE.len())];
    let snr = CORNER_SNR[pick(CORNER_SNR.len())];
    let mean = pick(CORNER_MEANS);
    let classes = CORNER_CLASSES[pick(CORNER_CLASSES.len())];
    let largest = classes as f64 / 3.0;
    let mean_norm = match mean {
        0 => 1.0,
        1 => largest.sqrt(),
        _ => largest,
    };
    build(classes, mean_norm, snr, share, rest, rng)
}

/// A random set: k log-uniform from 3 to 200, μ at 1, at k/3 or uniform between, SNR log-uniform from 1e-4 to 1e6, p_m at its
/// bound, uniform below it, or log-uniform down to 1e-12 of it, and any shape of the other priors.
fn random(rng: &mut ChaCha8Rng) -> Sample {
    let exponent: f64 = rng.random_range(3.0_f64.ln()..200.0_f64.ln());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number from 3 to 200")]
    let classes = exponent.exp().floor().max(3.0) as usize;
    let largest = classes as f64 / 3.0;
    let mean_norm = match rng.random_range(0..4) {
        0 => 1.0,
        1 => largest,
        _ => 1.0 + (largest - 1.0) * rng.random::<f64>(),
    };
    let snr = 10.0_f64.powf(rng.random_range(-4.0..6.0));
    let share = match rng.random_range(0..3) {
        0 => 1.0,
        1 => 1.0 - rng.random::<f64>(),
        _ => 10.0_f64.powf(rng.random_range(-12.0..0.0)),
    };
    let rest = match rng.random_range(0..8) {
        index @ 0..4 => Rest::ALL[index],
        _ => Rest::Random,
    };
    build(classes, mean_norm, snr, share, rest, rng)
}

fn build(classes: usize, mean_norm: f64, snr: f64, share: f64, rest: Rest, rng: &mut ChaCha8Rng) -> Sample {
    let k = classes as f64;
    // k/3 is rounded: step down if three times it exceeds k.
    let mean_norm = if 3.0 * mean_norm > k { mean_norm.next_down() } else { mean_norm };
    let mut set = TheoremSet { mean_norm, variance: mean_norm * mean_norm / snr, priors: vec![0.0; classes] };
    let minority = share * set.largest_minority();
    set.priors[0] = minority;
    // Every class has at least the minority's share; what is left is spread by the weights.
    let spread = 1.0 - k * minority;
    for (prior, weight) in set.priors[1..].iter_mut().zip(rest.weights(classes - 1, rng)) {
        *prior = minority + spread * weight;
    }
    Sample { set, rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sets_satisfy_the_conditions() {
        for purpose in [Purpose::TheoremOne, Purpose::TheoremTwo] {
            for seed in [0, 1, 99] {
                for index in 0..4000 {
                    let sample = sample(seed, purpose, index, 4000);
                    assert!(sample.set.satisfies_conditions(), "{sample:?}");
                }
            }
        }
    }

    #[test]
    fn corners_are_all_there_and_spread_when_there_are_few() {
        let distinct = |count: usize| {
            let mut texts: Vec<String> = (0..count.div_ceil(2).min(CORNERS))
                .map(|index| sample(0, Purpose::TheoremOne, index, count).describe())
                .collect();
            texts.sort();
            texts.dedup();
            texts.len()
        };
        // k = 3 has one mean norm instead of three, and geometric, two-level and equal shapes differ for k ≥ 3.
        assert!(distinct(4000) >= CORNERS - 2 * CORNERS / CORNER_CLASSES.len() - 1, "{}", distinct(4000));
        assert_eq!(distinct(2), 1);
        let few: Vec<usize> = (0..20).map(|index| sample(0, Purpose::TheoremOne, index, 40).set.priors.len()).collect();
        assert!(few.contains(&3) && few.contains(&300), "{few:?}");
    }

    #[test]
    fn the_conditions_are_used_up_to_their_bounds() {
        let all: Vec<TheoremSet> = (0..4000).map(|index| sample(0, Purpose::TheoremTwo, index, 4000).set).collect();
        let any = |test: &dyn Fn(&TheoremSet) -> bool| all.iter().any(test);
        assert!(any(&|set| set.mean_norm <= 1.0));
        assert!(any(&|set| set.mean_norm > 30.0 && set.priors.len() as f64 - 3.0 * set.mean_norm < 1e-9));
        assert!(any(&|set| set.priors[0] >= set.largest_minority() * (1.0 - 1e-15)));
        assert!(any(&|set| set.priors[0] < 1e-11 * set.largest_minority()));
        assert!(any(&|set| set.priors.iter().any(|p| *p > 0.99)));
        assert!(any(&|set| set.snr() > 1e5) && any(&|set| set.snr() < 1e-3));
    }
}
