//! What a user sees while runs are made: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use isorate_results::Outcome;
use isorate_train::Event;

use crate::output;

/// Parts of the bar that one run takes.
const PARTS: u64 = 1000;

pub struct Progress {
    experiment: String,
    bar: Option<ProgressBar>,
    /// Label and finished parts of the runs that go on.
    current: Mutex<Vec<(String, u64)>>,
}

impl Progress {
    pub fn new(experiment: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(PARTS);
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3}% {elapsed}, {eta} left  {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(experiment.to_owned());
            bar
        });
        Self { experiment: experiment.to_owned(), bar, current: Mutex::default() }
    }

    pub fn see(&self, event: &Event) {
        match event {
            Event::Planned { total, found, left } => {
                if let Some(bar) = &self.bar {
                    bar.set_length((total - found) as u64 * PARTS);
                    bar.enable_steady_tick(Duration::from_millis(500));
                }
                if found < total {
                    let time = left.map(|left| format!(", about {}", duration(left))).unwrap_or_default();
                    self.line(&format!(
                        "{}: {found} of {total} runs are there, {} to make{time}",
                        self.experiment,
                        total - found
                    ));
                }
            }
            Event::Step { task, done, total } => {
                if let Some(bar) = &self.bar {
                    let parts = done * PARTS / (*total).max(1);
                    bar.inc(self.update(&task.label, Some(parts)));
                    bar.set_message(task.label.clone());
                }
            }
            Event::Finished { task, outcome, seconds } => {
                if let Some(bar) = &self.bar {
                    bar.inc(self.update(&task.label, None));
                }
                let end = match outcome {
                    Outcome::Finished => String::new(),
                    Outcome::Diverged { step, reason } => {
                        format!(", diverged at step {step}: {}", reason.lines().next().unwrap_or_default())
                    }
                    Outcome::Failed { step, reason } => {
                        format!(", failed at step {step}: {}", reason.lines().next().unwrap_or_default())
                    }
                };
                self.line(&format!("{}: {} ({seconds:.1} s){end}", self.experiment, task.label));
            }
            Event::Damaged { aside, reason } => {
                self.line(&format!("warning: {reason}\nhint: kept as {}; the run is made again", aside.display()));
            }
        }
    }

    /// How many parts a run has moved on; a run that ends has done them all.
    fn update(&self, label: &str, parts: Option<u64>) -> u64 {
        let mut current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = current.iter().position(|(other, _)| other == label);
        let before = at.map_or(0, |at| current[at].1);
        let now = parts.unwrap_or(PARTS);
        match (at, parts) {
            (Some(at), Some(_)) => current[at].1 = now,
            (Some(at), None) => drop(current.swap_remove(at)),
            (None, Some(_)) => current.push((label.to_owned(), now)),
            (None, None) => {}
        }
        now.saturating_sub(before)
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::message(text),
        }
    }
}

/// In the unit that fits.
fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..120 => format!("{} s", time.as_secs().max(1)),
        seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Which of several short works is being done; on a terminal only.
pub struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub fn new(works: usize) -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(works as u64);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
                bar.set_style(style);
            }
            bar
        }))
    }

    /// The next one begins.
    pub fn next(&self, name: &str) {
        if let Some(bar) = &self.0 {
            if bar.message().is_empty() {
                bar.tick();
            } else {
                bar.inc(1);
            }
            bar.set_message(name.to_owned());
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
