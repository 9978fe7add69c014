use std::process::{Command, Stdio};

use anyhow::Context as _;
use isorate_bench::{Effort, Measurement, Work, measure, peak_mib, select, works};
use isorate_figures::{Align, Cell, Column, Table};

use crate::args::{Bench, Format};
use crate::progress::Spinner;
use crate::{Verdict, output};

/// candle reads the number of threads from here, once, when it is first needed.
const THREADS: &str = "RAYON_NUM_THREADS";

pub fn run(arguments: &Bench) -> anyhow::Result<Verdict> {
    if let Some(name) = &arguments.peak_memory_of {
        let works = works();
        let work = works.iter().find(|work| work.name() == name).with_context(|| format!("no work is called `{name}`"))?;
        output::data(&format!("{}\n", serde_json::to_string(&peak_mib(work)?)?))?;
        return Ok(Verdict::Passed);
    }
    let chosen = select(&arguments.filters)?;
    if arguments.list {
        let names: Vec<&str> = chosen.iter().map(Work::name).collect();
        output::data(&(names.join("\n") + "\n"))?;
        return Ok(Verdict::Passed);
    }
    if let Some(threads) = arguments.threads.map(|threads| threads.to_string())
        && std::env::var(THREADS).ok().as_ref() != Some(&threads)
    {
        return again_with(&threads);
    }
    let spinner = Spinner::new(chosen.len());
    let mut measurements = measure(&chosen, &Effort::default(), |name| spinner.next(name))?;
    for (work, measurement) in chosen.iter().zip(&mut measurements) {
        if work.is_training_step() {
            measurement.peak_mib = peak_of_process(work, measurement.threads)?;
        }
    }
    drop(spinner);
    match arguments.format {
        Format::Json => output::data(&json(&measurements)?)?,
        Format::Table => {
            output::table(&table(&measurements))?;
            if let Some(first) = measurements.first() {
                output::message(&format!("{} of {} works, {} threads", measurements.len(), works().len(), first.threads));
            }
        }
    }
    Ok(Verdict::Passed)
}

/// The peak memory of a process that does nothing but this work.
fn peak_of_process(work: &Work, threads: usize) -> anyhow::Result<Option<f64>> {
    let child = this_program()?
        .args(["bench", "--peak-memory-of", work.name()])
        .env(THREADS, threads.to_string())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{}: its memory cannot be measured", work.name()))?;
    anyhow::ensure!(child.status.success(), "{}: its memory cannot be measured: {}", work.name(), child.status);
    serde_json::from_slice(&child.stdout).with_context(|| format!("{}: no peak memory was printed", work.name()))
}

fn this_program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("this program does not find itself")?))
}

/// The same call in a process that has the number of threads from its start.
fn again_with(threads: &str) -> anyhow::Result<Verdict> {
    let mut program = this_program()?;
    let status = program
        .args(std::env::args_os().skip(1))
        .env(THREADS, threads)
        .status()
        .with_context(|| format!("{}: cannot be started", program.get_program().display()))?;
    if status.success() {
        return Ok(Verdict::Passed);
    }
    // It has said why.
    std::process::exit(status.code().unwrap_or_else(|| crate::EXIT_INTERRUPTED.into()));
}

fn json(measurements: &[Measurement]) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(measurements)?))
}

fn table(measurements: &[Measurement]) -> Table {
    Table {
        caption: "Medians of rounds in which the work and a matrix product take turns".into(),
        columns: vec![
            Column::new("work", Align::Left),
            Column::new("ms", Align::Right),
            Column::new("GFLOP/s", Align::Right),
            Column::new("of the matrix product", Align::Right),
            Column::new("peak MiB", Align::Right),
        ],
        rows: measurements
            .iter()
            .map(|measurement| {
                vec![
                    Cell::text(measurement.work.as_str()),
                    Cell::number(Some(measurement.milliseconds)),
                    Cell::number(measurement.gflops),
                    Cell::number(measurement.fraction_of_matmul),
                    Cell::number(measurement.peak_mib),
                ]
            })
            .collect(),
        headings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> Vec<Measurement> {
        let measurement = |work: &str, milliseconds, gflops, fraction_of_matmul, peak_mib| Measurement {
            work: work.into(),
            milliseconds,
            gflops,
            fraction_of_matmul,
            threads: 2,
            peak_mib,
        };
        vec![
            measurement("matmul/1024x1024", 9.876_54, Some(217.4), Some(1.0), None),
            measurement("orthogonalize/newton-schulz/512x784", 20.5, Some(265.98), Some(1.223_4), None),
            measurement("optimizer/sgd", 0.243_21, None, None, None),
            measurement("train/resnet18/sgd", 1389.2, None, None, Some(475.25)),
        ]
    }

    #[test]
    fn tables() {
        insta::assert_snapshot!(table(&fixed()).markdown());
    }

    #[test]
    fn json_is_the_contract() {
        insta::assert_snapshot!(json(&fixed()).unwrap());
    }
}
