//! Figures and tables from made-up runs: what they hold, that they are the same twice, and what is said when something is missing.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic says all that is needed")]

use isorate_figures::{Drawing, Error, Images, Table, catalogue, draw, find, render};
use isorate_results::Run;

mod synthetic;

use synthetic::{a1, b3, diverge, f1, f4, frozen, moments_run, t1, ten, theorem, three, training, training_run};

const ALL: [&str; 5] = ["muon", "nmd", "signum", "sgd", "adam"];

fn everything() -> Vec<Run> {
    let mut runs = f1(&ALL, 3);
    runs.extend([three().f2(), theorem().f5(true), b3(), three().b4(), t1(), f4(), a1()]);
    runs.extend(frozen());
    runs.extend(training::everything(2));
    runs
}

fn images(id: &str, runs: &[Run]) -> Images {
    match render(id, runs).unwrap() {
        Drawing::Figure(images) => images,
        Drawing::Table(_) => panic!("{id} is a table"),
    }
}

fn table(id: &str, runs: &[Run]) -> Table {
    match render(id, runs).unwrap() {
        Drawing::Table(table) => table,
        Drawing::Figure(_) => panic!("{id} is a figure"),
    }
}

fn error(id: &str, runs: &[Run]) -> String {
    render(id, runs).unwrap_err().to_string()
}

#[test]
fn names_are_found_in_small_and_capital_letters() {
    assert_eq!(find("F1"), find("f1"));
    assert_eq!(find("t2").unwrap().experiment, "f1");
    assert!(find("f33").is_none());
    assert!(catalogue().all(|entry| find(entry.id) == Some(entry)));
    let message = error("f33", &[]);
    assert!(message.contains("`f33`") && message.contains("f1, f1-spectrum, f2, "), "{message}");
}

#[test]
fn all_formats_are_whole_and_the_same_every_time() {
    let runs = everything();
    for id in ["f1", "f2", "f4", "f5", "a1"] {
        let first = images(id, &runs);
        assert!(first.svg.starts_with("<svg ") && first.svg.ends_with("</svg>\n"), "{id}");
        assert!(!first.svg.contains("<text"), "{id}: text must be outlines");
        assert!(first.svg.len() < 300_000, "{id}: {} bytes of SVG", first.svg.len());
        assert!(first.png.starts_with(b"\x89PNG\r\n\x1a\n"), "{id}");
        assert_eq!(u32::from_be_bytes(first.png[16..20].try_into().unwrap()), 1600, "{id}: width");
        assert!(first.pdf.starts_with(b"%PDF-1.7\n") && first.pdf.ends_with(b"%%EOF"), "{id}");
        let text = String::from_utf8_lossy(&first.pdf);
        assert!(text.contains("DejaVuSans") && text.contains("/ToUnicode"), "{id}: fonts must be embedded");
        assert!(!text.contains("/CreationDate") && !text.contains("/ModDate"), "{id}");
        // Hash maps have another order in every call: often enough that chance does not hide it.
        for _ in 0..4 {
            assert!(images(id, &runs) == first, "{id}: not the same bytes");
        }
    }
}

#[test]
fn the_written_svg_is_the_picture_of_the_png() {
    use resvg::{tiny_skia, usvg};
    for id in ["f1", "f2", "f5"] {
        let images = images(id, &everything());
        let png = tiny_skia::Pixmap::decode_png(&images.png).unwrap();
        // No font is given: the text must be outlines.
        let tree = usvg::Tree::from_str(&images.svg, &usvg::Options::default()).unwrap();
        let mut pixels = tiny_skia::Pixmap::new(png.width(), png.height()).unwrap();
        resvg::render(&tree, tiny_skia::Transform::from_scale(2.0, 2.0), &mut pixels.as_mut());
        let changed = png.data().iter().zip(pixels.data()).filter(|(a, b)| a.abs_diff(**b) > 32).count();
        // Coordinates are rounded to a hundredth of a px, which moves the shade of an edge a little.
        assert!(changed * 1000 < png.data().len(), "{id}: {changed} of {}", png.data().len());
    }
}

