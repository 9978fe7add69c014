//! Spectral probes: known spectra, invariances, ratios worked out by hand, and that they change nothing.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{all_rules, bits, normal, with_singular_values};
use isorate_optim::{
    Bases, Error, GroupRules, NamedParam, Optimizer, Orthogonalizer, ProbeConfig, ProbeProblem, ProbeRecord, Role, SpectralProbe,
    Spectrum,
};

const SIGMA: [f64; 4] = [3.0, 2.0, 0.5, 0.125];
const SHAPES: [(usize, usize); 4] = [(4, 4), (9, 4), (4, 9), (60, 150)];

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance * b.abs(), "{a} is not {b}");
}

/// A random orthogonal matrix.
fn rotation(size: usize, seed: u64) -> Tensor {
    Orthogonalizer::Exact.apply(&normal(&[size, size], seed)).unwrap()
}

fn matrix<const R: usize, const C: usize>(rows: &[[f64; C]; R]) -> Tensor {
    Tensor::new(rows, &Device::Cpu).unwrap()
}

#[test]
fn known_spectra_are_found() {
    let (squares, sum): (f64, f64) = (SIGMA.iter().map(|s| s * s).sum(), SIGMA.iter().sum());
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-6)] {
        for (rows, columns) in SHAPES {
            let a = with_singular_values(rows, columns, &SIGMA, 3).to_dtype(dtype).unwrap();
            let spectrum = Spectrum::of(&a, None).unwrap();
            assert_eq!(spectrum.singular_values.len(), rows.min(columns));
            for (found, expected) in spectrum.singular_values.iter().zip(SIGMA) {
                close(*found, expected, tolerance);
            }
            close(spectrum.frobenius_norm, squares.sqrt(), tolerance);
            close(spectrum.stable_rank, squares / 9.0, 2.0 * tolerance);
            if dtype == DType::F64 {
                // In f32, rounding the elements gives the other singular values a size near the limit.
                assert_eq!(spectrum.rank, 4, "{rows}×{columns}");
                assert!(spectrum.singular_values[4..].iter().all(|&s| s == 0.0));
                close(spectrum.nuclear_norm, sum, tolerance);
                close(spectrum.nuclear_rank, sum * sum / squares, 2.0 * tolerance);
                close(spectrum.nuclear_over_spectral, sum / 3.0, 2.0 * tolerance);
            }
        }
    }
}

#[test]
fn flat_and_rank_one_spectra_are_the_extremes() {
    for (rows, columns) in [(5, 5), (7, 5), (5, 7)] {
        let flat = Spectrum::of(&with_singular_values(rows, columns, &[2.0; 5], 1), None).unwrap();
        let one = Spectrum::of(&with_singular_values(rows, columns, &[2.0], 1), None).unwrap();
        for (rank, spectrum) in [(5.0, &flat), (1.0, &one)] {
            close(spectrum.stable_rank, rank, 1e-13);
            close(spectrum.nuclear_rank, rank, 1e-13);
            close(spectrum.nuclear_over_spectral, rank, 1e-13);
            assert_eq!(spectrum.rank as f64, rank);
        }
    }
}

/// The Gram matrix, which f32 takes, keeps every singular value that f32 can represent; f64 keeps more.
#[test]
fn small_singular_values_are_resolved() {
    let sigma: Vec<f64> = (0..6).map(|i| 10.0_f64.powi(-i)).collect();
    let diagonal = |sigma: &[f64]| {
        let size = sigma.len();
        let values = (0..size * size).map(|i| if i % (size + 1) == 0 { sigma[i / (size + 1)] } else { 0.0 }).collect();
        Tensor::from_vec::<_, f64>(values, (size, size), &Device::Cpu).unwrap()
    };
    // A mix of rows by ±1, exact in f32, so that the decompositions have work to do.
    let hadamard = matrix(&[[1.0, 1.0], [1.0, -1.0]]);
    let mixed = hadamard.matmul(&diagonal(&[1.0, 2.0_f64.powi(-20)])).unwrap();
    for dtype in [DType::F32, DType::F64] {
        let spectrum = Spectrum::of(&diagonal(&sigma).to_dtype(dtype).unwrap(), None).unwrap();
        spectrum.singular_values.iter().zip(&sigma).for_each(|(a, b)| close(*a, *b, 1e-6));
        let spectrum = Spectrum::of(&mixed.to_dtype(dtype).unwrap(), None).unwrap();
        close(spectrum.singular_values[1], 2.0_f64.sqrt() * 2.0_f64.powi(-20), 1e-4);
    }
    let sigma: Vec<f64> = (0..6).map(|i| 10.0_f64.powi(-2 * i)).collect();
    let a = with_singular_values(6, 8, &sigma, 5);
    let spectrum = Spectrum::of(&a, None).unwrap();
    spectrum.singular_values.iter().zip(&sigma).for_each(|(a, b)| assert!((a - b).abs() < 1e-14, "{a} is not {b}"));
}

