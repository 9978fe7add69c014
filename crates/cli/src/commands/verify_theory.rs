use isorate_figures::{Drawing, render};
use isorate_theory::{VerifyConfig, verify};
use isorate_train::check_run;

use crate::args::{Format, VerifyTheory};
use crate::{Verdict, output};

pub fn run(arguments: &VerifyTheory) -> anyhow::Result<Verdict> {
    let checks = verify(&VerifyConfig { sets: arguments.sets as usize, seed: arguments.seed, ..VerifyConfig::default() })?;
    match arguments.format {
        Format::Json => output::data(&format!("{}\n", serde_json::to_string_pretty(&checks)?))?,
        Format::Table => {
            if let Drawing::Table(table) = render("t1", &[check_run(&checks)?])? {
                output::table(&table)?;
            }
        }
    }
    let failed: Vec<&str> = checks.iter().filter(|check| !check.pass).map(|check| check.id.as_str()).collect();
    if failed.is_empty() {
        return Ok(Verdict::Passed);
    }
    output::message(&format!("{} of {} checks failed: {}", failed.len(), checks.len(), failed.join(", ")));
    Ok(Verdict::Failed)
}
