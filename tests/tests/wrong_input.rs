//! Wrong input ends with exit code 2 and a message that names the file or setting, the value and the rule.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use isorate_tests::Workplace;

/// Runs the binary and returns its message, after checking that it is a clean refusal.
fn refusal(workplace: &Workplace, arguments: &[&str]) -> String {
    let ended = workplace.run(arguments);
    assert_eq!(ended.code, Some(2), "isorate {}: {}{}", arguments.join(" "), ended.stdout, ended.stderr);
    assert_eq!(ended.stdout, "", "isorate {}", arguments.join(" "));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended.stderr.replace(&workplace.path().display().to_string(), "[workplace]")
}

fn mixture(workplace: &Workplace, text: &str) -> String {
    fs_err::write(workplace.path().join("mixture.toml"), text).unwrap();
    refusal(workplace, &["trajectory", "--model", "mixture.toml", "--rule", "gd", "--times", "0,1"])
}

#[test]
fn mixtures() {
    let workplace = Workplace::new();
    let cases = [
        "priors = [0.5, 0.5]\nmean_norm = 1.0\nnoise_std = 1.0\nnoise = 2.0",
        "priors = [0.5, 0.6]\nmean_norm = 1.0\nnoise_std = 1.0",
        "priors = [1.2, -0.2]\nmean_norm = 1.0\nnoise_std = 1.0",
        "priors = [0.5, 0.5]\nmean_norm = 1.0\nnoise_std = 0.0",
        "priors = [0.5, 0.3, 0.2]\nmean_norm = 1.0\nnoise_std = 1.0\ndim = 2",
        "priors = [1.0]\nmean_norm = 1.0\nnoise_std = 1.0",
        "priors = [0.5, 0.5]\nmean_norm = 1.0",
        "priors = 0.5\nmean_norm = 1.0\nnoise_std = 1.0",
        "priors = [0.7, 0.3]\nmeans = [[1.0, 0.0], [0.6, 0.8]]\nnoise_std = 1.0",
        "priors = [0.7, 0.2, 0.1]\nmeans = [[1.0, 0.0], [0.0, 1.0]]\nnoise_std = 1.0",
        "priors = [0.7, 0.3]\nmeans = [[1.0, 0.0], [1.0]]\nnoise_std = 1.0",
        "s_yx = [0.5, 0.2]\ns_xx = [1.0]",
        "s_yx = [0.5, 0.2]\ns_xx = [1.0, nan]",
        "sigma_yx = [[0.5, 0.0], [0.0, 0.2]]\nsigma_xx = [[2.0, 0.1], [0.1, 1.0]]",
        "sigma_yx = [[0.5, 0.0], [0.0]]\nsigma_xx = [[2.0, 0.0], [0.0, 1.0]]",
        "sigma_yx = [[0.5, inf]]\nsigma_xx = [[2.0, 0.0], [0.0, 1.0]]",
        "sigma_yx = [[0.5]]\npriors = [1.0]",
        "not toml",
    ];
    let messages: Vec<String> = cases.iter().map(|text| format!("{text}\n→ {}", mixture(&workplace, text))).collect();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn trajectories() {
    let workplace = Workplace::new();
    fs_err::write(workplace.path().join("m.toml"), "priors = [0.6, 0.4]\nmean_norm = 1.0\nnoise_std = 1.0").unwrap();
    let call = |more: &[&str]| {
        let mut arguments = vec!["trajectory", "--model", "m.toml"];
        arguments.extend(more);
        format!("{}\n→ {}", more.join(" "), refusal(&workplace, &arguments))
    };
    let messages = [
        call(&["--rule", "gd", "--times", "0,-1"]),
        call(&["--rule", "gd", "--times", "0,nan"]),
        call(&["--rule", "gd", "--times", "0,2,1"]),
        call(&["--rule", "gd", "--times", "3", "--source", "simulation", "--eta", "1.5"]),
        call(&["--rule", "gd", "--times", "0.15", "--source", "simulation", "--eta", "0.1"]),
        call(&["--rule", "gd", "--times", "1", "--source", "simulation", "--eta=-0.1"]),
        call(&["--rule", "power", "--times", "1"]),
        call(&["--rule", "muon", "--momentum", "0.9", "--times", "1"]),
        call(&["--rule", "gd", "--times", "1", "--depth", "2"]),
        call(&["--rule", "gd", "--times", "1", "--depth", "0"]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    let missing = refusal(&workplace, &["trajectory", "--model", "none.toml", "--rule", "gd", "--times", "0"]);
    assert!(missing.contains("none.toml"), "{missing}");
}

#[test]
fn diagnoses() {
    let workplace = Workplace::new();
    let with = |text: &str, more: &[&str]| {
        fs_err::write(workplace.path().join("data.csv"), text).unwrap();
        let mut arguments = vec!["diagnose", "data.csv"];
        arguments.extend(more);
        format!("{}{}\n→ {}", text.replace('\n', " ⏎ "), more.join(" "), refusal(&workplace, &arguments))
    };
    let good = "size,weight,label\n1,2,a\n2,1,a\n3,5,b\n5,4,b\n";
    let call = |arguments: &[&str]| format!("{}\n→ {}", arguments.join(" "), refusal(&workplace, arguments));
    let mut messages = vec![
        with("size,weight,lable\n1,2,a\n", &[]),
        with("size,colour,label\n1,red,a\n2,blue,b\n", &[]),
        with("size,weight,label\n1,,a\n2,1,b\n", &[]),
        with("size,weight,label\n1,inf,a\n2,1,b\n", &[]),
        with("size,weight,label\n1,,a\n2,,b\n", &[]),
        with("size,weight,label\n1,2,a\n1,2,a\n1,2,b\n1,2,b\n", &[]),
        with("size,weight,label\n1,2,a\n2,1,a\n3,5,b\n", &[]),
        with("size,weight,label\n1,2,a\n2,1,a\n", &[]),
        with("size,weight,label\n", &[]),
        with("size,weight,label\n1,2\n", &[]),
        with(good, &["--label", "weigth"]),
        with(good, &["--ignore", "colour"]),
        with(good, &["--step", "20"]),
        with(good, &["--step", "0"]),
        with(good, &["--step-size", "1000"]),
        with(good, &["--step-size", "nan"]),
        with(good, &["--step-size", "1e-12"]),
        call(&["diagnose", "mnits"]),
        call(&["diagnose", "none.csv"]),
        call(&["diagnose", "."]),
    ];
    fs_err::write(workplace.path().join("data.xlsx"), good).unwrap();
    fs_err::write(workplace.path().join("data.parquet"), "PAR1 and no more PAR1").unwrap();
    messages.push(call(&["diagnose", "data.xlsx"]));
    messages.push(call(&["diagnose", "data.parquet"]));
    insta::assert_snapshot!(messages.join("\n"));
    fs_err::write(workplace.path().join("file"), "").unwrap();
    let out = refusal(&workplace, &["diagnose", "wine-quality", "--out", "file"]);
    assert!(out.contains("file"), "{out}");
    workplace.succeed(&["diagnose", "data.csv", "--step-size", "0.002"]);
}

#[test]
fn specifications() {
    let workplace = Workplace::new();
    let file = workplace.path().join("paper/experiments/f1.toml");
    let text = fs_err::read_to_string(&file).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "the specification has no `{from}`");
        fs_err::write(&file, text.replacen(from, to, 1)).unwrap();
        format!("{to}\n→ {}", refusal(&workplace, &["run", "paper/experiments/f1.toml", "--scale", "smoke"]))
    };
    let messages = [
        with("batch_size = 128", "batch_sise = 128"),
        with("batch_size = 128", "batch_size = 0"),
        with("batch_size = 128", "batch_size = -1"),
        with("correlation = 0.99", "correlation = 1.5"),
        with("set = \"colored\"", "set = \"coloured\""),
        with("name = \"mlp\"", "name = \"mpl\""),
        with(
            "name = \"mlp\", hidden = [200], activation = \"relu\"",
            "name = \"gpt\", layers = 1, width = 8, heads = 2, tied = true",
        ),
        with("[scale.smoke]", "[scale.smok]"),
        with("rule = \"muon\", momentum = 0.9", "rule = \"moun\", momentum = 0.9"),
        with("rule = \"muon\", momentum = 0.9", "rule = \"muon\", momentum = 1.9"),
        with("rule = \"muon\", momentum = 0.9", "rule = \"muon\", momentun = 0.9"),
        with("kind = \"training\"", "kind = \"trainings\""),
        with("seeds = [0, 1]", "seeds = [0, 100]"),
        with("train = 600", "train = 600000"),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    fs_err::write(&file, text.replacen("step_sizes = [0.003", "step_sizes = [-0.003", 1)).unwrap();
    let message = refusal(&workplace, &["tune", "paper/experiments/f1.toml", "--scale", "smoke"]);
    assert!(message.contains("-0.003") && message.contains("positive"), "{message}");
    let none = refusal(&workplace, &["run", "paper/experiments/f0.toml"]);
    assert!(none.contains("f0.toml"), "{none}");
    assert!(!workplace.path().join(".isorate").exists(), "a refused specification leaves nothing behind");
}

#[test]
fn names_and_places() {
    let workplace = Workplace::new();
    fs_err::write(workplace.path().join("file"), "").unwrap();
    let messages = [
        refusal(&workplace, &["figures", "f11"]),
        refusal(&workplace, &["figures", "zeta"]),
        refusal(&workplace, &["figures", "f2", "--data", "disk"]),
        refusal(&workplace, &["figures", "f2", "--store", "file"]),
        refusal(&workplace, &["figures", "f2", "--experiments", "nowhere"]),
        refusal(&workplace, &["figures", "f1", "--scale", "paper"]),
        refusal(&workplace, &["run", "paper/experiments/f2.toml", "--shard", "3/2"]),
    ];
    insta::assert_snapshot!(messages.join("\n"));
    let out = refusal(&workplace, &["figures", "f2", "--out", "file"]);
    assert!(out.contains("file"), "{out}");
}

#[test]
fn reference_trajectories() {
    let workplace = Workplace::new();
    let golden = isorate_tests::root().join("crates/optim/tests/golden/specgd-4x6.safetensors");
    let bytes = fs_err::read(golden).unwrap();
    fs_err::write(workplace.path().join("cut.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    let message = refusal(&workplace, &["replay", "cut.safetensors"]);
    assert!(message.contains("cut.safetensors"), "{message}");
    fs_err::write(workplace.path().join("good.safetensors"), &bytes).unwrap();
    let good = workplace.succeed(&["replay", "good.safetensors"]);
    assert!(good.stdout.starts_with("good.safetensors "), "{}", good.stdout);
    let strict = workplace.run(&["replay", "good.safetensors", "--tol", "0"]);
    let difference: f64 = good.stdout.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(strict.code, Some(i32::from(difference > 0.0)), "{}", strict.stderr);
}
