use crate::Error;
use crate::figure::Pair;
use crate::select::{Of, Selection, interpolate};

/// The trajectories of F2 under one rule.
pub(super) struct Components {
    /// `α_c` over time, by component.
    paths: Vec<Vec<Pair>>,
    priors: Vec<f64>,
    limits: Vec<f64>,
}

impl Components {
    pub(super) fn of(selection: &Selection<'_>, rule: &str, split: &str) -> Result<Self, Error> {
        let run = selection.single()?;
        let priors = selection.by_index(run, "mixture", "prior")?;
        let limits = selection.by_index(run, "mixture", "limit")?;
        if limits.len() != priors.len() {
            return Err(selection.missing(format!("limit for each of the {} priors", priors.len())));
        }
        let paths = (0..priors.len())
            .map(|component| {
                let group = component.to_string();
                selection.over_time(run, Of { optimizer: rule, split, metric: "alpha", group: &group })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { paths, priors, limits })
    }

    /// Largest (max − min)/mean of the components over the times at which none is above nine tenths of its limit.
    pub(super) fn unevenness(&self) -> Option<f64> {
        let times = self.paths.first()?.iter().map(|point| point.0).filter(|&time| time > 0.0);
        times
            .filter_map(|time| self.paths.iter().map(|path| interpolate(path, time)).collect::<Option<Vec<f64>>>())
            .filter(|alphas| alphas.iter().zip(&self.limits).all(|(alpha, limit)| *alpha <= 0.9 * limit))
            .filter_map(|alphas| {
                let mean = alphas.iter().sum::<f64>() / alphas.len() as f64;
                let low = alphas.iter().copied().fold(f64::INFINITY, f64::min);
                let high = alphas.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (mean > 0.0).then(|| (high - low) / mean)
            })
            .max_by(f64::total_cmp)
    }

    /// When a component reaches a fraction of its limit; the last time if it does not.
    fn time_to(&self, component: usize, fraction: f64) -> f64 {
        let path = &self.paths[component];
        let goal = fraction * self.limits[component];
        let Some(index) = path.iter().position(|point| point.1 >= goal) else {
            return path.last().map_or(0.0, |point| point.0);
        };
        let (t1, a1) = path[index];
        match index.checked_sub(1).map(|before| path[before]) {
            Some((t0, a0)) if a1 > a0 => t0 + (t1 - t0) * (goal - a0) / (a1 - a0),
            _ => t1,
        }
    }

    /// Over neighbours in the order of the priors, the smallest time of the rarer by the time of the more frequent class.
    pub(super) fn smallest_time_ratio(&self, fraction: f64) -> Option<f64> {
        let mut order: Vec<usize> = (0..self.priors.len()).collect();
        order.sort_by(|&a, &b| self.priors[b].total_cmp(&self.priors[a]));
        order
            .windows(2)
            .filter(|pair| self.priors[pair[0]] > self.priors[pair[1]])
            .map(|pair| self.time_to(pair[1], fraction) / self.time_to(pair[0], fraction))
            .min_by(f64::total_cmp)
    }

    /// Largest relative distance from the limit at the last time.
    pub(super) fn distance(&self) -> f64 {
        let ends = self.paths.iter().filter_map(|path| path.last());
        ends.zip(&self.limits).map(|(end, limit)| (end.1 / limit - 1.0).abs()).fold(0.0, f64::max)
    }
}
