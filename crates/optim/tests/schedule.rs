//! Schedules: their values at the ends, their range and direction, and their settings.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

use isorate_optim::{Decay, Error, Schedule};
use proptest::prelude::*;

/// Any valid schedule.
fn schedules() -> impl Strategy<Value = Schedule> {
    let run = (1_u64..100_000).prop_flat_map(|steps| (Just(steps), 0..=steps));
    let cooled = run.clone().prop_flat_map(|(steps, warmup)| (Just(steps), Just(warmup), 0..=steps - warmup));
    prop_oneof![
        (0_u64..1000).prop_map(|w| Schedule::constant().with_warmup(w)),
        (run.clone(), 0.0..=1.0).prop_map(|((n, w), f)| Schedule::linear(n).with_warmup(w).with_final_factor(f)),
        (run, 0.0..=1.0).prop_map(|((n, w), f)| Schedule::cosine(n).with_warmup(w).with_final_factor(f)),
        (1_u64..1000, 1e-3..=1.0, 0_u64..1000).prop_map(|(n, gamma, w)| Schedule::step(n, gamma).with_warmup(w)),
        (cooled, 0.0..=1.0).prop_map(|((n, w, c), f)| Schedule::trapezoid(n, c).with_warmup(w).with_final_factor(f)),
    ]
}

/// The number of steps and the final factor, where there is an end.
fn end(schedule: &Schedule) -> Option<(u64, f64)> {
    match schedule.decay {
        Decay::Constant | Decay::Step { .. } => None,
        Decay::Linear { steps, final_factor }
        | Decay::Cosine { steps, final_factor }
        | Decay::Trapezoid { steps, final_factor, .. } => Some((steps, final_factor)),
    }
}

proptest! {
    #[test]
    fn factors_lie_in_the_unit_interval_and_rise_then_fall(schedule in schedules(), step in 0_u64..120_000) {
        schedule.validate().unwrap();
        let (now, next) = (schedule.factor(step), schedule.factor(step + 1));
        prop_assert!((0.0..=1.0).contains(&now), "{now}");
        if step + 1 < schedule.warmup_steps {
            prop_assert!(now < next);
        } else {
            prop_assert!(now >= next, "{now} {next}");
        }
    }

    #[test]
    fn ends_are_exact(schedule in schedules()) {
        let warmup = schedule.warmup_steps;
        let finished = end(&schedule).is_some_and(|(steps, _)| steps == warmup);
        if warmup > 0 {
            prop_assert_eq!(schedule.factor(0), 1.0 / warmup as f64);
            prop_assert_eq!(schedule.factor(warmup - 1), 1.0);
        }
        if !finished {
            prop_assert_eq!(schedule.factor(warmup), 1.0);
        }
        if let Some((steps, last)) = end(&schedule) {
            prop_assert_eq!(schedule.factor(steps), last);
            prop_assert_eq!(schedule.factor(steps + 1), last);
            prop_assert_eq!(schedule.factor(u64::MAX), last);
            // The last step of the run still has a rate, also where the end is 0.
            prop_assert!(schedule.factor(steps - 1) > 0.0);
        }
        prop_assert!((0.0..=1.0).contains(&schedule.factor(u64::MAX)));
    }

    #[test]
    fn settings_survive_their_text(schedule in schedules()) {
        let text = toml::to_string(&schedule).unwrap();
        prop_assert_eq!(toml::from_str::<Schedule>(&text).unwrap(), schedule);
    }
}

fn factors(schedule: Schedule, steps: u64) -> Vec<f64> {
    (0..steps).map(|t| schedule.factor(t)).collect()
}

#[test]
fn values_by_hand() {
    assert_eq!(factors(Schedule::constant().with_warmup(4), 6), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    assert_eq!(factors(Schedule::linear(4), 6), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
    assert_eq!(factors(Schedule::linear(5).with_warmup(1).with_final_factor(0.5), 6), [1.0, 1.0, 0.875, 0.75, 0.625, 0.5]);
    assert_eq!(factors(Schedule::step(2, 0.5).with_warmup(1), 7), [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    let trapezoid = Schedule::trapezoid(8, 4).with_warmup(2);
    assert_eq!(factors(trapezoid, 9), [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]);
    let cosine = Schedule::cosine(6).with_final_factor(0.1);
    let expected = [1.0, 0.939_711_431_702_997_5, 0.775, 0.55, 0.325, 0.160_288_568_297_002_6, 0.1];
    for (t, expected) in expected.into_iter().enumerate() {
        assert!((cosine.factor(t as u64) - expected).abs() < 1e-15, "{t}");
    }
}

/// The numbers that `torch_conveniences.py` prints.
#[test]
fn values_of_torch() {
    let check = |schedule: Schedule, torch: &[f64]| {
        for (t, (ours, theirs)) in factors(schedule, torch.len() as u64).into_iter().zip(torch).enumerate() {
            assert!((ours - theirs).abs() < 1e-15, "{schedule:?}, step {t}: {ours}, torch {theirs}");
        }
    };
    let cosine = [1.0, 0.923_606_797_749_979_1, 0.723_606_797_749_979_2, 0.476_393_202_250_021_2, 0.276_393_202_250_021_1, 0.2];
    check(Schedule::cosine(5).with_final_factor(0.2), &cosine);
    check(Schedule::step(2, 0.5), &[1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]);
    check(Schedule::linear(4).with_final_factor(0.25), &[1.0, 0.8125, 0.625, 0.4375, 0.25, 0.25]);
    check(Schedule::constant().with_warmup(4), &[0.25, 0.5, 0.75, 1.0, 1.0]);
}

#[test]
fn wrong_settings_are_named() {
    let cases = [
        (Schedule::cosine(0), "cosine schedule: steps = 0, but a run has at least one step"),
        (Schedule::linear(5).with_warmup(6), "linear schedule: warmup_steps = 6, but the warm-up is part of `steps`"),
        (Schedule::linear(5).with_final_factor(1.5), "linear schedule: final_factor = 1.5, but it must lie in [0, 1]"),
        (Schedule::cosine(5).with_final_factor(f64::NAN), "cosine schedule: final_factor = NaN, but it must lie in [0, 1]"),
        (Schedule::step(0, 0.5), "step schedule: every = 0, but at least one step lies between two drops"),
        (Schedule::step(3, 0.0), "step schedule: gamma = 0, but it must lie in (0, 1]"),
        (Schedule::step(3, f64::NAN), "step schedule: gamma = NaN, but it must lie in (0, 1]"),
        (
            Schedule::trapezoid(10, 8).with_warmup(3),
            "trapezoid schedule: cooldown_steps = 8, but warm-up and cool-down together fit into `steps`",
        ),
    ];
    for (schedule, expected) in cases {
        let error = schedule.validate().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        assert_eq!(error.to_string(), expected);
        // Unchecked settings must not panic either.
        for t in [0, 1, 5, 10, u64::MAX] {
            let _ = schedule.factor(t);
        }
    }
    for text in ["schedule = 'cosine'", "schedule = 'cosine'\nsteps = 3\ngamma = 0.5", "schedule = 'cyclic'", "steps = 3"] {
        assert!(toml::from_str::<Schedule>(text).is_err(), "{text}");
    }
    assert!(toml::from_str::<Schedule>("schedule = 'linear'\nsteps = -3").is_err());
    let written = toml::to_string(&Schedule::trapezoid(8, 4)).unwrap();
    assert_eq!(written, "schedule = \"trapezoid\"\nsteps = 8\ncooldown_steps = 4\nfinal_factor = 0.0\nwarmup_steps = 0\n");
}
