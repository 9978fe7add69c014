//! Orthogonalizers from outside: what they keep, batches, extremes, bad input, settings.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{bits, frobenius, max_abs, max_difference, normal, rule, with_singular_values};
use isorate_optim::{
    Error, ExactPolar, GroupRules, IterationDtype, JORDAN_COEFFICIENTS, NamedParam, NewtonSchulz, OddPolynomial, Optimizer,
    Orthogonalize, Orthogonalizer, PolynomialSchedule, Role, RuleConfig,
};
use proptest::prelude::*;

fn all() -> Vec<Box<dyn Orthogonalize>> {
    vec![
        Box::new(ExactPolar),
        Box::new(NewtonSchulz::jordan(5)),
        Box::new(NewtonSchulz::jordan(8)),
        Box::new(OddPolynomial::you()),
        Box::new(OddPolynomial::polar_express()),
        Box::new(OddPolynomial::custom(vec![[1.5, -0.5, 0.0]; 3])),
        Box::new(Orthogonalizer::NewtonSchulz(NewtonSchulz::default())),
        Box::new(OddPolynomial { schedule: PolynomialSchedule::You, dtype: IterationDtype::F16 }),
        Box::new(NewtonSchulz { steps: 5, dtype: IterationDtype::F64 }),
        Box::new(NewtonSchulz { steps: 5, dtype: IterationDtype::BF16 }),
    ]
}

fn image(steps: &[[f64; 3]], sigma: f64) -> f64 {
    steps.iter().fold(sigma, |x, [a, b, c]| a * x + b * x.powi(3) + c * x.powi(5))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The result is U diag(p(σ)) Vᵀ with the U and V of the input.
    #[test]
    fn singular_vectors_are_kept(r in 1_usize..20, c in 1_usize..20, seed: u64, which in 0_usize..4) {
        let seed = seed >> 2;
        let k = r.min(c);
        let sigma: Vec<f64> = (0..k).map(|i| 0.8_f64.powi(i32::try_from(i).unwrap())).collect();
        let x = with_singular_values(r, c, &sigma, seed);
        let norm = frobenius(&x);
        let (a, b, c3) = JORDAN_COEFFICIENTS;
        let jordan = vec![[a, b, c3]; 5];
        let custom = OddPolynomial::custom(vec![[2.0, -1.5, 0.5], [1.5, -0.5, 0.0]]);
        let (o, steps, divisor) = match which {
            0 => (NewtonSchulz::jordan(5).orthogonalize(&x), jordan, norm),
            1 => (OddPolynomial::you().orthogonalize(&x), OddPolynomial::you().coefficients().to_vec(), norm),
            2 => {
                let polar = OddPolynomial::polar_express();
                (polar.orthogonalize(&x), polar.coefficients().to_vec(), 1.02 * norm + 1e-7)
            }
            _ => (custom.orthogonalize(&x), custom.coefficients().to_vec(), norm),
        };
        let images: Vec<f64> = sigma.iter().map(|s| image(&steps, s / divisor)).collect();
        let expected = with_singular_values(r, c, &images, seed);
        prop_assert!(max_difference(&o.unwrap(), &expected) < 1e-9);
    }

    #[test]
    fn batches_have_the_bits_of_their_matrices(shapes in prop::collection::vec((1_usize..40, 1_usize..40), 1..12), seed: u64) {
        let matrices: Vec<Tensor> = shapes
            .iter()
            .enumerate()
            // Every third shape comes twice, and types are mixed.
            .flat_map(|(i, &(r, c))| (0..=i % 3 / 2).map(move |j| (r, c, i + 50 * j)))
            .map(|(r, c, i)| {
                let x = normal(&[r, c], (seed >> 1) + i as u64);
                if i % 2 == 0 { x } else { x.to_dtype(DType::F32).unwrap() }
            })
            .collect();
        for method in all() {
            let together = method.orthogonalize_all(&matrices).unwrap();
            prop_assert_eq!(together.len(), matrices.len());
            for (x, o) in matrices.iter().zip(&together) {
                prop_assert_eq!(bits(o), bits(&method.orthogonalize(x).unwrap()));
                prop_assert_eq!((o.dtype(), o.dims()), (x.dtype(), x.dims()));
            }
        }
    }
}

