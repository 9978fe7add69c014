//! Diagnosis of the user's own data.

mod text;

use std::path::Path;

use isorate_data::{TableOptions, Treatment, read_table_file};
use isorate_figures::{Drawing, render};
use isorate_results::write_atomic;
use isorate_train::{DiagnosisConfig, DiagnosisReport, Source, diagnose};

use super::check_writable;
use crate::args::{Diagnose, Features, Format};
use crate::{Verdict, output};

pub fn run(arguments: &Diagnose) -> anyhow::Result<Verdict> {
    if let Some(out) = &arguments.out {
        check_writable(out)?;
    }
    let config = DiagnosisConfig {
        step: arguments.step,
        seed: arguments.seed,
        treatment: arguments.features.map(treatment),
        eta: arguments.step_size,
    };
    let report = diagnose(&source(arguments)?, &config)?;
    match arguments.format {
        Format::Json => output::data(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
        Format::Table => output::data(&text::text(&report))?,
    }
    if let Some(out) = &arguments.out {
        draw(&report, out)?;
    }
    Ok(Verdict::Passed)
}

fn treatment(features: Features) -> Treatment {
    match features {
        Features::Raw => Treatment::Raw,
        Features::Centered => Treatment::Centered,
        Features::Standardized => Treatment::Standardized,
    }
}

/// A name has no extension and no folder, and there is no file of that name; everything else is a file.
fn source(arguments: &Diagnose) -> anyhow::Result<Source> {
    let path = Path::new(&arguments.data);
    let is_name = path.extension().is_none() && path.components().count() == 1 && !path.is_file();
    if is_name {
        return Ok(Source::named(&arguments.data, &arguments.images.origin)?);
    }
    let options = TableOptions { label: &arguments.label, ignore: &arguments.ignore };
    let (table, images) = read_table_file(path, &options)?;
    Ok(Source::of_table(table, images))
}

fn draw(report: &DiagnosisReport, out: &Path) -> anyhow::Result<()> {
    if let Drawing::Figure(images) = render("d1", &[report.run()?])? {
        for (extension, bytes) in [("svg", images.svg.into_bytes()), ("png", images.png), ("pdf", images.pdf)] {
            let path = out.join(format!("diagnosis.{extension}"));
            write_atomic(&path, &bytes)?;
            output::message(&path.display().to_string());
        }
    }
    Ok(())
}