#[test]
fn the_svg_says_what_it_shows() {
    let svg = images("f1", &everything()).svg;
    assert!(svg.contains("<title>Test accuracy by group over training"), "{}", &svg[..400]);
    for said in ["Colored-MNIST", "99%", "source: embedded", "4,000 training", "MLP with hidden 200", "3 seeds", "default scale"]
    {
        assert!(svg.contains(said), "{said}: {}", &svg[..1200]);
    }
    let svg = images("f2", &[three().f2()]).svg;
    assert!(svg.contains("priors p = (0.5, 0.3, 0.2)"), "{}", &svg[..1200]);
    let svg = images("f4", &[f4()]).svg;
    for said in ["20 classes", "200 dimensions", "2 seeds", "Length of the means, noise and n are ours"] {
        assert!(svg.contains(said), "{said}: {}", &svg[..1500]);
    }
    let svg = images("a1", &[a1()]).svg;
    for said in ["SpecGD −0.50 ± 0.01", "8 samples", "overshoot"] {
        assert!(svg.contains(said), "{said}: {}", &svg[..1900]);
    }
    let svg = images("f5", &[theorem().f5(false)]).svg;
    for said in
        ["0.25 μt for the minority loss of GD", "0.5 μt for the balanced loss of GD", "balanced constant for NGD was chosen here"]
    {
        assert!(svg.contains(said), "{said}: {}", &svg[..1500]);
    }
}

#[test]
fn best_stopping_points_are_tabulated_by_training_data() {
    let table = table("t4", &[f4()]);
    assert_eq!(table.headings, [(0, "n = 2,000".to_owned()), (4, "Population".to_owned())]);
    // SpecGD, 0.75 and 0.79 over the two seeds; NGD at 0.6 in both, whose lead is paired.
    let shown = |row: usize, column: usize| table.rows[row][column].shown.as_str();
    assert_eq!((shown(0, 0), shown(0, 1), shown(0, 2)), ("SpecGD", "0.1", "74.0 to 75.0"));
    assert_eq!((shown(0, 4), shown(0, 5), shown(0, 6)), ("77.0 ± 2.8", "78.0 ± 2.8", "–"));
    assert_eq!((shown(1, 0), shown(1, 4), shown(1, 6)), ("NGD", "60.0 ± 0.0", "17.0 ± 2.8"));
    assert_eq!((shown(3, 0), shown(3, 6)), ("SignGD, canonical means", "-3.0 ± 2.8"));
    let mut run = f4();
    run.records.retain(|record| record.metric != "best_worst");
    assert!(error("t4", &[run]).contains("metric `best_worst`, group `n-2000.rotated.seed-…`"));
}

#[test]
fn files_are_written_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let runs = everything();
    for entry in catalogue() {
        let ends = if entry.id.starts_with('t') { ["md", "tex", "csv"] } else { ["svg", "png", "pdf"] };
        let paths = draw(&entry.id.to_uppercase(), &runs, folder.path()).unwrap();
        assert_eq!(paths, ends.map(|end| folder.path().join(format!("{}.{end}", entry.id))));
        assert!(paths.iter().all(|path| path.metadata().unwrap().len() > 100));
    }
    let blocked = folder.path().join("blocked");
    fs_err::write(&blocked, "").unwrap();
    let failed = draw("f2", &runs, &blocked).unwrap_err();
    assert!(matches!(&failed, Error::Write { path, .. } if path.ends_with("f2.svg")), "{failed}");
}

#[test]
fn tables() {
    insta::assert_snapshot!("t1", every_format(&table("t1", &[t1()])));
    // Accuracies of whole 64ths, so that the numbers are the same on every machine.
    let mut runs = f1(&["muon", "nmd", "signum"], 2);
    runs.iter_mut().flat_map(|run| &mut run.records).filter(|record| record.metric == "accuracy").for_each(|record| {
        record.value = (64.0 * record.value).round() / 64.0;
    });
    insta::assert_snapshot!("t2", every_format(&table("t2", &runs)));
}

fn every_format(table: &Table) -> String {
    format!("{}\n{}\n{}", table.markdown_page(), table.latex(), table.csv())
}

