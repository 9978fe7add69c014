//! Training runs in words, for captions.

use std::collections::BTreeSet;

use isorate_results::{Outcome, Run};
use serde_json::Value;

use super::{Case, Choice, Rule};
use crate::select::Selection;
use crate::style;

/// What a figure or table shows (a sentence without its stop), followed by the data, the network, seeds and scale, what stopped, and how the
/// step sizes were chosen.
pub(crate) fn caption(shows: &str, selection: &Selection<'_>, cases: &[Case<'_>], choice: Option<Choice>) -> String {
    let mut caption = format!("{shows}; {}; {}; {} scale.", describe(cases), count_seeds(cases), selection.scale());
    if let Some(stopped) = say_stopped(cases) {
        caption.push_str(&format!(" {stopped}; means are over the seeds measured at that epoch."));
    }
    if let Some(step_sizes) = choice.and_then(|choice| say_step_sizes(cases, choice)) {
        caption.push_str(&format!(" {step_sizes}."));
    }
    caption
}

/// How a case is called in titles.
pub(crate) fn case_name(key: &str) -> String {
    match key {
        "mnist" => "MNIST".into(),
        "fashion-mnist" => "Fashion-MNIST".into(),
        "colored-mnist" => "Colored-MNIST".into(),
        "cifar-10" => "CIFAR-10".into(),
        "cifar-100" => "CIFAR-100".into(),
        "warm-wear" => "Warm wear".into(),
        "celeba" => "CelebA".into(),
        "multi-nli" => "MultiNLI".into(),
        "sotu" => "State of the Union addresses".into(),
        "tinystories" | "tiny-stories" => "TinyStories".into(),
        "dominoes-95" => "coat or dress".into(),
        "dominoes-95-shirts" => "T-shirt or shirt".into(),
        "mnist-cifar-95" => "95%".into(),
        "mnist-cifar-99" => "99%".into(),
        other => match other.strip_prefix("depth-") {
            Some(layers) => format!("{layers} layers"),
            None => other.to_owned(),
        },
    }
}

/// Data, network and length of the training runs, from their specifications; what they do not hold is left out, and what all cases have in
/// common is said once.
fn describe(cases: &[Case<'_>]) -> String {
    let all: Vec<Vec<(&str, String)>> = cases.iter().map(|case| parts(case.run())).collect();
    let mut slots: Vec<&str> = Vec::new();
    for (slot, _) in all.iter().flatten() {
        if !slots.contains(slot) {
            slots.push(slot);
        }
    }
    let said = slots.into_iter().map(|slot| {
        let texts = all.iter().filter_map(|parts| parts.iter().find(|part| part.0 == slot)).map(|part| part.1.as_str());
        distinct(texts)
    });
    said.collect::<Vec<_>>().join(", ")
}

/// Each text once, in the order in which they come.
fn distinct<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut different: Vec<&str> = Vec::new();
    for text in texts {
        if !different.contains(&text) {
            different.push(text);
        }
    }
    different.join(" / ")
}

/// What a run was trained on, with what, and how long; each part with the name of its place.
fn parts(run: &Run) -> Vec<(&'static str, String)> {
    let spec = &run.header.spec;
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let number = |pointer: &str| spec.pointer(pointer).and_then(Value::as_f64);
    let set = text("/data/set").or(text("/data/name")).unwrap_or("data");
    let mut parts = vec![("data", data_name(set, text("/data/images").or(text("/data/bottom")).or(text("/data/corpus"))))];
    if let Some(correlation) = number("/data/correlation") {
        let percent = (1e4 * correlation).round() / 100.0;
        let agree = if set == "dominoes" { "halves agree" } else { "colour agrees with digit" };
        parts.push(("correlation", format!("{agree} for {percent}%")));
    }
    parts.extend(text("/data/imbalance").map(|law| ("imbalance", imbalance(law))));
    parts.extend(text("/data/source").map(|source| ("source", format!("source: {source}"))));
    // What the imbalance leaves of the training images is not among the settings.
    let training = if set == "imbalanced" { "training (before the imbalance)" } else { "training" };
    let sizes: Vec<String> = ["train", "validation", "test"]
        .into_iter()
        .filter_map(|split| number(&format!("/data/{split}")).map(|count| (split, count)))
        .map(|(split, count)| format!("{} {}", thousands(count), if split == "train" { training } else { split }))
        .collect();
    if !sizes.is_empty() {
        let rows = match set {
            "text" => "windows",
            "multi-nli" => "pairs of sentences",
            _ => "images",
        };
        parts.push(("sizes", format!("{} {rows}", sizes.join(" / "))));
    }
    if let (Some(types), Some(context)) = (number("/data/vocabulary"), number("/data/context")) {
        parts.push(("tokens", format!("{context} tokens of {} types", thousands(types))));
    }
    parts.extend(model(spec.get("model")).map(|model| ("model", model)));
    parts.extend(number("/batch_size").map(|size| ("batch", format!("batch {size}"))));
    parts.extend(number("/epochs").map(|epochs| ("epochs", count_epochs(epochs))));
    parts.extend(text("/schedule").map(|schedule| ("schedule", format!("{schedule} step size"))));
    parts
}