#[test]
fn rotations_change_nothing() {
    let (a, l, r) = (normal(&[6, 11], 1), rotation(6, 2), rotation(11, 3));
    let rotated = l.matmul(&a).unwrap().matmul(&r).unwrap();
    for dtype in [DType::F64, DType::F32] {
        let tolerance = if dtype == DType::F64 { 1e-13 } else { 1e-6 };
        let spectrum = |t: &Tensor| Spectrum::of(&t.to_dtype(dtype).unwrap(), None).unwrap();
        let (one, other, transposed) = (spectrum(&a), spectrum(&rotated), spectrum(&a.t().unwrap()));
        for other in [&other, &transposed] {
            one.singular_values.iter().zip(&other.singular_values).for_each(|(a, b)| close(*a, *b, 10.0 * tolerance));
            close(one.nuclear_rank, other.nuclear_rank, tolerance);
            close(one.stable_rank, other.stable_rank, tolerance);
        }
    }
}

#[test]
fn every_size_and_shape_is_handled() {
    for dtype in [DType::F32, DType::F64] {
        let zero = Spectrum::of(&Tensor::zeros((3, 2), dtype, &Device::Cpu).unwrap(), None).unwrap();
        assert_eq!((zero.singular_values.as_slice(), zero.rank), ([0.0; 2].as_slice(), 0));
        assert_eq!((zero.stable_rank, zero.nuclear_rank, zero.nuclear_over_spectral), (0.0, 0.0, 0.0));
        for shape in [(1, 2), (2, 1)] {
            let line = Tensor::new(&[3.0_f64, -4.0], &Device::Cpu).unwrap().reshape(shape).unwrap().to_dtype(dtype).unwrap();
            let spectrum = Spectrum::of(&line, None).unwrap();
            close(spectrum.spectral_norm(), 5.0, 1e-15);
            close(spectrum.nuclear_rank, 1.0, 1e-15);
        }
    }
    for scale in [1e-250, 1e-120, 1e120, 1e250] {
        let spectrum = Spectrum::of(&matrix(&[[3.0 * scale, 0.0], [0.0, 4.0 * scale]]), None).unwrap();
        close(spectrum.singular_values[1], 3.0 * scale, 1e-13);
        close(spectrum.frobenius_norm, 5.0 * scale, 1e-13);
        close(spectrum.nuclear_norm, 7.0 * scale, 1e-13);
        close(spectrum.nuclear_rank, 49.0 / 25.0, 1e-13);
    }
    let half = Spectrum::of(&matrix(&[[3.0, 0.0], [0.0, 4.0]]).to_dtype(DType::BF16).unwrap(), None).unwrap();
    close(half.stable_rank, 25.0 / 16.0, 1e-13);
    let filters = normal(&[5, 2, 3, 3], 4);
    let flat = Spectrum::of(&filters.reshape((5, 18)).unwrap(), None).unwrap();
    assert_eq!(Spectrum::of(&filters, None).unwrap(), flat);
    let top = Spectrum::of(&filters, Some(2)).unwrap();
    assert_eq!(top.singular_values, flat.singular_values[..2]);
    assert_eq!((top.nuclear_norm, top.rank), (flat.nuclear_norm, 5));
    assert!(matches!(Spectrum::of(&normal(&[4], 1), None), Err(Error::MatrixShape { .. })));
    let text = Spectrum::of(&matrix(&[[1.0, f64::NAN]]), None).unwrap_err().to_string();
    assert!(text.ends_with("holds a NaN or an infinity"), "{text}");
}

