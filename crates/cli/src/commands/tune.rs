use std::fmt::Write as _;

use isorate_results::{Store, write_atomic};
use isorate_train::{Experiment, Kind, Tuned, choose, plan_tuning};

use super::{ensure, open};
use crate::args::Tune;
use crate::{Verdict, output};

pub fn run(arguments: &Tune) -> anyhow::Result<Verdict> {
    let experiment = Experiment::read(&arguments.file)?;
    let tasks = plan_tuning(&experiment, arguments.scale.into(), &arguments.images.origin)?;
    let Kind::Training(training) = &experiment.kind else { unreachable!("plan_tuning accepts training only") };
    let runs = ensure(&experiment, &tasks, &Store::open(&arguments.store)?, &open(arguments.device))?;
    let tuned = choose(training, &runs);
    let mut text = String::new();
    for (key, choice) in tuned.choices() {
        for (step_size, score) in choice.step_sizes.iter().zip(&choice.validation) {
            let mark = if step_size.total_cmp(&choice.step_size).is_eq() { "  chosen" } else { "" };
            writeln!(text, "{key:8} {step_size:8}  {score:.4}{mark}")?;
        }
        if choice.at_edge() {
            output::message(&format!(
                "warning: the best step size of {key}, {}, is at the edge of its grid\nhint: widen optimizers.{key}.step_sizes in {}",
                choice.step_size,
                arguments.file.display()
            ));
        }
    }
    output::data(&text)?;
    let path = Tuned::path(&arguments.file);
    write_atomic(&path, tuned.to_toml(&experiment, arguments.scale.into()).as_bytes())?;
    output::message(&format!("written: {}", path.display()));
    Ok(Verdict::Passed)
}
