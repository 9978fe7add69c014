//! Claims: the file of the repository, and what is said about made-up runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic says all that is needed")]

use isorate_figures::claims::{Check, ClaimState, State, Verdict, agreement_table, compare, evaluate, parse, splice, table};
use isorate_results::{Record, Run};

mod synthetic;

use synthetic::{a1, diverge, f1, f4, frozen, t1, theorem, three, training};

const CLAIMS: &str = include_str!("../../../paper/claims.toml");

fn everything() -> Vec<Run> {
    let mut runs = f1(&["muon", "nmd", "signum", "sgd"], 3);
    runs.extend(training::everything(3));
    let mut checks = t1();
    for claim in parse(CLAIMS).unwrap() {
        let Check::TheoryCheck { check } = claim.check else { continue };
        if checks.records.iter().any(|record| record.group == check) {
            continue;
        }
        let record =
            |metric: &str, value: f64| Record::at_step(0).of("theory").split("check").metric(metric).group(&check).value(value);
        checks.records.extend([record("value", 0.61), record("bound", 0.5), record("margin", 0.11), record("pass", 1.0)]);
        for (name, text) in [("heading", "Theory"), ("statement", "what is claimed"), ("quantity", "what was measured")] {
            checks.notes.insert(format!("{check}.{name}"), text.into());
        }
    }
    runs.extend([three().f2(), theorem().f5(false), checks, f4(), a1()]);
    runs.extend(frozen());
    runs
}

fn claim(check: &str) -> String {
    let figure = if check.contains("\"lead\"") {
        "f1"
    } else if check.contains("stopping-lead") {
        "f4"
    } else if check.contains("gap-above") {
        "f5"
    } else if check.contains("theory-check") {
        "t1"
    } else {
        "f2"
    };
    format!(
        "[[claim]]\nid = \"c\"\nstatement = \"s\"\nexperiment = \"{figure}\"\nfigure = \"{figure}\"\ncommand = \"k\"\ncheck = {check}\n"
    )
}

fn one(check: &str, runs: &[Run]) -> ClaimState {
    evaluate(&claim(check), runs).unwrap().remove(0)
}

fn failure(text: &str, runs: &[Run]) -> String {
    evaluate(text, runs).unwrap_err().to_string()
}

#[test]
fn the_claims_of_the_repository_are_read_and_decided() {
    assert!(parse(CLAIMS).unwrap().len() >= 13);
    let none = evaluate(CLAIMS, &[]).unwrap();
    assert!(none.iter().all(|claim| claim.state == State::NotTested && claim.value.is_none() && claim.scale.is_none()));
    let states = evaluate(CLAIMS, &everything()).unwrap();
    let of = |state| states.iter().filter(|claim| claim.state == state).map(|claim| claim.id.as_str()).collect::<Vec<_>>();
    let failed = of(State::NotReproduced);
    assert_eq!(failed, ["thm2-balanced", "f4-canonical-small-sample", "f4-canonical-population"], "{states:#?}");
    // Data that are not in the program are tested at paper scale alone, and the claim says so.
    let open = states.iter().filter(|claim| claim.state == State::NotTested);
    assert!(open.clone().count() == 10 && open.clone().all(|claim| claim.statement.contains("paper scale")), "{states:#?}");
    // Every claim about training has a tolerance.
    let trained = states.iter().filter(|claim| training::EXPERIMENTS.contains(&claim.experiment.as_str()));
    assert!(trained.clone().count() > 20 && trained.clone().all(|claim| claim.tolerance.is_some()));
}

#[test]
fn json_has_the_fields_of_the_contract() {
    let states = evaluate(
        CLAIMS,
        &[t1()].map(|mut run| {
            run.header.scale = "smoke".into();
            run
        }),
    )
    .map(|states| states.into_iter().filter(|claim| ["f1-muon-leads-early"].contains(&claim.id.as_str())).collect::<Vec<_>>());
    // T1 of the made-up runs lacks checks that the file names: that is said, with the first claim.
    let message = states.unwrap_err().to_string();
    assert!(message.starts_with("claim `") && message.contains("there is no check `"), "{message}");

    let check = "{ kind = \"theory-check\", check = \"thm1-minority\" }";
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&[one(check, &[t1()]), one(check, &[])]).unwrap());
}