#[test]
fn awkward_runs_are_drawn() {
    // One seed; a rule that stopped in every seed, one of them at the start; an unknown rule; many components.
    let mut runs = f1(&["nmd", "lion"], 1);
    runs.extend([diverge(training_run("muon", 0), 3.0), diverge(training_run("signum", 0), 0.0)]);
    let svg = images("f1", &runs).svg;
    for said in ["one seed, so no spread is shown", "Diverged: Muon with 1 of 1, Signum with 1 of 1 seeds"] {
        assert!(svg.contains(said), "{}", &svg[..1500]);
    }
    let shown = table("t2", &runs).markdown_page();
    assert!(shown.contains("1 (1 diverged)") && shown.contains("lion") && shown.contains("–"), "{shown}");
    assert!(images("f2", &[ten().f2()]).svg.len() < 300_000);
    images("f5", &[ten().f5(false)]);
}

#[test]
fn an_empty_store_is_named() {
    for entry in catalogue() {
        let message = error(entry.id, &[]);
        assert!(message.starts_with(entry.id) && message.contains(&format!("`{}`", entry.experiment)), "{message}");
        assert!(message.contains("\nhint: "), "{message}");
    }
}

#[test]
fn a_missing_run_or_record_is_named() {
    let message = error("f1", &f1(&["muon", "nmd"], 2));
    assert!(message.contains("no training run of `signum`"), "{message}");
    let mut runs = f1(&ALL, 1);
    let moments = runs.pop();
    assert!(error("f1", &runs).contains("no run with the moments of the data"));
    let mut broken = moments.unwrap();
    broken.records.retain(|record| !(record.metric == "s_xx" && record.group == "4"));
    runs.push(broken);
    assert!(error("f1", &runs).contains("metric `s_xx`, group `4`"));

    for (rule, split, metric, group) in [("ngd", "closed-form", "alpha", "1"), ("mixture", "closed-form", "limit", "2")] {
        let mut run = three().f2();
        run.records.retain(|record| {
            !(record.optimizer == rule && record.split == split && record.metric == metric && record.group == group)
        });
        let message = error("f2", &[run]);
        assert!(message.starts_with("f2: ") && message.contains(metric), "{message}");
    }
    let mut run = theorem().f5(false);
    run.records.retain(|record| record.metric != "minority_bound");
    assert!(error("f5", &[run]).contains("metric `minority_bound`"));

    let mut run = t1();
    run.notes.remove("thm1-balanced.quantity");
    assert!(error("t1", &[run]).contains("note `thm1-balanced.quantity`"));
    let mut run = t1();
    run.records.retain(|record| !(record.metric == "pass" && record.group == "thm2-balanced-quarter"));
    assert!(error("t1", &[run]).contains("group `thm2-balanced-quarter`"));

    // Runs without a single number. T10 needs none: it shows what was asked for.
    let numbers = || catalogue().filter(|entry| entry.id != "t10");
    for entry in numbers() {
        let mut runs = everything();
        for run in &mut runs {
            run.records.clear();
        }
        runs.retain(|run| run.header.experiment == entry.experiment);
        assert!(matches!(render(entry.id, &runs), Err(Error::Missing { .. })), "{}", entry.id);
    }
    let mut runs = everything();
    runs.iter_mut().flat_map(|run| &mut run.records).for_each(|record| record.value = f64::NAN);
    for entry in numbers() {
        assert!(matches!(render(entry.id, &runs), Err(Error::Missing { .. })), "{}", entry.id);
    }
}

#[test]
fn runs_that_do_not_belong_together_are_named() {
    let mut runs = f1(&ALL, 2);
    runs[3].header.scale = "smoke".into();
    let message = error("f1", &runs);
    assert!(message.contains("`default` and `smoke`"), "{message}");

    let mut runs = f1(&ALL, 2);
    runs.push(training_run("nmd", 1));
    let message = error("t2", &runs);
    assert!(message.contains("both of `nmd` with seed 1"), "{message}");

    let mut runs = f1(&ALL, 2);
    runs[0].header.spec["data"]["correlation"] = 0.95.into();
    let message = error("f1", &runs);
    assert!(message.contains("setting `data`") && message.contains("0.95"), "{message}");

    let mut runs = f1(&ALL, 1);
    runs.push(moments_run());
    assert!(error("f1", &runs).contains("2 of them hold the moments"));
    assert!(error("f2", &[three().f2(), ten().f2()]).contains("there should be one, and there are 2"));
}