/// One parameter `w` with a gradient, changed by `step` while the probe looks.
fn record_of(w: &Tensor, gradient: &Tensor, config: ProbeConfig, bases: Option<Bases>, step: impl Fn(&Var)) -> ProbeRecord {
    let var = Var::from_tensor(w).unwrap();
    let mut probe = SpectralProbe::new(config, &[NamedParam::new("w", Role::Matrix, var.clone())]).unwrap();
    if let Some(bases) = bases {
        probe = probe.with_bases("w", bases).unwrap();
    }
    let mut gradients = GradStore::default();
    gradients.insert(&var, gradient.clone());
    probe.before(0, &gradients).unwrap();
    step(&var);
    probe.after().unwrap().unwrap()
}

#[test]
fn ratios_agree_with_those_by_hand() {
    // All values are exact in every type.
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        let w = matrix(&[[3.0, 0.0], [0.0, 4.0]]).to_dtype(dtype).unwrap();
        let change = matrix(&[[0.0, 1.0], [2.0, 0.0]]).to_dtype(dtype).unwrap();
        let config = ProbeConfig::every(1);
        let record = record_of(&w, &change, config, None, |var| var.set(&(var.as_tensor() - &change).unwrap()).unwrap());
        assert!(record.seconds > 0.0);
        let param = &record.params[0];
        close(param.ratio.frobenius.unwrap(), 5.0_f64.sqrt() / 5.0, 1e-15);
        close(param.ratio.spectral.unwrap(), 2.0 / 4.0, 1e-15);
        let (weight, gradient, update) = (param.weight.as_ref(), param.gradient.as_ref(), param.update.as_ref());
        close(weight.unwrap().singular_values[1], 3.0, 1e-15);
        close(gradient.unwrap().stable_rank, 5.0 / 4.0, 1e-15);
        close(update.unwrap().nuclear_rank, 9.0 / 5.0, 1e-15);
    }

    // A vector has the ratio alone; a weight of zeros has none.
    let vector = Tensor::new(&[3.0_f64, 4.0], &Device::Cpu).unwrap();
    let halved =
        record_of(&vector, &vector, ProbeConfig::every(1), None, |var| var.set(&(var.as_tensor() * 0.5).unwrap()).unwrap());
    let param = &halved.params[0];
    assert_eq!((&param.weight, &param.gradient, &param.update), (&None, &None, &None));
    assert_eq!((param.ratio.frobenius, param.ratio.spectral), (Some(0.5), None));
    let w = matrix(&[[3.0, 0.0], [0.0, 4.0]]);
    let zero = w.zeros_like().unwrap();
    let first = record_of(&zero, &w, ProbeConfig::every(1), None, |var| var.set(&w).unwrap());
    assert_eq!((first.params[0].ratio.frobenius, first.params[0].ratio.spectral), (None, None));
    close(first.params[0].update.as_ref().unwrap().frobenius_norm, 5.0, 1e-15);
}

