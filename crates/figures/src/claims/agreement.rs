use serde::{Deserialize, Serialize};

use super::{ClaimState, State};
use crate::table::{Align, Cell, Column, Table, full, significant};

/// How far the number of a rerun may be from a stored one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// In the unit of the number.
    Absolute(f64),
    /// In combined standard errors of the two means, √(s₁²/n₁ + s₂²/n₂); where there is none, only the state must be the same.
    StandardErrors(f64),
}

impl Tolerance {
    /// The rule that it breaks, if it does.
    pub(super) fn validate(self) -> Result<(), String> {
        let (Self::Absolute(value) | Self::StandardErrors(value)) = self;
        if value.is_finite() && value >= 0.0 {
            return Ok(());
        }
        Err(format!("`tolerance` is {value} and must be a finite number that is not negative"))
    }

    /// The largest difference that is allowed.
    fn allows(self, frozen: &ClaimState, new: &ClaimState) -> Option<f64> {
        let variance = |claim: &ClaimState| Some(claim.spread?.powi(2) / claim.seeds.filter(|&seeds| seeds > 1)? as f64);
        match self {
            Self::Absolute(value) => Some(value),
            Self::StandardErrors(count) => Some(count * (variance(frozen)? + variance(new)?).sqrt()),
        }
    }
}

/// Whether a rerun says what the stored results say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Within the tolerance; without one, in the same state.
    #[serde(rename = "agrees")]
    Agrees,
    /// Further apart than the tolerance; without one, in another state.
    #[serde(rename = "differs")]
    Differs,
    /// One of the two has no number to compare.
    #[serde(rename = "not compared")]
    NotCompared,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Agrees => "agrees",
            Self::Differs => "differs",
            Self::NotCompared => "not compared",
        })
    }
}

/// A claim in stored results and in new ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The claim in the stored results.
    pub frozen: ClaimState,
    /// The claim in the new results.
    pub new: ClaimState,
    /// New less stored value.
    pub difference: Option<f64>,
    /// The largest difference that is allowed; `None` where only the states are compared.
    pub allowed: Option<f64>,
    /// Whether they agree.
    pub verdict: Verdict,
}

/// Compares each claim of the stored evaluation with the one of the same name in the new one; claims of one alone are passed over.
///
/// Both come from [`evaluate`](super::evaluate) with the same file. The tolerance is that of the new evaluation.
pub fn compare(frozen: &[ClaimState], new: &[ClaimState]) -> Vec<Agreement> {
    let pairs = frozen.iter().filter_map(|frozen| Some((frozen, new.iter().find(|new| new.id == frozen.id)?)));
    pairs.map(|(frozen, new)| agreement(frozen, new)).collect()
}

fn agreement(frozen: &ClaimState, new: &ClaimState) -> Agreement {
    let difference = new.value.zip(frozen.value).map(|(new, frozen)| new - frozen);
    let allowed = new.tolerance.and_then(|tolerance| tolerance.allows(frozen, new));
    let verdict = match (difference, allowed) {
        _ if [frozen.state, new.state].contains(&State::NotTested) => Verdict::NotCompared,
        (Some(difference), Some(allowed)) if difference.abs() <= allowed => Verdict::Agrees,
        (Some(_), Some(_)) => Verdict::Differs,
        _ if frozen.state == new.state => Verdict::Agrees,
        _ => Verdict::Differs,
    };
    Agreement { frozen: frozen.clone(), new: new.clone(), difference, allowed, verdict }
}

/// The comparison as a table.
pub fn agreement_table(agreements: &[Agreement]) -> Table {
    let count = |verdict| agreements.iter().filter(|agreement| agreement.verdict == verdict).count();
    let value = |claim: &ClaimState| {
        let mut cell = Cell::number(claim.value);
        if let Some(spread) = claim.spread {
            cell.shown = format!("{} ± {}", cell.shown, significant(spread));
        }
        cell.fields.push(claim.spread.map_or_else(String::new, full));
        cell
    };
    let rows = agreements.iter().map(|Agreement { frozen, new, difference, allowed, verdict }| {
        let states =
            if frozen.state == new.state { new.state.to_string() } else { format!("{} → {}", frozen.state, new.state) };
        vec![
            Cell::text(frozen.id.clone()),
            value(frozen),
            value(new),
            Cell::number(*difference),
            Cell::number(*allowed),
            Cell { shown: states, fields: vec![frozen.state.to_string(), new.state.to_string()] },
            Cell::text(verdict.to_string()),
        ]
    });
    let wide =
        |title: &str, align, fields: [&str; 2]| Column { title: title.into(), align, fields: fields.map(String::from).into() };
    Table {
        caption: format!(
            "{} claims: {} agree with the stored results, {} differ, {} not compared.",
            agreements.len(),
            count(Verdict::Agrees),
            count(Verdict::Differs),
            count(Verdict::NotCompared)
        ),
        columns: vec![
            Column::new("claim", Align::Left),
            wide("stored", Align::Right, ["stored", "stored spread"]),
            wide("new", Align::Right, ["new", "new spread"]),
            Column::new("difference", Align::Right),
            Column::new("allowed", Align::Right),
            wide("state", Align::Left, ["stored state", "new state"]),
            Column::new("verdict", Align::Left),
        ],
        rows: rows.collect(),
        headings: Vec::new(),
    }
}
