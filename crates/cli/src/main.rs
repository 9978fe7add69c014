//! The isorate command line: reproduce, check and draw the spectral-optimizer study on imbalanced data.

mod args;
mod commands;
mod output;
mod progress;
mod provenance;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};

/// How a command ended that did what it was asked to.
enum Verdict {
    /// All is well: exit code 0.
    Passed,
    /// A check failed, and the output says which: exit code 1.
    Failed,
}

/// Exit code of wrong use or input.
const EXIT_INPUT: u8 = 2;
/// Exit code after Ctrl-C, as shells give it.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Figures(arguments) => commands::figures::run(&arguments),
        Command::VerifyTheory(arguments) => commands::verify_theory::run(&arguments),
        Command::Trajectory(arguments) => commands::trajectory::run(&arguments),
        Command::Diagnose(arguments) => commands::diagnose::run(&arguments),
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Tune(arguments) => commands::tune::run(&arguments),
        Command::Replay(arguments) => commands::replay::run(&arguments),
        Command::Fetch(arguments) => commands::fetch::run(&arguments),
        Command::Claims(arguments) => commands::claims::run(&arguments),
        Command::Costs(arguments) => commands::costs::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Data(command) => commands::data::run(&command),
    };
    match result {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Err(error) => {
            output::error(&error);
            let interrupted = matches!(error.downcast_ref(), Some(isorate_train::Error::Interrupted));
            ExitCode::from(if interrupted { EXIT_INTERRUPTED } else { EXIT_INPUT })
        }
    }
}
