use std::fmt::Write as _;

use isorate_results::{Outcome, Store};
use isorate_train::Experiment;

use super::{ensure, open, plan};
use crate::args::Run;
use crate::{Verdict, output};

pub fn run(arguments: &Run) -> anyhow::Result<Verdict> {
    let experiment = Experiment::read(&arguments.file)?;
    let mut tasks = plan(&arguments.file, &experiment, arguments.scale, &arguments.images.origin)?;
    if let Some(shard) = arguments.shard {
        let mut index = 0..;
        tasks.retain(|_| index.next().is_some_and(|i: usize| i % shard.count == shard.index));
    }
    let store = Store::open(&arguments.store)?;
    let runs = ensure(&experiment, &tasks, &store, &open(arguments.device))?;
    let mut text = String::new();
    for (task, run) in tasks.iter().zip(&runs) {
        let outcome = match &run.outcome {
            Outcome::Finished => "finished".to_owned(),
            Outcome::Diverged { step, .. } => format!("diverged at step {step}"),
            Outcome::Failed { step, .. } => format!("failed at step {step}"),
        };
        let path = store.path(&task.experiment, &run.header.run_id);
        writeln!(text, "{}  {}  {outcome}", path.display(), task.label)?;
    }
    output::data(&text)?;
    Ok(Verdict::Passed)
}
