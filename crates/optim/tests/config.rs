//! Rules as they stand in settings: defaults, strictness, the canonical form, ranges.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

use isorate_optim::{
    Adam, AdamW, Dion, Graft, IterationDtype, Muon, NewtonSchulz, Nmd, Orthogonalizer, Power, Rank, Result, RuleConfig, Scale,
    Scion, ScionNorm, Sgd, Shampoo, Signum, Soap, SpecGd,
};

const RULE_NAMES: [&str; 14] =
    ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "specgd", "muon", "dion", "scion", "power", "shampoo", "soap"];

fn parse(json: &str) -> Result<RuleConfig, String> {
    serde_json::from_str(json).map_err(|e| e.to_string())
}

fn canonical(json: &str) -> String {
    serde_json::to_string(&parse(json).unwrap()).unwrap()
}

#[test]
fn defaults_are_written_out() {
    let cases = [
        (r#"{"rule":"sgd","lr":0.1}"#, r#"{"rule":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0}"#),
        (r#"{"rule":"adam","lr":1}"#, r#"{"rule":"adam","lr":1.0,"beta1":0.9,"beta2":0.999,"eps":1e-8,"weight_decay":0.0}"#),
        (r#"{"lr":0.1,"rule":"adamw"}"#, r#"{"rule":"adamw","lr":0.1,"beta1":0.9,"beta2":0.999,"eps":1e-8,"weight_decay":0.01}"#),
        (r#"{"rule":"nmd","lr":0.1}"#, r#"{"rule":"nmd","lr":0.1,"momentum":0.9}"#),
        (r#"{"rule":"ngd","lr":0.1}"#, r#"{"rule":"nmd","lr":0.1,"momentum":0.0}"#),
        (r#"{"rule":"signum","lr":0.1}"#, r#"{"rule":"signum","lr":0.1,"momentum":0.9}"#),
        (r#"{"rule":"signgd","lr":0.1,"momentum":0}"#, r#"{"rule":"signum","lr":0.1,"momentum":0.0}"#),
        (r#"{"rule":"specgd","lr":0.1}"#, r#"{"rule":"specgd","lr":0.1}"#),
        // Weight decay came later to these rules, and is written only when it is there.
        (r#"{"rule":"specgd","lr":0.1,"weight_decay":0}"#, r#"{"rule":"specgd","lr":0.1}"#),
        (r#"{"rule":"specgd","lr":0.1,"weight_decay":0.5}"#, r#"{"rule":"specgd","lr":0.1,"weight_decay":0.5}"#),
        (r#"{"rule":"nmd","lr":0.1,"weight_decay":0}"#, r#"{"rule":"nmd","lr":0.1,"momentum":0.9}"#),
        (r#"{"rule":"ngd","lr":0.1,"weight_decay":0.5}"#, r#"{"rule":"nmd","lr":0.1,"momentum":0.0,"weight_decay":0.5}"#),
        (r#"{"rule":"signum","lr":0.1,"weight_decay":0}"#, r#"{"rule":"signum","lr":0.1,"momentum":0.9}"#),
        (r#"{"rule":"signgd","lr":0.1,"weight_decay":0.5}"#, r#"{"rule":"signum","lr":0.1,"momentum":0.0,"weight_decay":0.5}"#),
        (
            r#"{"rule":"dion","lr":0.01}"#,
            r#"{"rule":"dion","lr":0.01,"momentum":0.95,"rank_fraction":1.0,"weight_decay":0.01,"seed":0}"#,
        ),
        (
            r#"{"rule":"dion","lr":0.01,"rank":8,"seed":7}"#,
            r#"{"rule":"dion","lr":0.01,"momentum":0.95,"rank":8,"weight_decay":0.01,"seed":7}"#,
        ),
        (
            r#"{"rule":"scion","lr":0.1}"#,
            r#"{"rule":"scion","lr":0.1,"momentum":0.9,"radius":1.0,"constrained":true,"norm":"auto","orthogonalizer":"newton-schulz","ns_steps":5,"ns_dtype":"tensor"}"#,
        ),
        (
            r#"{"rule":"scion","lr":0.1,"norm":"spectral-conv","orthogonalizer":"exact"}"#,
            r#"{"rule":"scion","lr":0.1,"momentum":0.9,"radius":1.0,"constrained":true,"norm":"spectral-conv","orthogonalizer":"exact"}"#,
        ),
        (
            r#"{"rule":"scion","lr":0.1,"norm":"sign","radius":50,"constrained":false}"#,
            r#"{"rule":"scion","lr":0.1,"momentum":0.9,"radius":50.0,"constrained":false,"norm":"sign"}"#,
        ),
        (r#"{"rule":"power","lr":0.1}"#, r#"{"rule":"power","lr":0.1,"exponent":0.5,"momentum":0.0}"#),
        (
            r#"{"rule":"power","lr":0.1,"exponent":0,"momentum":0.9,"weight_decay":0.1}"#,
            r#"{"rule":"power","lr":0.1,"exponent":0.0,"momentum":0.9,"weight_decay":0.1}"#,
        ),
        (
            r#"{"rule":"muon","lr":0.02}"#,
            r#"{"rule":"muon","lr":0.02,"momentum":0.95,"nesterov":true,"orthogonalizer":"newton-schulz","ns_steps":5,"ns_dtype":"tensor","scale":"original","weight_decay":0.0}"#,
        ),
        (
            r#"{"rule":"muon","lr":0.02,"orthogonalizer":"exact","scale":"match_rms_adamw"}"#,
            r#"{"rule":"muon","lr":0.02,"momentum":0.95,"nesterov":true,"orthogonalizer":"exact","scale":"match_rms_adamw","weight_decay":0.0}"#,
        ),
        (
            r#"{"rule":"shampoo","lr":0.01}"#,
            r#"{"rule":"shampoo","lr":0.01,"beta1":0.9,"beta2":1.0,"eps":1e-12,"weight_decay":0.0,"precondition_every":1,"max_dim":1024,"graft":"none"}"#,
        ),
        (
            r#"{"rule":"shampoo","lr":0.01,"start_step":3,"graft":"adam","graft_eps":1e-6}"#,
            r#"{"rule":"shampoo","lr":0.01,"beta1":0.9,"beta2":1.0,"eps":1e-12,"weight_decay":0.0,"precondition_every":1,"start_step":3,"max_dim":1024,"graft":"adam","graft_beta2":0.999,"graft_eps":1e-6}"#,
        ),
        (
            r#"{"rule":"soap","lr":0.003}"#,
            r#"{"rule":"soap","lr":0.003,"beta1":0.95,"beta2":0.95,"eps":1e-8,"weight_decay":0.01,"precondition_every":10,"max_precond_dim":10000}"#,
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(canonical(given), expected);
        assert_eq!(canonical(expected), expected, "the canonical form reads back");
        let through_toml = toml::to_string(&parse(given).unwrap()).unwrap();
        assert_eq!(toml::from_str::<RuleConfig>(&through_toml).unwrap(), parse(given).unwrap());
    }
}

#[test]
fn constructors_and_settings_have_the_same_defaults() {
    let pairs = [
        (r#"{"rule":"sgd","lr":0.1}"#, RuleConfig::Sgd(Sgd::new(0.1))),
        (r#"{"rule":"adam","lr":0.1}"#, RuleConfig::Adam(Adam::new(0.1))),
        (r#"{"rule":"adamw","lr":0.1}"#, RuleConfig::AdamW(AdamW::new(0.1))),
        (r#"{"rule":"nmd","lr":0.1}"#, RuleConfig::Nmd(Nmd::new(0.1))),
        (r#"{"rule":"signum","lr":0.1}"#, RuleConfig::Signum(Signum::new(0.1))),
        (r#"{"rule":"specgd","lr":0.1}"#, RuleConfig::SpecGd(SpecGd::new(0.1))),
        (r#"{"rule":"muon","lr":0.1}"#, RuleConfig::Muon(Muon::new(0.1))),
        (r#"{"rule":"shampoo","lr":0.1}"#, RuleConfig::Shampoo(Shampoo::new(0.1))),
        (
            r#"{"rule":"shampoo","lr":0.1,"graft":"adam"}"#,
            RuleConfig::Shampoo(Shampoo { graft: Graft::adam(), ..Shampoo::new(0.1) }),
        ),
        (r#"{"rule":"soap","lr":0.1}"#, RuleConfig::Soap(Soap::new(0.1))),
        (r#"{"rule":"dion","lr":0.1}"#, RuleConfig::Dion(Dion::new(0.1))),
        (r#"{"rule":"scion","lr":0.1}"#, RuleConfig::Scion(Scion::new(0.1))),
        (r#"{"rule":"power","lr":0.1}"#, RuleConfig::Power(Power::new(0.1))),
    ];
    for (json, rule) in pairs {
        assert_eq!(parse(json).unwrap(), rule);
        assert_eq!(rule.clone().with_lr(0.3).lr(), 0.3);
        assert!(json.contains(rule.name()));
    }
}

#[test]
fn weight_decay_is_told() {
    for name in RULE_NAMES.into_iter().filter(|name| *name != "scion") {
        let rule = parse(&format!(r#"{{"rule":"{name}","lr":0.1,"weight_decay":0.25}}"#)).unwrap();
        assert_eq!(rule.weight_decay(), 0.25, "{name}");
    }
    for (constrained, expected) in [(true, 1.0), (false, 0.0)] {
        let rule = parse(&format!(r#"{{"rule":"scion","lr":0.1,"constrained":{constrained}}}"#)).unwrap();
        assert_eq!(rule.weight_decay(), expected);
    }
}

#[test]
fn every_setting_of_muon_is_read() {
    let json = r#"{"rule":"muon","lr":0.5,"momentum":0.8,"nesterov":false,"orthogonalizer":"newton-schulz",
        "ns_steps":3,"ns_dtype":"f64","scale":"spectral","weight_decay":0.25}"#;
    let expected = Muon {
        lr: 0.5,
        momentum: 0.8,
        nesterov: false,
        orthogonalizer: Orthogonalizer::NewtonSchulz(NewtonSchulz { steps: 3, dtype: IterationDtype::F64 }),
        scale: Scale::Spectral,
        weight_decay: 0.25,
    };
    assert_eq!(parse(json).unwrap(), RuleConfig::Muon(expected));
}

#[test]
fn foreign_keys_and_values_are_rejected_by_name() {
    let cases = [
        (r#"{"rule":"sgd","lr":0.1,"momentun":0.9}"#, "unknown field `momentun`"),
        (r#"{"rule":"adam","lr":0.1,"momentum":0.9}"#, "unknown field `momentum`"),
        (r#"{"rule":"adamw","lr":0.1,"betas":[0.9,0.99]}"#, "unknown field `betas`"),
        (r#"{"rule":"nmd","lr":0.1,"nesterov":true}"#, "unknown field `nesterov`"),
        (r#"{"rule":"ngd","lr":0.1,"eps":0.9}"#, "unknown field `eps`"),
        (r#"{"rule":"ngd","lr":0.1,"momentum":0.9}"#, "ngd has none; use rule = \"nmd\""),
        (r#"{"rule":"signgd","lr":0.1,"momentum":0.9}"#, "signgd has none; use rule = \"signum\""),
        (r#"{"rule":"signum","lr":0.1,"nesterov":true}"#, "unknown field `nesterov`"),
        (r#"{"rule":"dion","lr":0.1,"rank":4,"rank_fraction":0.5}"#, "`rank` and `rank_fraction` exclude each other"),
        (r#"{"rule":"dion","lr":0.1,"mu":0.9}"#, "unknown field `mu`"),
        (r#"{"rule":"scion","lr":0.1,"norm":"frobenius"}"#, "unknown variant `frobenius`, expected one of `auto`"),
        (r#"{"rule":"scion","lr":0.1,"norm":"sign","ns_steps":5}"#, "scion: `ns_steps` has no meaning with a norm that"),
        (r#"{"rule":"scion","lr":0.1,"norm":"col-norm","orthogonalizer":"exact"}"#, "`orthogonalizer` has no meaning"),
        (r#"{"rule":"scion","lr":0.1,"orthogonalizer":"exact","ns_dtype":"f32"}"#, "scion: `ns_dtype` has no meaning"),
        (r#"{"rule":"scion","lr":0.1,"weight_decay":0.1}"#, "unknown field `weight_decay`"),
        (r#"{"rule":"power","lr":0.1,"power":0.5}"#, "unknown field `power`"),
        (r#"{"rule":"specgd","lr":0.1,"momentum":0.9}"#, "unknown field `momentum`"),
        (r#"{"rule":"muon","lr":0.1,"steps":5}"#, "unknown field `steps`"),
        (r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact","ns_steps":5}"#, "`ns_steps` has no meaning"),
        (r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact","ns_dtype":"f32"}"#, "`ns_dtype` has no meaning"),
        (r#"{"rule":"muon","lr":0.1,"orthogonalizer":"svd"}"#, "unknown variant `svd`"),
        (r#"{"rule":"muon","lr":0.1,"scale":"rms"}"#, "unknown variant `rms`"),
        (r#"{"rule":"shampoo","lr":0.1,"graft":"sgd","graft_eps":1}"#, "`graft_eps` has a meaning only with graft = \"adam\""),
        (r#"{"rule":"shampoo","lr":0.1,"graft":"adagrad"}"#, "unknown variant `adagrad`"),
        (r#"{"rule":"shampoo","lr":0.1,"betas":1}"#, "unknown field `betas`"),
        (r#"{"rule":"soap","lr":0.1,"max_dim":1}"#, "unknown field `max_dim`"),
        (r#"{"rule":"muom","lr":0.1}"#, "unknown variant `muom`, expected one of `sgd`, `adam`"),
        (r#"{"rule":"sgd"}"#, "missing field `lr`"),
        (r#"{"lr":0.1}"#, "missing field `rule`"),
    ];
    for (json, expected) in cases {
        let message = parse(json).unwrap_err();
        assert!(message.contains(expected), "{json}: {message}");
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let through_toml = toml::Value::try_from(value).unwrap().try_into::<RuleConfig>();
        assert!(through_toml.unwrap_err().to_string().contains(expected));
    }
}

#[test]
fn names_match_what_settings_accept() {
    for name in RULE_NAMES {
        assert!(parse(&format!(r#"{{"rule":"{name}","lr":0.1}}"#)).is_ok(), "{name}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    let ns = |steps| Orthogonalizer::NewtonSchulz(NewtonSchulz { steps, ..NewtonSchulz::default() });
    let mut cases = vec![
        (RuleConfig::Sgd(Sgd { momentum: 1.0, ..Sgd::new(0.1) }), "sgd: momentum = 1, but it must lie in [0, 1)"),
        (RuleConfig::Sgd(Sgd { nesterov: true, ..Sgd::new(0.1) }), "sgd: nesterov = true, but Nesterov needs"),
        (RuleConfig::Sgd(Sgd { weight_decay: -1.0, ..Sgd::new(0.1) }), "sgd: weight_decay = -1, but"),
        (RuleConfig::Adam(Adam { beta1: -0.1, ..Adam::new(0.1) }), "adam: beta1 = -0.1, but"),
        (RuleConfig::Adam(Adam { beta2: 1.0, ..Adam::new(0.1) }), "adam: beta2 = 1, but"),
        (RuleConfig::Adam(Adam { eps: -1e-8, ..Adam::new(0.1) }), "adam: eps = -0.00000001, but"),
        (RuleConfig::AdamW(AdamW { eps: f64::INFINITY, ..AdamW::new(0.1) }), "adamw: eps = inf, but"),
        (RuleConfig::AdamW(AdamW { beta1: f64::NAN, ..AdamW::new(0.1) }), "adamw: beta1 = NaN, but"),
        (RuleConfig::Nmd(Nmd { momentum: 2.0, ..Nmd::new(0.1) }), "nmd: momentum = 2, but"),
        (RuleConfig::Signum(Signum { momentum: -0.5, ..Signum::new(0.1) }), "signum: momentum = -0.5, but"),
        (RuleConfig::Shampoo(Shampoo { beta2: 1.5, ..Shampoo::new(0.1) }), "shampoo: beta2 = 1.5, but it must lie in [0, 1]"),
        (RuleConfig::Shampoo(Shampoo { precondition_every: 0, ..Shampoo::new(0.1) }), "shampoo: precondition_every = 0, but"),
        (RuleConfig::Shampoo(Shampoo { start_step: Some(0), ..Shampoo::new(0.1) }), "shampoo: start_step = 0, but it must"),
        (RuleConfig::Shampoo(Shampoo { max_dim: 0, ..Shampoo::new(0.1) }), "shampoo: max_dim = 0, but it must be"),
        (
            RuleConfig::Shampoo(Shampoo { graft: Graft::Adam { beta2: 1.0, eps: 0.0 }, ..Shampoo::new(0.1) }),
            "shampoo: graft_beta2 = 1, but",
        ),
        (RuleConfig::Soap(Soap { shampoo_beta: Some(1.0), ..Soap::new(0.1) }), "soap: shampoo_beta = 1, but it must lie"),
        (RuleConfig::Soap(Soap { precondition_every: 0, ..Soap::new(0.1) }), "soap: precondition_every = 0, but"),
        (RuleConfig::Nmd(Nmd { weight_decay: -1.0, ..Nmd::new(0.1) }), "nmd: weight_decay = -1, but"),
        (RuleConfig::Signum(Signum { weight_decay: f64::NAN, ..Signum::new(0.1) }), "signum: weight_decay = NaN, but"),
        (RuleConfig::SpecGd(SpecGd { weight_decay: f64::INFINITY, ..SpecGd::new(0.1) }), "specgd: weight_decay = inf, but"),
        (RuleConfig::Dion(Dion { rank: Rank::Absolute(0), ..Dion::new(0.1) }), "dion: rank = 0, but an update has at least"),
        (
            RuleConfig::Dion(Dion { rank: Rank::Fraction(0.0), ..Dion::new(0.1) }),
            "dion: rank_fraction = 0, but it must lie in (0, 1]",
        ),
        (RuleConfig::Dion(Dion { rank: Rank::Fraction(1.5), ..Dion::new(0.1) }), "dion: rank_fraction = 1.5, but"),
        (RuleConfig::Dion(Dion { rank: Rank::Fraction(f64::NAN), ..Dion::new(0.1) }), "dion: rank_fraction = NaN, but"),
        (RuleConfig::Dion(Dion { momentum: 1.0, ..Dion::new(0.1) }), "dion: momentum = 1, but"),
        (RuleConfig::Dion(Dion { weight_decay: -0.1, ..Dion::new(0.1) }), "dion: weight_decay = -0.1, but"),
        (RuleConfig::Scion(Scion { radius: 0.0, ..Scion::new(0.1) }), "scion: radius = 0, but a radius must be positive"),
        (RuleConfig::Scion(Scion { momentum: -0.1, ..Scion::new(0.1) }), "scion: momentum = -0.1, but"),
        (RuleConfig::Scion(Scion::new(1.5)), "scion: lr = 1.5, but a constrained step goes at most"),
        (RuleConfig::Scion(Scion { orthogonalizer: ns(0), ..Scion::new(0.1) }), "scion: ns_steps = 0, but at least"),
        (RuleConfig::Power(Power { exponent: -0.1, ..Power::new(0.1) }), "power: exponent = -0.1, but it must lie in [0, 1]"),
        (RuleConfig::Power(Power { exponent: f64::NAN, ..Power::new(0.1) }), "power: exponent = NaN, but"),
        (RuleConfig::Power(Power { momentum: 1.0, ..Power::new(0.1) }), "power: momentum = 1, but"),
        (RuleConfig::Power(Power { weight_decay: -1.0, ..Power::new(0.1) }), "power: weight_decay = -1, but"),
        (RuleConfig::Muon(Muon { orthogonalizer: ns(0), ..Muon::new(0.1) }), "muon: ns_steps = 0, but at least"),
        (RuleConfig::Muon(Muon { momentum: 1.0, ..Muon::new(0.1) }), "muon: momentum = 1, but"),
        (RuleConfig::Muon(Muon { weight_decay: f64::NAN, ..Muon::new(0.1) }), "muon: weight_decay = NaN, but"),
    ];
    for name in RULE_NAMES {
        let rule = parse(&format!(r#"{{"rule":"{name}","lr":0.1}}"#)).unwrap();
        assert!(rule.validate().is_ok());
        for lr in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            cases.push((rule.clone().with_lr(lr), "a learning rate must be positive and finite"));
        }
    }
    for (rule, expected) in cases {
        let message = rule.validate().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn vectors_beside_matrices_keep_what_fits_them() {
    let vector = |json: &str| serde_json::to_string(&parse(json).unwrap().for_vectors()).unwrap();
    let decayed = r#"{"rule":"nmd","lr":0.1,"momentum":0.0,"weight_decay":0.5}"#;
    assert_eq!(vector(r#"{"rule":"specgd","lr":0.1,"weight_decay":0.5}"#), decayed);
    assert!(vector(r#"{"rule":"dion","lr":0.1}"#).contains("adamw"));
    // The other norms are for matrices; the radius stays.
    let scion = RuleConfig::Scion(Scion { radius: 7.0, norm: ScionNorm::Sign, ..Scion::new(0.1) });
    assert!(scion.needs_matrices());
    assert_eq!(scion.for_vectors(), RuleConfig::Scion(Scion { radius: 7.0, ..Scion::new(0.1) }));
    for json in [r#"{"rule":"scion","lr":0.1}"#, r#"{"rule":"scion","lr":0.1,"norm":"bias-rms"}"#, r#"{"rule":"power","lr":0.1}"#]
    {
        assert!(!parse(json).unwrap().needs_matrices());
        assert_eq!(parse(json).unwrap().for_vectors(), parse(json).unwrap());
    }
}