#[test]
fn alignment_agrees_with_that_by_hand() {
    // L and R are columns of rotations; A = 5.5 l₁r₁ᵀ − 3 l₂r₂ᵀ + 4 l₃r₂ᵀ, so its second singular vector on the left is
    // (−3 l₂ + 4 l₃)/5.
    let (left, right) = (rotation(4, 1), rotation(6, 2));
    let core = matrix(&[
        [5.5, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, -3.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 4.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]);
    let a = left.matmul(&core).unwrap().matmul(&right.t().unwrap()).unwrap();
    let (l, r) = (left.narrow(1, 0, 2).unwrap(), right.narrow(1, 0, 2).unwrap());
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-5)] {
        let a = a.to_dtype(dtype).unwrap();
        let seen = |bases| {
            let record = record_of(&a, &a, ProbeConfig::every(1), Some(bases), |_| ());
            // No update: nothing to be aligned.
            let update = record.params[0].update.clone().unwrap();
            assert_eq!((update.rank, update.alignment.unwrap().left_share.unwrap_or(0.0)), (0, 0.0));
            record.params[0].weight.clone().unwrap().alignment.unwrap()
        };
        let pair = seen(Bases::pair(&l, &r).unwrap());
        let squares = 5.5 * 5.5 + 25.0;
        close(pair.left_share.unwrap(), (5.5 * 5.5 + 9.0) / squares, tolerance);
        close(pair.right_share.unwrap(), 1.0, tolerance);
        let coefficients = pair.coefficients.unwrap();
        close(coefficients[0], 5.5, tolerance);
        close(coefficients[1], -3.0, tolerance);
        let expected = [[1.0, 0.0], [0.0, 0.6]];
        let cosines = pair.left_cosines.unwrap();
        for (i, row) in expected.iter().enumerate() {
            row.iter().enumerate().for_each(|(j, e)| assert!((cosines[i][j] - e).abs() < tolerance, "{cosines:?}"));
        }
        let cosines = pair.right_cosines.unwrap();
        (0..2).for_each(|i| close(cosines[i][i], 1.0, tolerance));
        let one = seen(Bases::right(&r).unwrap());
        assert_eq!((one.left_share, one.left_cosines, one.coefficients), (None, None, None));
        close(one.right_share.unwrap(), 1.0, tolerance);
        let one = seen(Bases::left(&l).unwrap());
        assert!(one.right_share.is_none() && one.right_cosines.is_none());
    }
}

/// A fixed run of two steps of each kind with all settings of the probe, or without a probe.
fn run(rule: &isorate_optim::RuleConfig, probed: bool) -> (Vec<Vec<u64>>, Vec<ProbeRecord>) {
    let dtype = DType::F32;
    let shapes: [&[usize]; 3] = [&[5, 7], &[4, 2, 3, 3], &[6]];
    let var = |i: usize| Var::from_tensor(&normal(shapes[i], i as u64).to_dtype(dtype).unwrap()).unwrap();
    let vars = [var(0), var(1), var(2)];
    let roles = [Role::Matrix, Role::Matrix, Role::Vector];
    let names = ["fc1.weight", "conv2.weight", "fc1.bias"];
    let params: Vec<NamedParam> = (0..3).map(|i| NamedParam::new(names[i], roles[i], vars[i].clone())).collect();
    let bases = Bases::left(&rotation(5, 3).narrow(1, 0, 2).unwrap()).unwrap();
    let mut probe = SpectralProbe::new(ProbeConfig::every(2), &params).unwrap().with_bases("fc1.weight", bases).unwrap();
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap();
    let mut records = Vec::new();
    for step in 0..5 {
        let mut gradients = GradStore::default();
        for (i, var) in vars.iter().enumerate() {
            gradients.insert(var, normal(shapes[i], 10 + step + 100 * i as u64).to_dtype(dtype).unwrap());
        }
        if probed {
            probe.before(step, &gradients).unwrap();
        }
        optimizer.step(&gradients).unwrap();
        if probed {
            let record = probe.after().unwrap();
            assert_eq!(record.is_some(), probe.is_due(step));
            records.extend(record);
        }
    }
    (vars.iter().map(|v| bits(v)).collect(), records)
}

#[test]
fn training_gives_the_same_bits_with_and_without_a_probe() {
    for rule in all_rules() {
        let (with, records) = run(&rule, true);
        assert_eq!(with, run(&rule, false).0, "{rule:?}");
        assert_eq!(records.iter().map(|r| r.step).collect::<Vec<_>>(), [0, 2, 4]);
        for record in &records {
            let names: Vec<&str> = record.params.iter().map(|p| p.name.as_str()).collect();
            assert_eq!(names, ["fc1.weight", "conv2.weight", "fc1.bias"]);
            // The first step of SOAP only initialises.
            let moves = record.step > 0 || rule.name() != "soap";
            assert!(record.params.iter().all(|p| !moves || p.ratio.frobenius.unwrap() > 0.0), "{rule:?}");
            assert!(record.params[0].update.as_ref().unwrap().alignment.is_some());
        }
    }
}

