//! What a user sees of a fetch: a bar with bytes and rate on a terminal, a line for each file elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use isorate_hub::{Event, Progress};

use crate::output;

#[derive(Default)]
pub struct Watch(Mutex<State>);

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    /// Bytes of the files that are done.
    done: u64,
    /// The file that is being downloaded: when it is read again to be checked, the bar must not count it twice.
    downloading: String,
}

impl Watch {
    /// A source is done, or its fetch has failed.
    pub fn clear(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A source is done.
    pub fn end(&self, text: &str) {
        self.clear();
        output::message(text);
    }
}

impl State {
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::message(text),
        }
    }

    fn at(&self, bytes: u64, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.done + bytes);
            bar.set_message(message);
        }
    }

    fn begin(&mut self, source: &str, bytes: u64) {
        self.done = 0;
        self.bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(bytes);
            let form = "{prefix} {bar:30} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left  {msg}";
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style);
            }
            bar.set_prefix(source.to_owned());
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
    }
}

impl Progress for Watch {
    fn see(&self, event: &Event<'_>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *event {
            Event::Queued { source } => state.line(&format!("{source}: another process fetches it; waiting for that")),
            Event::Begun { source, present, missing } => state.begin(source, present + missing),
            Event::Downloading { file, done, .. } => {
                if state.downloading != file {
                    file.clone_into(&mut state.downloading);
                }
                state.at(done, format!("downloading {file}"));
            }
            Event::Checking { file, done, bytes } => {
                let again = state.downloading == file;
                state.at(if again { bytes } else { done }, format!("checking {file}"));
            }
            Event::Verified { file, bytes, downloaded } => {
                state.done += bytes;
                state.at(0, String::new());
                if downloaded || state.bar.is_none() {
                    let how = if downloaded { "downloaded and checked" } else { "checked" };
                    state.line(&format!("{file}: {}, {how}", DecimalBytes(bytes)));
                }
            }
            Event::SetAside { file, expected, found, aside } => {
                let aside = aside.display();
                state.line(&format!(
                    "warning: {file}: expected {expected}, found {found}\nhint: set aside as {aside}; it is taken again"
                ));
            }
            Event::Waiting { url, reason, wait } => {
                state.line(&format!("warning: {url}: {reason}; again in {:.1} s", wait.as_secs_f64()));
            }
            Event::Moved { source, branch, locked, now } => {
                state.line(&format!(
                    "warning: {source}: {branch} has moved from {locked} to {now}; the first is taken, as at the first fetch\n\
                     hint: to take the second, write it into the manifest as the revision"
                ));
            }
        }
    }
}