fn data_name(set: &str, source: Option<&str>) -> String {
    match (set, source) {
        ("colored" | "colored-mnist", _) => "Colored-MNIST".into(),
        ("imbalanced" | "text", Some(source)) => case_name(source),
        ("dominoes", Some(bottom)) => format!("Dominoes of MNIST and {}", case_name(bottom)),
        ("group-task", _) => "Fashion-MNIST in the groups of CelebA".into(),
        (set, _) => case_name(set),
    }
}

/// `STEP 20:1`.
fn imbalance(law: &str) -> String {
    match law.split_once(':') {
        Some(("step", ratio)) => format!("STEP {ratio}:1"),
        Some((name, ratio)) => format!("{name} imbalance, {ratio}"),
        None => format!("{law} imbalance"),
    }
}

/// `ResNet-18 of width 16`, `MLP 2352–200–10`, `GPT of 4 layers, width 128`.
fn model(model: Option<&Value>) -> Option<String> {
    let model = model?;
    let text = |name: &str| model.get(name).and_then(Value::as_str);
    let number = |name: &str| model.get(name).and_then(Value::as_f64);
    let listed = |name: &str| {
        let list = model.get(name).and_then(Value::as_array)?;
        Some(list.iter().map(ToString::to_string).collect::<Vec<_>>().join("–"))
    };
    let name = text("name").or(text("kind"))?;
    let mut said = match name {
        "mlp" => match (listed("widths"), listed("hidden")) {
            (Some(widths), _) => format!("MLP {widths}"),
            (None, Some(hidden)) => format!("MLP with hidden {hidden}"),
            (None, None) => "MLP".into(),
        },
        "resnet" => number("depth").map_or_else(|| "ResNet".into(), |depth| format!("ResNet-{depth}")),
        "gpt" => number("layers").map_or_else(|| "GPT".into(), |layers| format!("GPT of {layers} layers")),
        "bert" => "BERT".into(),
        other => other.to_owned(),
    };
    if let Some(width) = number("width") {
        said.push_str(&format!("{} width {width}", if name == "gpt" { " and" } else { " of" }));
    }
    if let Some(weights) = text("weights") {
        said.push_str(&format!(" from {weights}"));
    } else if let Some(images) = model.pointer("/pretrain/images").and_then(Value::as_str) {
        said.push_str(&format!(" pre-trained here on {}", case_name(images)));
    }
    Some(said)
}

/// `3 epochs`, `0.25 epochs`, `1 epoch`.
pub(crate) fn count_epochs(epoch: f64) -> String {
    let rounded = (epoch * 100.0).round() / 100.0;
    format!("{rounded} {}", if (rounded - 1.0).abs() < f64::EPSILON { "epoch" } else { "epochs" })
}

