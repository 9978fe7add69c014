use std::fmt::Write as _;

use isorate_results::{Outcome, Store};
use isorate_train::{Experiment, State};

use super::{Workshop, open, plan};
use crate::args::Run;
use crate::{Verdict, output};

pub fn run(arguments: &Run) -> anyhow::Result<Verdict> {
    let experiment = Experiment::read(&arguments.file)?;
    let mut tasks = plan(&arguments.file, &experiment, arguments.scale, &arguments.images.origin)?;
    if let Some(shard) = arguments.shard {
        let mut index = 0..;
        tasks.retain(|_| index.next().is_some_and(|i: usize| i % shard.count == shard.index));
    }
    let (store, device) = (Store::open(&arguments.store)?, open(arguments.device));
    let workshop = Workshop { store: &store, device: &device, unfinished: &arguments.unfinished, again: arguments.resume };
    let mut text = String::new();
    if arguments.list {
        for (task, state) in tasks.iter().zip(workshop.runner(&|_| ()).states(&tasks)?) {
            let state = match state {
                State::There(outcome) => ended(&outcome),
                State::Missing { step: Some(step) } => format!("interrupted after step {step}"),
                State::Missing { step: None } => "missing".to_owned(),
            };
            writeln!(text, "{}  {state}", task.label)?;
        }
        output::data(&text)?;
        return Ok(Verdict::Passed);
    }
    let runs = workshop.ensure(&experiment, &tasks)?;
    for (task, run) in tasks.iter().zip(&runs) {
        let path = store.path(&task.experiment, &run.header.run_id);
        writeln!(text, "{}  {}  {}", path.display(), task.label, ended(&run.outcome))?;
    }
    output::data(&text)?;
    Ok(Verdict::Passed)
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Finished => "finished".to_owned(),
        Outcome::Diverged { step, .. } => format!("diverged at step {step}"),
        Outcome::Failed { step, .. } => format!("failed at step {step}"),
    }
}
