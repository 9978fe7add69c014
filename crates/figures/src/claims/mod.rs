//! The claims of the paper, and what the stored runs say about them.
//!
//! `paper/claims.toml` states each claim with one check over stored runs; [`evaluate`] reads it together with the runs. Nothing is
//! run for a claim: one whose experiment has no runs, or not at this scale, is "not tested here". [`compare`] says of two evaluations
//! whether their numbers agree.
//!
//! ```
//! use isorate_figures::claims::{State, evaluate};
//!
//! let text = r#"
//!     [[claim]]
//!     id = "thm1-minority"
//!     statement = "Under GD the minority loss stays above that of SpecGD by μt/4"
//!     experiment = "t1"
//!     figure = "t1"
//!     command = "isorate verify-theory"
//!     check = { kind = "theory-check", check = "thm1-minority" }
//! "#;
//! let states = evaluate(text, &[])?;
//! assert_eq!(states[0].state, State::NotTested);
//! # Ok::<(), isorate_figures::Error>(())
//! ```

mod agreement;
mod check;
mod components;
mod measured;
mod splice;

use std::collections::BTreeSet;

use isorate_results::Run;
use serde::{Deserialize, Serialize};

pub use agreement::{Agreement, Tolerance, Verdict, agreement_table, compare};
pub use check::Check;
pub use measured::Measured;
pub use splice::{BEGIN, END, splice};

use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table, full, significant};
use crate::{Error, catalogue, find};

/// A claim as `paper/claims.toml` states it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name.
    pub id: String,
    /// What the paper says, in a sentence.
    pub statement: String,
    /// The experiment whose runs decide it.
    pub experiment: String,
    /// The figure or table that shows it.
    pub figure: String,
    /// The command that runs the experiment and draws the figure.
    pub command: String,
    /// What must be true of the runs.
    pub check: Check,
    /// How far a rerun may be from stored results and still agree with them; without it, only the state must be the same.
    #[serde(default)]
    pub tolerance: Option<Tolerance>,
}

/// What the runs say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// The check is met.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// The check is not met.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// There are no runs that could decide it.
    #[serde(rename = "not tested here")]
    NotTested,
}

impl std::fmt::Display for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::NotTested => "not tested here",
        })
    }
}

/// A claim with what the runs say about it. As JSON it has all fields but the last three; missing numbers are null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimState {
    /// Its name.
    pub id: String,
    /// What the paper says.
    pub statement: String,
    /// The experiment whose runs decide it.
    pub experiment: String,
    /// The figure or table that shows it.
    pub figure: String,
    /// What `value` is.
    pub quantity: String,
    /// The number that is compared with the bound.
    pub value: Option<f64>,
    /// Its standard deviation over seeds, where there are several.
    pub spread: Option<f64>,
    /// The bound of the check.
    pub bound: Option<f64>,
    /// The scale of the runs.
    pub scale: Option<String>,
    /// What the runs say.
    pub state: State,
    /// The command that runs the experiment and draws the figure.
    #[serde(skip)]
    pub command: String,
    /// Over how many seeds `value` is a mean, where it is one.
    #[serde(skip)]
    pub seeds: Option<usize>,
    /// How far a rerun may be from these numbers and still agree.
    #[serde(skip)]
    pub tolerance: Option<Tolerance>,
}