/// A spectral step has a flat spectrum; this is what the probe is for.
#[test]
fn spectral_updates_are_seen_to_be_flat() {
    let (_, records) = run(&common::rule(r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact","scale":"none"}"#), true);
    for record in records {
        for param in &record.params[..2] {
            let (gradient, update) = (param.gradient.as_ref().unwrap(), param.update.as_ref().unwrap());
            let full = param.shape[0] as f64;
            close(update.stable_rank, full, 1e-4);
            close(update.spectral_norm(), 0.1, 1e-4);
            assert!(gradient.stable_rank < 0.9 * full);
            close(param.ratio.spectral.unwrap(), 0.1 / param.weight.as_ref().unwrap().spectral_norm(), 1e-4);
        }
    }
}

#[test]
fn records_do_not_depend_on_the_number_of_threads() {
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let a = normal(&[150, 400], 1);
            let bases = || Bases::right(&rotation(400, 2).narrow(1, 0, 9).unwrap()).unwrap();
            [DType::F32, DType::F64].map(|dtype| {
                let a = a.to_dtype(dtype).unwrap();
                [None, Some(bases())].map(|bases| {
                    let record = record_of(&a, &a, ProbeConfig::every(1), bases, |_| ());
                    record.params[0].gradient.clone().unwrap()
                })
            })
        })
    };
    let one = with_threads(1);
    for threads in [2, 3, 7] {
        assert_eq!(with_threads(threads), one, "{threads} threads");
    }
}

#[test]
fn what_is_not_wanted_is_left_out() {
    let w = normal(&[3, 4], 1);
    let config = ProbeConfig { top: Some(2), weights: false, gradients: false, updates: true, ..ProbeConfig::every(1) };
    let record = record_of(&w, &w, config.clone(), None, |var| var.set(&(var.as_tensor() * 0.5).unwrap()).unwrap());
    let param = &record.params[0];
    assert_eq!((&param.weight, &param.gradient), (&None, &None));
    assert_eq!(param.update.as_ref().unwrap().singular_values.len(), 2);
    assert_eq!(param.ratio.spectral, None);
    close(param.ratio.frobenius.unwrap(), 0.5, 1e-15);
    let json = serde_json::to_value(&record).unwrap();
    assert!(json["params"][0].get("weight").is_none());
    assert!(json["params"][0]["ratio"]["spectral"].is_null());
    assert_eq!(serde_json::from_value::<ProbeRecord>(json).unwrap(), record);
    let settings = toml::to_string(&config).unwrap();
    assert_eq!(settings, "every = 1\ntop = 2\nweights = false\ngradients = false\nupdates = true\n");
    assert_eq!(toml::from_str::<ProbeConfig>("every = 3").unwrap(), ProbeConfig::every(3));
    assert!(toml::from_str::<ProbeConfig>("every = 3\nevry = 2").is_err());
}

#[test]
fn parameters_without_a_gradient_have_no_gradient_spectrum() {
    let var = Var::from_tensor(&normal(&[3, 4], 1)).unwrap();
    let mut probe = SpectralProbe::new(ProbeConfig::every(1), &[NamedParam::new("w", Role::Matrix, var)]).unwrap();
    assert_eq!(probe.after().unwrap(), None);
    probe.before(0, &GradStore::default()).unwrap();
    // A record that was begun and not finished is given up.
    probe.before(1, &GradStore::default()).unwrap();
    let record = probe.after().unwrap().unwrap();
    assert_eq!((record.step, &record.params[0].gradient), (1, &None));
    assert_eq!(record.params[0].ratio.frobenius, Some(0.0));
    assert_eq!(probe.after().unwrap(), None);
}

