//! Step sizes chosen on validation data, and the file that holds the choice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use isorate_results::Run;
use serde::Deserialize;

use crate::Error;
use crate::spec::{Context, Experiment, Kind, Scale};

/// How often a grid is made wider on account of one optimum at its edge.
const MOST_ROUNDS: usize = 4;

/// The step sizes to try: by case, then by optimizer, increasing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grids(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

/// The step sizes chosen for an experiment: by case, then by optimizer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuned(BTreeMap<String, BTreeMap<String, Choice>>);

/// The choice for one optimizer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The step size that is best by the average: accuracy over all validation rows; for text, minus the mean loss.
    pub step_size: f64,
    /// The step size that is best by the worst part: the worst group or, without groups, class; for text, minus the loss of the rarest
    /// tokens.
    pub worst_step_size: f64,
    /// Step sizes that were tried.
    pub step_sizes: Vec<f64>,
    /// The mean over the tuning seeds at each, by the average; a run that did not reach its end counts as the worst there is.
    pub average: Vec<f64>,
    /// The same by the worst part.
    pub worst: Vec<f64>,
}

impl Choice {
    /// Whether a best step size is the smallest or the largest that was tried: the grid should then be wider.
    pub fn at_edge(&self) -> bool {
        self.edges() != [false, false]
    }

    /// Whether a best step size is the smallest, and the largest, that was tried.
    fn edges(&self) -> [bool; 2] {
        let chosen = [self.step_size, self.worst_step_size];
        [self.step_sizes.first(), self.step_sizes.last()].map(|edge| edge.is_some_and(|edge| chosen.contains(edge)))
    }
}

impl Grids {
    /// Those of a specification, the same for each case; none for an experiment without step sizes.
    ///
    /// # Errors
    /// A scale that the experiment does not have.
    pub fn of(experiment: &Experiment, scale: Scale) -> Result<Self, Error> {
        let Kind::Training(training) = &experiment.kind else {
            return Err(experiment.context().error("kind", "only training experiments have step sizes to choose"));
        };
        let settings = training.at(scale).ok_or_else(|| experiment.no_scale(scale))?;
        let grids = training.optimizers.iter().map(|optimizer| (optimizer.key.clone(), optimizer.step_sizes.clone()));
        let grids: BTreeMap<String, Vec<f64>> = grids.collect();
        Ok(Self(settings.cases.iter().map(|case| (case.key.clone(), grids.clone())).collect()))
    }

    pub(crate) fn get(&self, case: &str, optimizer: &str) -> &[f64] {
        self.0.get(case).and_then(|grids| grids.get(optimizer)).map_or(&[], Vec::as_slice)
    }

    /// The grids with one more step size at each edge that was chosen, as far from the edge as its neighbour; `None` when every
    /// optimum lies inside, or after the last of `round` rounds, counted from 0.
    #[must_use]
    pub fn widened(&self, tuned: &Tuned, round: usize) -> Option<Self> {
        if round >= MOST_ROUNDS {
            return None;
        }
        let mut wider = self.clone();
        for (case, key, choice) in tuned.choices() {
            let Some(grid) = wider.0.get_mut(case).and_then(|grids| grids.get_mut(key)).filter(|grid| grid.len() > 1) else {
                continue;
            };
            let [low, high] = choice.edges();
            if high {
                let last = grid.len() - 1;
                grid.push(rounded(grid[last] * grid[last] / grid[last - 1]));
            }
            if low {
                grid.insert(0, rounded(grid[0] * grid[0] / grid[1]));
            }
        }
        (wider != *self).then_some(wider)
    }
}