#[test]
fn large_and_small_matrices_share_a_batch() {
    let shapes = [[300, 260], [4, 700], [260, 300], [300, 300], [3, 3], [4, 700]];
    let matrices: Vec<Tensor> =
        shapes.iter().enumerate().map(|(i, s)| normal(s, i as u64).to_dtype(DType::F32).unwrap()).collect();
    for method in [&NewtonSchulz::default() as &dyn Orthogonalize, &OddPolynomial::polar_express()] {
        for (x, o) in matrices.iter().zip(method.orthogonalize_all(&matrices).unwrap()) {
            assert_eq!(bits(&o), bits(&method.orthogonalize(x).unwrap()));
        }
    }
}

#[test]
fn zero_stays_zero_and_rank_is_kept() {
    for method in all() {
        for shape in [[1, 1], [1, 6], [6, 1], [4, 6], [6, 4], [5, 5]] {
            for dtype in [DType::F32, DType::F64] {
                let zero = Tensor::zeros(&shape, dtype, &Device::Cpu).unwrap();
                assert_eq!(max_abs(&method.orthogonalize(&zero).unwrap()), 0.0, "{method:?}");
            }
        }
        // Rank 2 of 4: the null space gets no step, since odd polynomials map 0 to 0.
        for (r, c) in [(4, 9), (9, 4), (4, 4)] {
            let x = with_singular_values(r, c, &[1.0, 0.7], 3);
            let o = method.orthogonalize(&x).unwrap();
            let polar = with_singular_values(r, c, &[1.0, 1.0], 3);
            let inside = o.matmul(&polar.t().unwrap().matmul(&polar).unwrap()).unwrap();
            // Rounding in the null space grows with the slope at 0, some 500.
            let name = format!("{method:?}");
            // One rounding to bf16, 2⁻⁹ of the element, alone grows to about 0.4 with the slope.
            let tolerance = if name.contains("BF16") {
                0.6
            } else if name.contains("F16") {
                0.2
            } else {
                1e-3
            };
            assert!(max_difference(&inside, &o) < tolerance, "{method:?}: {}", max_difference(&inside, &o));
        }
    }
}

#[test]
fn the_scale_of_the_matrix_does_not_matter() {
    for method in all() {
        for (r, c) in [(5, 5), (4, 9), (9, 4)] {
            let x = normal(&[r, c], 2);
            let plain = method.orthogonalize(&x).unwrap();
            for scale in [1e-3, 1e6, 1e100, 1e300, 1e307] {
                let o = method.orthogonalize(&(&x * scale).unwrap()).unwrap();
                // Polar Express adds 1e-7 to the norm; float16 rounds.
                let tolerance = if format!("{method:?}").contains("F16") { 1e-2 } else { 1e-3 };
                assert!(max_difference(&o, &plain) < tolerance, "{method:?} {scale:e}");
            }
        }
    }
}

#[test]
fn not_a_number_is_an_error_on_the_cpu() {
    for method in all() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for shape in [[2, 2], [1, 4], [4, 1]] {
                for dtype in [DType::F32, DType::F64] {
                    let x = Tensor::from_vec(vec![1.0, 2.0, bad, 0.0], &shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                    // float16 goes through candle's operations, which do not look at the elements.
                    match method.orthogonalize(&x) {
                        Err(Error::NonFiniteMatrix) => {}
                        Ok(o) => {
                            let values: Vec<f64> = o.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                            assert!(values.iter().any(|x| x.is_nan()) && format!("{method:?}").contains("F16"), "{method:?}");
                        }
                        Err(other) => panic!("{method:?}: {other}"),
                    }
                    let good = Tensor::ones(&shape, dtype, &Device::Cpu).unwrap();
                    let all = method.orthogonalize_all(&[good, x]);
                    assert!(all.is_err() || format!("{method:?}").contains("F16"));
                }
            }
        }
    }
    assert!(ExactPolar.orthogonalize_all(&[]).unwrap().is_empty());
}