/// How many seeds, in words: `5 seeds`, `3 to 5 seeds`.
fn count_seeds(cases: &[Case<'_>]) -> String {
    let counts: BTreeSet<usize> = cases.iter().flat_map(|case| &case.rules).map(|rule| rule.runs.len()).collect();
    match (counts.first(), counts.last()) {
        (Some(1), Some(1)) => "one seed, so no spread is shown".into(),
        (Some(low), Some(high)) if low == high => format!("{low} seeds"),
        (Some(low), Some(high)) => format!("{low} to {high} seeds"),
        _ => "no seeds".into(),
    }
}

/// What diverged and what failed, in a sentence; `None` if nothing did.
fn say_stopped(cases: &[Case<'_>]) -> Option<String> {
    let several = cases.len() > 1;
    let list = |of: fn(&Run) -> bool| {
        let rules = cases.iter().flat_map(|case| case.rules.iter().map(move |rule| (case, rule)));
        let said = rules.filter_map(|(case, rule)| {
            let count = rule.runs.iter().filter(|run| of(run)).count();
            let place = if several { format!(" ({})", case_name(case.name)) } else { String::new() };
            (count > 0).then(|| format!("{}{place} with {count} of {}", style::rule(rule.key).name, rule.runs.len()))
        });
        said.collect::<Vec<_>>()
    };
    let stopped = [
        ("Diverged", list(|run| matches!(run.outcome, Outcome::Diverged { .. }))),
        ("Failed", list(|run| matches!(run.outcome, Outcome::Failed { .. }))),
    ];
    let said = stopped.into_iter().filter(|(_, rules)| !rules.is_empty());
    let said: Vec<String> = said.map(|(how, rules)| format!("{how}: {} seeds", rules.join(", "))).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// The chosen step sizes and their grids, without the stop; `None` where the runs hold no grid.
fn say_step_sizes(cases: &[Case<'_>], choice: Choice) -> Option<String> {
    let mut keys: Vec<&str> = Vec::new();
    for rule in cases.iter().flat_map(|case| &case.rules) {
        if !keys.contains(&rule.key) {
            keys.push(rule.key);
        }
    }
    let mut said = Vec::new();
    for key in keys {
        let rules = || cases.iter().filter_map(|case| case.rule(key));
        let chosen: Vec<String> = rules().filter_map(Rule::step_size).map(|step| step.to_string()).collect();
        let grids: Vec<String> = rules().filter_map(|rule| grid(&rule.grid())).collect();
        if grids.is_empty() {
            continue;
        }
        let (chosen, grids) = (distinct(chosen.iter().map(String::as_str)), distinct(grids.iter().map(String::as_str)));
        said.push(format!("{} {chosen} ({grids})", style::rule(key).name));
    }
    let text = cases.iter().any(|case| case.run().header.spec.pointer("/data/set").is_some_and(|set| set == "text"));
    let by = match (choice, text) {
        (Choice::Average, false) => "average validation accuracy",
        (Choice::Worst, false) => "worst-group validation accuracy",
        (Choice::Average, true) => "mean validation loss",
        (Choice::Worst, true) => "validation loss on the rarest tokens",
    };
    (!said.is_empty()).then(|| format!("Step sizes by {by}, in brackets the grid: {}", said.join(", ")))
}

/// `5 of 0.003–0.3`.
fn grid(steps: &[f64]) -> Option<String> {
    match steps {
        [] => None,
        [one] => Some(format!("{one} alone")),
        [first, .., last] => Some(format!("{} of {first}–{last}", steps.len())),
    }
}

/// `12,000`.
pub(crate) fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_in_words() {
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(count_epochs(1.0), "1 epoch");
        assert_eq!(count_epochs(0.253), "0.25 epochs");
        assert_eq!(grid(&[0.003, 0.01, 0.3]).as_deref(), Some("3 of 0.003–0.3"));
        assert_eq!(imbalance("step:20"), "STEP 20:1");
        assert_eq!(imbalance("heavy-tail"), "heavy-tail imbalance");
    }

    #[test]
    fn networks_in_words() {
        let said = |value: Value| model(Some(&value)).unwrap();
        assert_eq!(said(json!({ "name": "resnet", "depth": 18, "width": 16 })), "ResNet-18 of width 16");
        assert_eq!(said(json!({ "kind": "mlp", "widths": [4, 2] })), "MLP 4–2");
        assert_eq!(said(json!({ "name": "mlp", "hidden": [200, 200] })), "MLP with hidden 200–200");
        assert_eq!(said(json!({ "name": "gpt", "layers": 4, "width": 128 })), "GPT of 4 layers and width 128");
        assert_eq!(said(json!({ "name": "bert", "weights": "bert-base-uncased" })), "BERT from bert-base-uncased");
        assert_eq!(model(None), None);
    }
}