#[test]
fn what_is_not_finite_is_named() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for shape in [vec![2, 2], vec![4]] {
            for dtype in [DType::F32, DType::F64] {
                let good = normal(&shape, 1).to_dtype(dtype).unwrap();
                let mut values = normal(&[4], 1).to_vec1::<f64>().unwrap();
                values[3] = bad;
                let bad = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                let var = Var::from_tensor(&good.copy().unwrap()).unwrap();
                let params = [NamedParam::new("blocks.3.mlp", Role::Matrix, var.clone())];
                let mut probe = SpectralProbe::new(ProbeConfig::every(2), &params).unwrap();
                let mut gradients = GradStore::default();
                gradients.insert(&var, good.clone());
                probe.before(4, &gradients).unwrap();
                var.set(&bad).unwrap();
                let text = probe.after().unwrap_err().to_string();
                let expected =
                    "probe: the update of parameter `blocks.3.mlp` holds a NaN or an infinity in step 4, so it has no spectrum";
                assert_eq!(text, expected);
                if shape.len() == 2 {
                    let error = probe.before(6, &gradients).unwrap_err();
                    assert!(error.to_string().starts_with("probe: the weight of parameter `blocks.3.mlp` holds"), "{error}");
                    var.set(&good).unwrap();
                    gradients.insert(&var, bad);
                    let error = probe.before(8, &gradients).unwrap_err();
                    assert!(error.to_string().starts_with("probe: the gradient of parameter `blocks.3.mlp` holds"), "{error}");
                }
                assert_eq!(probe.after().unwrap(), None);
            }
        }
    }
}

#[test]
fn a_probe_that_cannot_work_is_refused() {
    let var = |shape: &[usize]| Var::from_tensor(&normal(shape, 1)).unwrap();
    let params = [NamedParam::new("w", Role::Matrix, var(&[3, 4])), NamedParam::new("b", Role::Vector, var(&[3]))];
    let text = |result: Result<SpectralProbe, Error>| result.unwrap_err().to_string();
    let new = |config| SpectralProbe::new(config, &params);
    assert!(text(new(ProbeConfig::every(0))).starts_with("probe: every = 0, but it must be at least 1\nhint: "));
    assert!(text(new(ProbeConfig { top: Some(0), ..ProbeConfig::every(1) })).starts_with("probe: top = 0, but"));
    assert!(matches!(SpectralProbe::new(ProbeConfig::every(1), &[]), Err(Error::NoParameters)));
    let twice = [params[0].clone(), params[0].clone()];
    assert!(matches!(SpectralProbe::new(ProbeConfig::every(1), &twice), Err(Error::DuplicateName(_))));

    let basis = || Bases::left(&rotation(4, 1).narrow(1, 0, 2).unwrap()).unwrap();
    let with = |name, bases| new(ProbeConfig::every(1)).unwrap().with_bases(name, bases);
    assert_eq!(text(with("v", basis())), "probe: there is no parameter `v` to compare with bases");
    assert_eq!(
        text(with("b", basis())),
        "probe: parameter `b` of shape [3] is no matrix, so there is nothing to compare with bases"
    );
    assert_eq!(text(with("w", basis())), "probe: the left basis for parameter `w` has 4 rows, but the parameter needs 3");
    for shape in [vec![3], vec![2, 3], vec![3, 0]] {
        let error = Bases::right(&Tensor::zeros(shape.as_slice(), DType::F32, &Device::Cpu).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Probe(ProbeProblem::BasisShape { .. })), "{error}");
    }
    let skew = Bases::left(&matrix(&[[1.0, 1.0], [0.0, 1.0]])).unwrap_err().to_string();
    assert!(
        skew.starts_with("probe: the left basis is not orthonormal: columns 0 and 1 have the inner product 1\nhint: "),
        "{skew}"
    );
    assert!(Bases::left(&matrix(&[[f64::NAN]])).is_err());
    let (two, three) = (rotation(4, 1).narrow(1, 0, 2).unwrap(), rotation(5, 1).narrow(1, 0, 3).unwrap());
    let unpaired = Bases::pair(&two, &three).unwrap_err().to_string();
    assert_eq!(unpaired, "probe: the bases have 2 columns on the left and 3 on the right, but they must be pairs");
    let mut gradients = GradStore::default();
    gradients.insert(&params[0].var, normal(&[4, 3], 1));
    let error = new(ProbeConfig::every(1)).unwrap().before(0, &gradients).unwrap_err();
    assert!(error.to_string().starts_with("the gradient of parameter `w` is F64 of shape [4, 3]"), "{error}");
}