/// To two digits, so that a grid of 1, 3, 10 goes on with 33 and not with 33.333….
fn rounded(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

impl Tuned {
    /// The file beside a specification that holds its choices: `f1.toml` has `f1.tuned.toml`.
    pub fn path(specification: &Path) -> PathBuf {
        specification.with_extension("tuned.toml")
    }

    /// Reads the choices beside a specification; none if there is no such file.
    pub fn read(specification: &Path) -> Result<Self, Error> {
        let path = Self::path(specification);
        if !path.exists() {
            return Ok(Self::default());
        }
        let file = path.display().to_string();
        let context = Context::new(&file);
        let choices: BTreeMap<String, BTreeMap<String, Choice>> = context.toml(&fs_err::read_to_string(&path)?)?;
        for (case, choices) in &choices {
            for (key, choice) in choices {
                for (name, value) in [("step_size", choice.step_size), ("worst_step_size", choice.worst_step_size)] {
                    context.positive(&format!("{case}.{key}.{name}"), value)?;
                }
            }
        }
        Ok(Self(choices))
    }

    /// Whether there is a step size for every case and optimizer of a scale: chosen, or the only one of its grid.
    pub fn covers(&self, experiment: &Experiment, scale: Scale) -> bool {
        let Kind::Training(training) = &experiment.kind else { return true };
        let cases = training.at(scale).into_iter().flat_map(|settings| &settings.cases);
        let mut pairs = cases.flat_map(|case| training.optimizers.iter().map(move |optimizer| (case, optimizer)));
        pairs.all(|(case, optimizer)| optimizer.step_sizes.len() == 1 || self.get(&case.key, &optimizer.key).is_some())
    }

    pub(crate) fn get(&self, case: &str, optimizer: &str) -> Option<&Choice> {
        self.0.get(case)?.get(optimizer)
    }

    /// All choices: case, optimizer, choice.
    pub fn choices(&self) -> impl Iterator<Item = (&str, &str, &Choice)> {
        self.0.iter().flat_map(|(case, choices)| choices.iter().map(move |(key, choice)| (case.as_str(), key.as_str(), choice)))
    }

    /// These choices, and of `others` those of other cases: another scale has cases of its own.
    #[must_use]
    pub fn beside(mut self, others: Self) -> Self {
        for (case, choices) in others.0 {
            self.0.entry(case).or_insert(choices);
        }
        self
    }

    /// The text of the file.
    pub fn to_toml(&self, experiment: &Experiment) -> String {
        let mut text = format!(
            "# Generated by `isorate tune` for {}; do not edit.\n\
             # By case and optimizer, on validation data at the end of training, averaged over the tuning seeds: step_size is best by the\n\
             # average (accuracy over all rows; for text minus the mean loss), worst_step_size by the worst group, class or tokens. The lists have\n\
             # what was measured at every step size that was tried.\n",
            experiment.id
        );
        let list = |values: &[f64]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(", ");
        for (case, key, choice) in self.choices() {
            let Choice { step_size, worst_step_size, step_sizes, average, worst } = choice;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[{case}.{key}]\nstep_size = {step_size:?}\nworst_step_size = {worst_step_size:?}\nstep_sizes = {step_sizes:?}\n\
                 average = [{}]\nworst = [{}]\n",
                list(average),
                list(worst),
            );
        }
        text
    }
}

/// Chooses for each case and optimizer the step sizes with the best mean criteria over the tuning runs; of equals, that which is
/// better by the other criterion, and then the smallest.
///
/// `runs` holds the finished tuning runs, in any order; runs at other step sizes are passed over.
pub fn choose(grids: &Grids, runs: &[Run]) -> Tuned {
    let mut tuned = Tuned::default();
    for (case, optimizers) in &grids.0 {
        let choices = tuned.0.entry(case.clone()).or_default();
        for (key, grid) in optimizers {
            let of = |step_size: f64| {
                let optimizer = |run: &&Run| {
                    let spec = &run.header.spec;
                    spec["case"] == **case
                        && spec["optimizer"]["key"] == **key
                        && spec["optimizer"]["step_size"] == step_size
                        && spec["optimizer"]["selection"] == "tuning"
                };
                runs.iter().filter(optimizer).map(scores).collect::<Vec<[f64; 2]>>()
            };
            let scores: Vec<Vec<[f64; 2]>> = grid.iter().map(|&step_size| of(step_size)).collect();
            let [average, worst] = [0, 1].map(|criterion| {
                let mean = |scores: &Vec<[f64; 2]>| match scores.len() {
                    0 => NOT_REACHED,
                    n => scores.iter().map(|score| score[criterion]).sum::<f64>() / n as f64,
                };
                scores.iter().map(mean).collect::<Vec<f64>>()
            });
            let (step_size, worst_step_size) = (grid[first_largest(&average, &worst)], grid[first_largest(&worst, &average)]);
            let choice = Choice { step_size, worst_step_size, step_sizes: grid.clone(), average, worst };
            choices.insert(key.clone(), choice);
        }
    }
    tuned
}

