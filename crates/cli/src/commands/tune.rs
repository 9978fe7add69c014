use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use isorate_results::{Store, write_atomic};
use isorate_train::{Experiment, Grids, Kind, Tuned, choose, plan_tuning};

use super::{EXPERIMENTS, Workshop, open};
use crate::args::Tune;
use crate::{Verdict, output};

pub fn run(arguments: &Tune) -> anyhow::Result<Verdict> {
    let (store, device) = (Store::open(&arguments.store)?, open(arguments.device));
    let workshop = Workshop { store: &store, device: &device, unfinished: &arguments.unfinished, again: false };
    let files = if arguments.files.is_empty() { with_step_sizes()? } else { arguments.files.clone() };
    // All are checked before the first is begun.
    let experiments: Vec<(&Path, Experiment, Grids)> = files
        .iter()
        .map(|file| {
            let experiment = Experiment::read(file)?;
            let grids = Grids::of(&experiment, arguments.scale.into())?;
            Ok((file.as_path(), experiment, grids))
        })
        .collect::<anyhow::Result<_>>()?;
    for (file, experiment, grids) in experiments {
        tune(file, &experiment, grids, arguments, &workshop)?;
    }
    Ok(Verdict::Passed)
}

/// The project's specifications of training experiments, by name.
fn with_step_sizes() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in fs_err::read_dir(EXPERIMENTS)? {
        let path = file?.path();
        let is = |extension: &str, path: &Path| path.extension().is_some_and(|found| found == extension);
        let chosen = path.file_stem().is_some_and(|stem| is("tuned", Path::new(stem)));
        if is("toml", &path) && !chosen && matches!(Experiment::read(&path)?.kind, Kind::Training(_)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn tune(file: &Path, experiment: &Experiment, mut grids: Grids, arguments: &Tune, workshop: &Workshop<'_>) -> anyhow::Result<()> {
    let mut rounds = 0;
    let tuned = loop {
        let tasks = plan_tuning(experiment, arguments.scale.into(), &grids, &arguments.images.origin)?;
        let tuned = choose(&grids, &workshop.ensure(experiment, &tasks)?);
        match grids.widened(&tuned, rounds) {
            Some(wider) => grids = wider,
            None => break tuned,
        }
        rounds += 1;
    };
    let mut text = String::new();
    for (case, key, choice) in tuned.choices() {
        for ((step_size, average), worst) in choice.step_sizes.iter().zip(&choice.average).zip(&choice.worst) {
            let mark = |chosen: f64, mark| if step_size.total_cmp(&chosen).is_eq() { mark } else { "" };
            let marks = [mark(choice.step_size, "  best average"), mark(choice.worst_step_size, "  best worst part")].concat();
            writeln!(text, "{case}  {key:8} {step_size:8}  {average:8.4}  {worst:8.4}{marks}")?;
        }
        if choice.at_edge() {
            output::message(&format!(
                "warning: a best step size of {key} in the case {case} is at the edge of its grid, which was made wider {rounds} \
                 times\nhint: begin with other optimizers.{key}.step_sizes in {}",
                file.display()
            ));
        }
    }
    output::data(&text)?;
    let path = Tuned::path(file);
    write_atomic(&path, tuned.beside(Tuned::read(file)?).to_toml(experiment).as_bytes())?;
    output::message(&format!("written: {}", path.display()));
    Ok(())
}