/// Reads a file of claims.
///
/// # Errors
/// [`Error::ClaimsSyntax`] with the line where it is not TOML; [`Error::Claim`] with the claim where it is not a claim: an unknown
/// or missing key, a name that occurs twice, a figure or experiment that does not exist.
pub fn parse(text: &str) -> Result<Vec<Claim>, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        claim: Vec<toml::Table>,
    }
    let file: File = toml::from_str(text)?;
    let mut names = BTreeSet::new();
    let mut claims = Vec::new();
    for (index, table) in file.claim.into_iter().enumerate() {
        let name = table.get("id").and_then(toml::Value::as_str).map_or_else(|| format!("number {}", index + 1), str::to_owned);
        let wrong = |reason: String| Error::Claim { claim: name.clone(), reason };
        let claim: Claim = table.try_into().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        if !names.insert(claim.id.clone()) {
            return Err(wrong("there is another claim with this name".into()));
        }
        let Some(entry) = find(&claim.figure).filter(|entry| entry.id == claim.figure) else {
            let known: Vec<&str> = catalogue().map(|entry| entry.id).collect();
            return Err(wrong(format!("there is no figure `{}`; there are {}", claim.figure, known.join(", "))));
        };
        if entry.experiment != claim.experiment {
            let (figure, shown, named) = (&claim.figure, entry.experiment, &claim.experiment);
            return Err(wrong(format!("the figure `{figure}` shows the experiment `{shown}`, not `{named}`")));
        }
        claim.check.validate().map_err(wrong)?;
        claim.tolerance.map_or(Ok(()), Tolerance::validate).map_err(wrong)?;
        claims.push(claim);
    }
    Ok(claims)
}

/// The state of every claim in `text` (the content of `paper/claims.toml`) given the stored runs of one scale.
///
/// # Errors
/// Those of [`parse`]; [`Error::Mixed`] where runs do not belong together; [`Error::Missing`] and [`Error::Claim`] where an experiment
/// was run and holds no number that the check needs.
pub fn evaluate(text: &str, runs: &[Run]) -> Result<Vec<ClaimState>, Error> {
    parse(text)?.into_iter().map(|claim| state(claim, runs)).collect()
}

fn state(claim: Claim, runs: &[Run]) -> Result<ClaimState, Error> {
    let (scale, finding) = match Selection::new(&claim.id, &claim.experiment, runs) {
        Ok(selection) => (Some(selection.scale().to_owned()), claim.check.find(&claim.id, &selection)?),
        Err(Error::NoRuns { .. }) => (None, claim.check.not_tested()),
        Err(error) => return Err(error),
    };
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    Ok(ClaimState {
        state: finding.state,
        quantity: finding.quantity,
        value: finite(finding.value),
        spread: finite(finding.spread),
        bound: finite(finding.bound),
        scale: scale.filter(|_| finding.state != State::NotTested),
        id: claim.id,
        statement: claim.statement,
        experiment: claim.experiment,
        figure: claim.figure,
        command: claim.command,
        seeds: finding.seeds,
        tolerance: claim.tolerance,
    })
}

/// The states as a table.
pub fn table(states: &[ClaimState]) -> Table {
    let count = |state| states.iter().filter(|claim| claim.state == state).count();
    let rows = states.iter().map(|claim| {
        let mut value = Cell::number(claim.value);
        if let Some(spread) = claim.spread {
            value.shown = format!("{} ± {}", value.shown, significant(spread));
        }
        value.fields.push(claim.spread.map_or_else(String::new, full));
        let mut state = Cell::text(claim.state.to_string());
        if let Some(scale) = &claim.scale {
            state.shown = format!("{} ({scale})", state.shown);
        }
        state.fields.push(claim.scale.clone().unwrap_or_default());
        vec![
            Cell::text(claim.statement.clone()),
            Cell::text(claim.figure.to_uppercase()),
            Cell::text(claim.quantity.clone()),
            value,
            Cell::number(claim.bound),
            state,
            Cell { shown: format!("`{}`", claim.command), fields: vec![claim.command.clone()] },
        ]
    });
    let two = |title: &str, align, second: &str| Column { title: title.into(), align, fields: vec![title.into(), second.into()] };
    Table {
        caption: format!(
            "{} claims: {} reproduced, {} not reproduced, {} not tested here.",
            states.len(),
            count(State::Reproduced),
            count(State::NotReproduced),
            count(State::NotTested)
        ),
        columns: vec![
            Column::new("claim", Align::Wrapped),
            Column::new("shown in", Align::Left),
            Column::new("quantity", Align::Wrapped),
            two("value", Align::Right, "spread"),
            Column::new("bound", Align::Right),
            two("state (scale)", Align::Left, "scale"),
            Column::new("command", Align::Left),
        ],
        rows: rows.collect(),
        headings: Vec::new(),
    }
}