#[test]
fn an_optimizer_step_has_the_bits_of_single_steps() {
    let rules = [
        r#"{"rule":"specgd","lr":0.1}"#,
        r#"{"rule":"muon","lr":0.1,"weight_decay":0.1}"#,
        r#"{"rule":"muon","lr":0.1,"orthogonalizer":"polar-express","nesterov":false}"#,
        r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact"}"#,
    ];
    let shapes = [&[5, 8][..], &[8, 5], &[5, 8], &[6, 2, 3, 3], &[1, 7], &[5, 5]];
    for json in rules {
        for dtype in [DType::F32, DType::F64] {
            let start = |i: usize| normal(shapes[i], i as u64).to_dtype(dtype).unwrap();
            let gradients = |i: usize| -> Vec<Tensor> {
                (0..3).map(|k| normal(shapes[i], 100 + 10 * i as u64 + k).to_dtype(dtype).unwrap()).collect()
            };
            let vars: Vec<Var> = (0..shapes.len()).map(|i| Var::from_tensor(&start(i)).unwrap()).collect();
            let params = vars.iter().enumerate().map(|(i, v)| NamedParam::new(format!("{i}"), Role::Matrix, v.clone())).collect();
            let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule(json))).unwrap();
            for k in 0..3 {
                let mut store = candle_core::backprop::GradStore::default();
                for (i, var) in vars.iter().enumerate() {
                    store.insert(var, gradients(i)[k].clone());
                }
                optimizer.step(&store).unwrap();
            }
            for (i, var) in vars.iter().enumerate() {
                assert_eq!(bits(var), bits(&common::run(&start(i), &rule(json), &gradients(i))), "{json}");
            }
        }
    }
}

#[test]
fn every_orthogonalizer_can_be_set() {
    let muon = |keys: &str| serde_json::from_str::<RuleConfig>(&format!(r#"{{"rule":"muon","lr":0.1{keys}}}"#));
    let chosen = |keys| match muon(keys).unwrap() {
        RuleConfig::Muon(muon) => muon.orthogonalizer,
        other => panic!("{other:?}"),
    };
    let in_f64 = |schedule| Orthogonalizer::Polynomial(OddPolynomial { schedule, dtype: IterationDtype::F64 });
    let pairs = [
        (r#","orthogonalizer":"you""#, Orthogonalizer::Polynomial(OddPolynomial::you())),
        (r#","orthogonalizer":"polar-express","ns_dtype":"f64""#, in_f64(PolynomialSchedule::PolarExpress)),
        (
            r#","orthogonalizer":"polynomial","coefficients":[[1.5,-0.5,0],[2,-1.5,0.5]]"#,
            Orthogonalizer::Polynomial(OddPolynomial::custom(vec![[1.5, -0.5, 0.0], [2.0, -1.5, 0.5]])),
        ),
    ];
    for (keys, expected) in pairs {
        assert_eq!(chosen(keys), expected);
        let written = serde_json::to_string(&muon(keys).unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<RuleConfig>(&written).unwrap(), muon(keys).unwrap());
        let through_toml = toml::to_string(&muon(keys).unwrap()).unwrap();
        assert_eq!(toml::from_str::<RuleConfig>(&through_toml).unwrap(), muon(keys).unwrap());
    }
    let written = serde_json::to_string(&muon(r#","orthogonalizer":"you""#).unwrap()).unwrap();
    assert_eq!(
        written,
        r#"{"rule":"muon","lr":0.1,"momentum":0.95,"nesterov":true,"orthogonalizer":"you","ns_dtype":"tensor","scale":"original","weight_decay":0.0}"#
    );
    for (keys, expected) in [
        (r#","orthogonalizer":"you","ns_steps":5"#, "muon: `ns_steps` has no meaning with orthogonalizer = \"you\""),
        (r#","coefficients":[[1,2,3]]"#, "muon: `coefficients` has no meaning with orthogonalizer = \"newton-schulz\""),
        (r#","orthogonalizer":"exact","coefficients":[]"#, "muon: `coefficients` has no meaning"),
        (r#","orthogonalizer":"polynomial""#, "muon: orthogonalizer = \"polynomial\" needs `coefficients`"),
        (r#","orthogonalizer":"polynomial","coefficients":[[1,2]]"#, "invalid length 2"),
    ] {
        let message = muon(keys).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let empty = muon(r#","orthogonalizer":"polynomial","coefficients":[]"#).unwrap();
    assert!(empty.validate().unwrap_err().to_string().starts_with("muon: coefficients = [], but at least one step"));
    let mut infinite = muon(r#","orthogonalizer":"polynomial","coefficients":[[1,2,3]]"#).unwrap();
    if let RuleConfig::Muon(muon) = &mut infinite {
        muon.orthogonalizer = Orthogonalizer::Polynomial(OddPolynomial::custom(vec![[f64::NAN, 0.0, 0.0]]));
    }
    assert!(infinite.validate().unwrap_err().to_string().starts_with("muon: coefficients = [[NaN, 0.0, 0.0]], but they must"));
}