#[test]
fn leads() {
    let check = |bound: f64, epoch: f64| {
        format!(
            "{{ kind = \"lead\", of = \"muon\", over = [\"nmd\", \"signum\"], on = {{ group = \"minority\", epoch = {epoch:?} }}, bound = {bound:?} }}"
        )
    };
    let runs = f1(&["muon", "nmd", "signum"], 3);
    let state = one(&check(0.0, 2.1), &runs);
    assert_eq!(state.state, State::Reproduced);
    // The lead over Signum, which is the stronger one here, by hand from the records.
    let value = |optimizer: &str, seed: u64| {
        let run = runs.iter().find(|run| run.records[0].optimizer == optimizer && run.header.seed == seed).unwrap();
        run.series("test", "accuracy", "minority").find(|record| record.epoch == Some(2.0)).unwrap().value
    };
    let leads: Vec<f64> = (0..3).map(|seed| value("muon", seed) - value("signum", seed)).collect();
    let mean = leads.iter().sum::<f64>() / 3.0;
    let deviation = (leads.iter().map(|lead| (lead - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    assert!((state.value.unwrap() - mean).abs() < 1e-12, "{state:?}");
    assert!((state.spread.unwrap() - deviation).abs() < 1e-12, "{state:?}");
    assert!(
        state.quantity.ends_with("over the best of NMD, Signum in minority test accuracy after 2 epochs, mean over 3 seeds"),
        "{}",
        state.quantity
    );

    assert_eq!(one(&check(0.9, 2.0), &runs).state, State::NotReproduced);
    // Training that ends before, or without one of the rules, says nothing.
    assert_eq!(one(&check(0.0, 13.0), &runs).state, State::NotTested);
    assert_eq!(one(&check(0.0, 2.0), &f1(&["muon", "nmd"], 3)).state, State::NotTested);
    // A rule that diverged everywhere shows nothing in favour of the claim.
    let broken: Vec<Run> =
        runs.iter().map(|run| if run.records[0].optimizer == "muon" { diverge(run.clone(), 1.0) } else { run.clone() }).collect();
    let state = one(&check(0.0, 2.0), &broken);
    assert_eq!((state.state, state.value), (State::NotReproduced, None));
    // One seed has no spread.
    let state = one(&check(0.0, 2.0), &f1(&["muon", "nmd", "signum"], 1));
    assert_eq!((state.state, state.spread), (State::Reproduced, None));
    let message = failure(&claim(&check(0.0, 2.0).replace("minority", "class-77")), &runs);
    assert!(message.contains("class-77"), "{message}");
}

#[test]
fn stopping_lead() {
    let check = |over: &str, data: &str, basis: &str, bound: f64| {
        format!(
            "{{ kind = \"stopping-lead\", of = \"specgd\", over = {over}, score = \"worst\", data = \"{data}\", basis = \"{basis}\", bound = {bound:?} }}"
        )
    };
    let both = "[\"ngd\", \"signgd\"]";
    // 0.65 and 0.69 against 0.55 of SignGD, the stronger one.
    let state = one(&check(both, "n-2000", "rotated", 0.0), &[f4()]);
    assert_eq!(state.state, State::Reproduced);
    assert!((state.value.unwrap() - 0.12).abs() < 1e-12 && (state.spread.unwrap() - 0.0008_f64.sqrt()).abs() < 1e-12);
    assert!(state.quantity.contains("best of NGD, SignGD") && state.quantity.ends_with("n = 2000, mean over 2 seeds"));
    assert_eq!(one(&check(both, "n-2000", "rotated", 0.2), &[f4()]).state, State::NotReproduced);
    assert_eq!(one(&check("[\"signgd\"]", "population", "canonical", 0.0), &[f4()]).state, State::NotReproduced);
    // What was not run says nothing.
    assert_eq!(one(&check(both, "n-7", "rotated", 0.0), &[f4()]).state, State::NotTested);
    assert_eq!(one(&check(both, "n-2000", "canonical", 0.0), &[f4()]).state, State::NotTested);
    assert_eq!(one(&check(both, "n-2000", "rotated", 0.0), &[]).state, State::NotTested);
    for (wrong, said) in [("skewed", "`basis` is `skewed`"), ("rotated", "the list of rules")] {
        let over = if wrong == "rotated" { "[]" } else { both };
        let message = failure(&claim(&check(over, "n-2000", wrong, 0.0)), &[]);
        assert!(message.contains(said), "{message}");
    }
    let message = failure(&claim(&check(both, "n-2000", "rotated", 0.0).replace("worst", "best")), &[]);
    assert!(message.contains("`score` is `best`"), "{message}");
}

#[test]
fn trajectories() {
    let runs = [three().f2()];
    let slopes = |rule: &str| {
        one(&format!("{{ kind = \"equal-slopes\", of = \"{rule}\", split = \"closed-form\", bound = 1e-9 }}"), &runs)
    };
    assert_eq!(slopes("specgd").state, State::Reproduced);
    let gd = slopes("gd");
    assert_eq!(gd.state, State::NotReproduced);
    // α_c ≈ s_yx,c t at first: (0.5 − 0.2)/(1/3) = 0.9, and less later.
    assert!((gd.value.unwrap() - 0.9).abs() < 0.02, "{gd:?}");

    let first = |rule: &str| {
        one(
            &format!("{{ kind = \"majority-first\", of = \"{rule}\", split = \"closed-form\", fraction = 0.5, bound = 1.0 }}"),
            &runs,
        )
    };
    assert_eq!(first("gd").state, State::Reproduced);
    assert_eq!(first("ngd").state, State::Reproduced);
    assert_eq!(first("specgd").state, State::NotReproduced);
    // Half-times of GD are ln 2/s_xx,c: ratios (0.55/0.45, 0.75/0.55), on a grid of 0.03.
    assert!((first("gd").value.unwrap() - 0.55 / 0.45).abs() < 1e-3, "{:?}", first("gd"));

    let limit = |bound: f64| {
        one(&format!("{{ kind = \"same-limit\", of = [\"gd\", \"specgd\"], split = \"simulation\", bound = {bound:?} }}"), &runs)
    };
    assert_eq!(limit(0.01).state, State::Reproduced);
    assert_eq!(limit(1e-4).state, State::NotReproduced);
    assert!((limit(0.01).value.unwrap() - (-0.45_f64 * 12.0).exp()).abs() < 1e-12);

    let mut short = three().f2();
    short.records.retain(|record| record.split != "simulation" || record.time == Some(0.0));
    let check = "{ kind = \"equal-slopes\", of = \"gd\", split = \"simulation\", bound = 1.0 }";
    let message = failure(&claim(check), &[short]);
    assert!(message.contains("claim `c`: no simulation time lies before"), "{message}");
}

#[test]
fn gaps_and_theory() {
    let gap = |bound: f64| {
        one(
            &format!(
                "{{ kind = \"gap-above-bound\", of = \"gd\", gap = \"minority\", split = \"simulation\", bound = {bound:?} }}"
            ),
            &[theorem().f5(false)],
        )
    };
    let state = gap(1.0);
    assert_eq!(state.state, State::Reproduced);
    assert!(state.value.unwrap() > 1.0);
    assert_eq!(gap(10.0).state, State::NotReproduced);
    let check = |id: &str| format!("{{ kind = \"theory-check\", check = \"{id}\" }}");
    assert_eq!(one(&check("thm1-balanced"), &[t1()]).value, Some(0.612_345_678_9));
    assert_eq!(one(&check("thm2-balanced-quarter"), &[t1()]).state, State::NotReproduced);
    let message = failure(&claim(&check("thm3")), &[t1()]);
    assert!(message.contains("claim `c`: there is no check `thm3`; there are `thm1-minority`"), "{message}");
}

#[test]
fn mistakes_in_the_file_name_the_claim() {
    let good = claim("{ kind = \"theory-check\", check = \"x\" }");
    let wrong: Vec<(String, &str)> = vec![
        (good.replace("command", "comand"), "claim `c`: unknown field `comand`"),
        (good.replace("theory-check", "theory"), "claim `c`: unknown variant `theory`"),
        (good.replace("check = \"x\"", "check = \"x\", bound = 1.0"), "claim `c`: unknown field `bound`"),
        (good.replace("id = \"c\"\n", ""), "claim `number 1`: missing field `id`"),
        (good.replace("figure = \"t1\"", "figure = \"f99\""), "claim `c`: there is no figure `f99`"),
        (
            good.replace("experiment = \"t1\"", "experiment = \"f1\""),
            "claim `c`: the figure `t1` shows the experiment `t1`, not `f1`",
        ),
        (good.clone() + &good, "claim `c`: there is another claim with this name"),
        (good.replace("[[claim]]", "[[claims]]"), "unknown field `claims`"),
        ("a = ".into(), "line 1"),
        (claim("{ kind = \"equal-slopes\", of = \"gd\", split = \"closed\", bound = 1.0 }"), "claim `c`: `split` is `closed`"),
        (claim("{ kind = \"equal-slopes\", of = \"gd\", split = \"simulation\", bound = nan }"), "claim `c`: `bound` is NaN"),
        (
            claim("{ kind = \"same-limit\", of = [], split = \"simulation\", bound = 1.0 }"),
            "claim `c`: the list of rules to compare is empty",
        ),
        (
            claim("{ kind = \"majority-first\", of = \"gd\", split = \"simulation\", fraction = 1.5, bound = 1.0 }"),
            "claim `c`: `fraction` is 1.5",
        ),
        (
            claim("{ kind = \"gap-above-bound\", of = \"gd\", gap = \"m\", split = \"simulation\", bound = 1.0 }"),
            "claim `c`: `gap` is `m`",
        ),
    ];
    for (text, expected) in wrong {
        let message = failure(&text, &[]);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn the_table_of_claims() {
    let checks = [
        ("a", "{ kind = \"theory-check\", check = \"thm1-minority\" }"),
        ("b", "{ kind = \"theory-check\", check = \"thm2-balanced-quarter\" }"),
        ("c", "{ kind = \"equal-slopes\", of = \"specgd\", split = \"simulation\", bound = 1e-3 }"),
        ("d", "{ kind = \"lead\", of = \"muon\", over = [\"nmd\"], on = { group = \"minority\", epoch = 1.0 }, bound = 0.0 }"),
    ];
    let text: String = checks.iter().map(|(id, check)| claim(check).replace("id = \"c\"", &format!("id = \"{id}\""))).collect();
    let mut runs = vec![t1()];
    // Leads of 0.25 and 0.5, exactly.
    for (optimizer, seed, accuracy) in [("muon", 0, 0.5), ("muon", 1, 0.75), ("nmd", 0, 0.25), ("nmd", 1, 0.25)] {
        let record =
            Record::at_step(9).epoch(1.0).of(optimizer).split("test").metric("accuracy").group("minority").value(accuracy);
        runs.push(synthetic::run(
            "f1",
            seed,
            serde_json::json!({ "seed": seed, "optimizer": { "key": optimizer } }),
            vec![record],
        ));
    }
    let states = evaluate(&text, &runs).unwrap();
    let table = table(&states);
    let readme = "Before\n<!-- claims:begin -->\nold\n<!-- claims:end -->\nAfter\n";
    insta::assert_snapshot!("table", format!("{}\n{}", splice(readme, &table).unwrap(), table.csv()));
}

/// A claim about the training runs of an experiment.
fn trained(experiment: &str, check: &str, runs: &[Run]) -> ClaimState {
    let text = claim(check).replace("\"f2\"", &format!("\"{experiment}\"")).replace("\"f1\"", &format!("\"{experiment}\""));
    evaluate(&text, runs).unwrap().remove(0)
}

#[test]
fn orders_and_likeness() {
    let runs = training::f7(3);
    let order = |tiers: &str, bound: f64| {
        let on = "{ case = \"dominoes-95\", split = \"decoded\", group = \"worst-group\" }";
        trained("f7", &format!("{{ kind = \"order\", tiers = {tiers}, on = {on}, bound = {bound:?} }}"), &runs)
    };
    let state = order("[[\"muon\", \"adam\"], [\"sgd\"]]", 0.05);
    assert_eq!((state.state, state.seeds), (State::Reproduced, Some(3)), "{state:?}");
    let said = "smallest lead in the order Muon, Adam > SGD in worst-group decoded accuracy on dominoes-95 at the end, mean over 3 seeds";
    assert_eq!(state.quantity, said);
    assert_eq!(order("[[\"sgd\"], [\"muon\"]]", 0.0).state, State::NotReproduced);
    assert_eq!(order("[[\"soap\"], [\"muon\"]]", 0.0).state, State::NotTested);

    let alike = |bound: f64, over: &str| {
        let on = "{ group = \"worst-group\" }";
        let check = format!("{{ kind = \"alike\", of = [\"muon\", \"{over}\"], on = {on}, bound = {bound:?} }}");
        trained("f8", &check, &training::f8(3))
    };
    assert_eq!(alike(0.05, "adam").state, State::Reproduced);
    let far = alike(0.05, "sgd");
    assert!(far.state == State::NotReproduced && far.value.unwrap() > 0.1, "{far:?}");
    // AdamW stands in for Adam.
    let mut runs = training::f8(3);
    for run in runs.iter_mut().filter(|run| run.header.spec["optimizer"]["key"] == "adam") {
        run.header.spec["optimizer"]["key"] = "adamw".into();
    }
    let check = "{ kind = \"alike\", of = [\"muon\", \"adam\"], on = { group = \"worst-group\" }, bound = 0.05 }";
    assert_eq!(trained("f8", check, &runs).state, State::Reproduced);
    // Of several cases, a claim must name its own.
    let check = "{ kind = \"alike\", of = [\"muon\", \"adam\"], on = { group = \"worst-group\" }, bound = 0.05 }";
    let text = claim(check).replace("\"f2\"", "\"f7\"");
    assert!(failure(&text, &training::f7(1)).contains("there are `dominoes-95` and `dominoes-95-shirts`"));
}

#[test]
fn evenness_and_depth() {
    let even = |of: &str, over: &str| {
        let on = "{ metric = \"loss\", group = \"bins\" }";
        let check = format!("{{ kind = \"evener\", of = \"{of}\", over = [\"{over}\"], on = {on}, bound = 0.0 }}");
        trained("f9", &check, &training::f9(2))
    };
    assert_eq!(even("muon", "sgd").state, State::Reproduced);
    assert_eq!(even("sgd", "muon").state, State::NotReproduced);
    // Less loss is a lead.
    let check =
        "{ kind = \"lead\", of = \"muon\", over = [\"sgd\"], on = { metric = \"loss\", group = \"bin-9\" }, bound = 0.0 }";
    assert_eq!(trained("f9", check, &training::f9(2)).state, State::Reproduced);

    let runs = training::f6_networks(2);
    let on = "{ group = \"minority\" }";
    let depth = |shallow: &str, deep: &str| {
        let cases = format!("shallow = \"{shallow}\", deep = \"{deep}\"");
        let check = format!("{{ kind = \"depth-speeds-up\", of = \"muon\", {cases}, on = {on}, fraction = 0.9, bound = 0.0 }}");
        trained("f6-networks", &check, &runs)
    };
    let state = depth("depth-2", "depth-4");
    assert!(state.state == State::Reproduced && state.value.unwrap() > 0.1, "{state:?}");
    assert_eq!(depth("depth-4", "depth-2").state, State::NotReproduced);
    assert_eq!(depth("depth-2", "depth-8").state, State::NotTested);
    let growth = |from: &str, to: &str| {
        let on = "{ group = \"minority\", epoch = 2.0 }";
        let cases = format!("from = \"{from}\", to = \"{to}\"");
        let check = format!("{{ kind = \"lead-grows\", of = \"muon\", over = [\"sgd\"], {cases}, on = {on}, bound = 0.0 }}");
        trained("f6-networks", &check, &runs)
    };
    let (up, down) = (growth("depth-2", "depth-4"), growth("depth-4", "depth-2"));
    assert_eq!((up.state, down.state), (State::Reproduced, State::NotReproduced));
    assert!((up.value.unwrap() + down.value.unwrap()).abs() < 1e-12);
}

#[test]
fn new_numbers_are_compared_with_stored_ones() {
    let check = "{ kind = \"lead\", of = \"muon\", over = [\"nmd\"], on = { group = \"minority\", epoch = 2.0 }, bound = 0.0 }";
    let evaluated = |tolerance: &str, shift: f64| {
        let mut runs = f1(&["muon", "nmd"], 3);
        for record in runs.iter_mut().flat_map(|run| &mut run.records).filter(|record| record.optimizer == "muon") {
            record.value += shift;
        }
        evaluate(&format!("{}{tolerance}\n", claim(check)), &runs).unwrap()
    };
    let verdict =
        |tolerance: &str, shift: f64| compare(&evaluated(tolerance, 0.0), &evaluated(tolerance, shift)).remove(0).verdict;
    let errors = "tolerance = { standard-errors = 2.0 }";
    assert_eq!(verdict(errors, 0.0), Verdict::Agrees);
    assert_eq!(verdict(errors, 0.5), Verdict::Differs);
    assert_eq!(verdict("tolerance = { absolute = 0.02 }", 0.019), Verdict::Agrees);
    assert_eq!(verdict("tolerance = { absolute = 0.02 }", -0.021), Verdict::Differs);
    // Without a tolerance, the state decides.
    assert_eq!(verdict("", 0.5), Verdict::Agrees);
    assert_eq!(verdict("", -0.9), Verdict::Differs);
    let none = evaluate(&claim(check), &[]).unwrap();
    let agreements = compare(&evaluated(errors, 0.0), &none);
    assert_eq!(agreements[0].verdict, Verdict::NotCompared);
    let table = agreement_table(&compare(&evaluated(errors, 0.0), &evaluated(errors, 0.5)));
    assert_eq!(table.caption, "1 claims: 0 agree with the stored results, 1 differ, 0 not compared.");
    assert_eq!((table.rows[0][0].shown.as_str(), table.rows[0][6].shown.as_str()), ("c", "differs"));
    let message = failure(&format!("{}tolerance = {{ absolute = -1.0 }}\n", claim(check)), &[]);
    assert!(message.contains("claim `c`: `tolerance` is -1"), "{message}");
}
