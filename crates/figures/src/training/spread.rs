/// Mean and spread of a measurement over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// Sample standard deviation (divided by n − 1); `None` for one seed.
    pub(crate) deviation: Option<f64>,
    pub(crate) seeds: usize,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        if seeds == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / seeds as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, deviation: (seeds > 1).then(|| (squares / (seeds - 1) as f64).sqrt()), seeds })
    }

    /// In units of which `factor` are one of the old.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { mean: factor * self.mean, deviation: self.deviation.map(|deviation| factor * deviation), seeds: self.seeds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[0.5]), Some(Spread { mean: 0.5, deviation: None, seeds: 1 }));
        assert_eq!(Spread::of(&[1.0, 3.0]), Some(Spread { mean: 2.0, deviation: Some(2.0_f64.sqrt()), seeds: 2 }));
        assert_eq!(Spread::of(&[1.0, 3.0]).map(|spread| spread.times(2.0)), Spread::of(&[2.0, 6.0]));
    }
}