/// Where a run did not reach its end. Smaller than any accuracy, and than minus any loss that a trained network has.
const NOT_REACHED: f64 = -100.0;

/// The place of the largest value; of equals, that with the largest of `others`; of equals again, the first.
fn first_largest(values: &[f64], others: &[f64]) -> usize {
    let mut best = 0;
    for i in 1..values.len() {
        if (values[i], others[i]) > (values[best], others[best]) {
            best = i;
        }
    }
    best
}

/// The average and the worst part on validation data at the end of a run.
fn scores(run: &Run) -> [f64; 2] {
    let last = |metric: &str, group: &str| run.series("validation", metric, group).last().map(|record| record.value);
    if let Some(average) = last("accuracy", "all") {
        let worst = last("accuracy", "worst-group").or_else(|| last("accuracy", "worst-class"));
        return [average, worst.unwrap_or(average)];
    }
    let Some(average) = last("loss", "all") else { return [NOT_REACHED; 2] };
    let rarest = (0..100).rev().find_map(|bin| last("loss", &format!("bin-{bin}")));
    [-average, -rarest.unwrap_or(average)]
}

#[cfg(test)]
mod tests {
    use isorate_results::{Header, Outcome, Provenance, Record};
    use serde_json::json;

    use super::*;

    fn run(step_size: f64, seed: u64, accuracies: Option<[f64; 2]>) -> Run {
        let optimizer = json!({ "key": "muon", "step_size": step_size, "selection": "tuning" });
        let spec = json!({ "case": "a", "seed": seed, "optimizer": optimizer });
        let record = |group: &str, value| Record::at_step(9).split("validation").metric("accuracy").group(group).value(value);
        let records = accuracies.map(|[all, worst]| vec![record("all", all), record("worst-group", worst)]).unwrap_or_default();
        Run::new(Header::new("x", "default", seed, spec, Provenance::default()).unwrap(), Outcome::Finished, records)
    }

    fn grids(grid: &[f64]) -> Grids {
        Grids([("a".to_owned(), [("muon".to_owned(), grid.to_vec())].into())].into())
    }

    #[test]
    fn the_best_means_are_chosen_and_an_edge_widens_the_grid() {
        let runs = [
            run(0.1, 0, Some([0.5, 0.1])),
            run(0.1, 1, Some([0.7, 0.3])),
            run(0.3, 0, Some([0.6, 0.4])),
            run(0.3, 1, None),
            run(0.01, 0, Some([0.6, 0.1])),
            run(0.03, 1, Some([0.6, 0.2])),
        ];
        let grids = grids(&[0.03, 0.1, 0.3]);
        let tuned = choose(&grids, &runs);
        let choice = tuned.get("a", "muon").unwrap();
        assert_eq!((choice.step_size, choice.worst_step_size), (0.03, 0.03), "of equals that with the better worst part");
        assert!((choice.average[1] - 0.6).abs() < 1e-12);
        assert!(choice.average[2] < -40.0, "a seed that did not reach its end counts");
        let wider = grids.widened(&tuned, 0).unwrap();
        assert_eq!(wider.get("a", "muon"), [0.009, 0.03, 0.1, 0.3]);
        assert_eq!(grids.widened(&tuned, MOST_ROUNDS), None);
        assert_eq!(wider.widened(&choose(&wider, &runs), 1), None, "the optimum lies inside");
    }

    #[test]
    fn the_file_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let specification = folder.path().join("f1.toml");
        let tuned = choose(&grids(&[0.1, 0.3]), &[run(0.3, 0, Some([0.5, 0.25]))]);
        let text = include_str!("../../../paper/experiments/f2.toml");
        let experiment = Experiment::parse(text, "f1", "f1.toml").unwrap();
        fs_err::write(Tuned::path(&specification), tuned.to_toml(&experiment)).unwrap();
        assert_eq!(Tuned::read(&specification).unwrap(), tuned);
        fs_err::write(Tuned::path(&specification), "[a.muon]\nstep_size = -1.0\n").unwrap();
        assert!(Tuned::read(&specification).is_err());
        let other = Tuned([("b".to_owned(), BTreeMap::new()), ("a".to_owned(), BTreeMap::new())].into());
        assert_eq!(tuned.clone().beside(other).0.len(), 2);
    }
}
