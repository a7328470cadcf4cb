//! Whole looks at a rollout: what moves on, what holds, and what people are told of it.

use super::*;
use crate::event::EndpointStatus;
use crate::world::{Effect, Endpoint, Variant, WorldError, WorldErrorKind};

type Counted = dyn Fn(&str, usize, Timestamp) -> Counts;

fn variant(name: &str, weight: f64) -> Variant {
    Variant {
        name: name.to_owned(),
        weight,
        desired_weight: weight,
        count: 1,
        desired_count: 1,
        serverless: false,
    }
}

/// The endpoint as the rollout asked for it, the canary at this share.
fn endpoint(rollout: &Rollout, share: u8) -> Endpoint {
    Endpoint {
        name: rollout.endpoint.clone(),
        status: EndpointStatus::InService,
        config: rollout.config.clone(),
        pending_config: None,
        failure: None,
        modified: None,
        variants: vec![
            variant("v1", f64::from(100 - share)),
            variant("v2", f64::from(share)),
        ],
    }
}

/// One look at an endpoint, counts refused where there is no cloud.
fn see(
    rollout: &mut Rollout,
    now: Timestamp,
    endpoint: &Endpoint,
    cloud: Option<&Counted>,
) -> Moves {
    let mut facts = Facts::default();
    for question in needs(rollout, &facts, now) {
        let answer = match (&question, cloud) {
            (Question::Endpoint(_), _) => Answer::Endpoint(Box::new(endpoint.clone())),
            (question, Some(cloud)) => answer(question, &cloud),
            (_, None) => Answer::Refused(WorldError {
                kind: WorldErrorKind::Denied,
                call: "GetMetricData".to_owned(),
                message: "not allowed".to_owned(),
            }),
        };
        facts.add(question, answer);
    }
    advance(rollout, &facts, now, false, true)
}

fn headlines(moves: &Moves) -> Vec<String> {
    let told = moves.notes.iter().filter_map(|note| note.tell.as_ref());
    told.map(|tell| tell.headline.clone()).collect()
}

fn healthy(variant: &str, _: usize, _: Timestamp) -> Counts {
    match variant {
        "v1" => Counts::new(900, 9),
        _ => Counts::new(100, 1),
    }
}

fn silent(_: &str, _: usize, _: Timestamp) -> Counts {
    Counts::default()
}

#[test]
fn a_step_ends_on_minutes_that_were_judged_and_not_on_the_clock() {
    let plan = plan("strategy = { canary = [10, 50], minutes = 10, min_requests = 100 }\n");
    let mut rollout = canary(&plan);
    // CloudWatch is behind: all that was asked for are three minutes.
    let late = |variant: &str, guard: usize, minute: Timestamp| {
        if minute < at(3) {
            healthy(variant, guard, minute)
        } else {
            Counts::default()
        }
    };
    let up = endpoint(&rollout, 10);
    let moves = see(&mut rollout, at(14), &up, Some(&late));
    assert_eq!(moves.effects, []);
    assert_eq!(rollout.judged_until, Some(at(3)));
    let moves = see(&mut rollout, at(15), &up, Some(&healthy));
    assert_eq!(moves.effects.len(), 1);
    assert!(matches!(rollout.phase, Phase::Step { index: 1, .. }));
}

#[test]
fn a_bake_ends_on_minutes_that_were_judged_and_not_on_the_clock() {
    let plan = plan("bake_minutes = 30\n");
    let mut rollout = canary(&plan);
    rollout.weights.push((at(0), 100));
    rollout.phase = Phase::Baking { since: at(0) };
    let late = |variant: &str, guard: usize, minute: Timestamp| {
        if (at(20)..at(40)).contains(&minute) {
            silent(variant, guard, minute)
        } else {
            healthy(variant, guard, minute)
        }
    };
    let up = endpoint(&rollout, 100);
    let moves = see(&mut rollout, at(33), &up, Some(&late));
    assert_eq!(moves.effects, []);
    see(&mut rollout, at(34), &up, Some(&healthy));
    assert!(matches!(rollout.phase, Phase::Reducing { since: None }));
}

#[test]
fn an_endpoint_that_nobody_calls_is_done_with_its_bake_a_quarter_of_an_hour_later() {
    let plan = plan("bake_minutes = 30\n");
    let mut rollout = canary(&plan);
    rollout.weights.push((at(0), 100));
    rollout.phase = Phase::Baking { since: at(0) };
    let up = endpoint(&rollout, 100);
    for minute in 1..=45 {
        see(&mut rollout, at(minute), &up, Some(&silent));
    }
    assert!(matches!(rollout.phase, Phase::Reducing { since: None }));
}

#[test]
fn an_endpoint_shown_as_it_was_before_the_call_is_not_taken_for_a_change_taken_back() {
    let plan = plan("strategy = { canary = [10, 50], minutes = 10, min_requests = 100 }\n");
    let mut rollout = canary(&plan);
    rollout.asked = None;
    let as_it_was = Endpoint {
        modified: Some(at(1)),
        ..endpoint(&rollout, 10)
    };
    let moves = see(&mut rollout, at(14), &as_it_was, Some(&healthy));
    assert_eq!(moves.effects.len(), 1, "50 % are asked for");
    let moves = see(&mut rollout, at(15), &as_it_was, Some(&healthy));
    assert_eq!(moves.effects, [], "it may not be shown yet");
    let taken_back = Endpoint {
        modified: Some(at(16)),
        ..as_it_was.clone()
    };
    let moves = see(&mut rollout, at(17), &taken_back, Some(&healthy));
    assert_eq!(moves.effects.len(), 1, "SageMaker took it back");
    // If the time never moves, it is believed in the end.
    let looks = (18..30).map(|minute| see(&mut rollout, at(minute), &taken_back, Some(&healthy)));
    let asked: usize = looks.map(|moves| moves.effects.len()).sum();
    assert!(asked > 0, "{:?}", rollout.phase);
}

const TWO: &str = "strategy = { canary = [10, 50], minutes = 10, min_requests = 1 }\n\
    [[stage.guard]]\nmetric = \"model_errors\"\n[[stage.guard]]\nslower_than_ms = 200\n";

#[test]
fn what_was_safe_at_a_smaller_share_is_not_enough_for_a_guard_that_has_gone_blind() {
    let plan = plan(TWO);
    let mut rollout = canary(&plan);
    let share = |minute: Timestamp| if minute < at(30) { 10 } else { 50 };
    let cloud = |is_measured: bool| {
        move |variant: &str, guard: usize, minute: Timestamp| match (variant, guard) {
            (_, 1) if minute >= at(30) && variant != "v1" && !is_measured => Counts::default(),
            ("v1", _) => Counts::new(100_000 - 1_000 * share(minute), 1_000),
            _ => Counts::new(1_000 * share(minute), share(minute)),
        }
    };
    look(&mut rollout, at(32), &cloud(true));
    assert_eq!(judge::says(&rollout), crate::evidence::Verdict::Safe);
    rollout.phase = Phase::Step {
        index: 1,
        since: Some(at(30)),
    };
    rollout.weights.push((at(30), 50));
    let up = endpoint(&rollout, 50);
    let moves = see(&mut rollout, at(36), &up, Some(&cloud(false)));
    assert_eq!(moves.effects, [], "promoted blind");
    let moves = see(&mut rollout, at(43), &up, Some(&cloud(false)));
    let told = headlines(&moves);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("slower than 200 ms"), "{told:?}");
    // Nobody is told twice of it.
    let moves = see(&mut rollout, at(44), &up, Some(&cloud(false)));
    assert_eq!(headlines(&moves), Vec::<String>::new());
}

#[test]
fn people_are_told_of_each_thing_that_holds_a_step_up() {
    let plan = plan("strategy = { canary = [10], minutes = 10, min_requests = 100 }\n");
    let mut rollout = canary(&plan);
    let up = endpoint(&rollout, 10);
    let told = headlines(&see(&mut rollout, at(5), &up, None));
    assert_eq!(told, ["v2 holds on e: nobody watches it"]);
    let again = see(&mut rollout, at(6), &up, None);
    assert_eq!(headlines(&again), Vec::<String>::new());
    let few = |variant: &str, _: usize, _: Timestamp| match variant {
        "v1" => Counts::new(9, 0),
        _ => Counts::default(),
    };
    let mut told = Vec::new();
    for minute in 7..400 {
        let moves = see(&mut rollout, at(minute), &up, Some(&few));
        told.extend(headlines(&moves));
    }
    assert_eq!(told, ["v2 holds at 10 % on e: too little traffic"]);
    let told = headlines(&see(&mut rollout, at(400), &up, None));
    assert_eq!(told, ["v2 holds on e: nobody watches it"]);
}

#[test]
fn an_endpoint_that_breaks_while_the_guards_cannot_be_read_is_told_of() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    let broken = Endpoint {
        status: EndpointStatus::OutOfService,
        ..endpoint(&rollout, 10)
    };
    let moves = see(&mut rollout, at(5), &broken, None);
    assert!(matches!(rollout.phase, Phase::Failed { .. }));
    let told = headlines(&moves);
    assert!(
        told.contains(&"The rollout of v2 to e stopped".to_owned()),
        "{told:?}"
    );
    let mut rollout = canary(&plan);
    let theirs = Endpoint {
        config: "somebody-elses".to_owned(),
        ..endpoint(&rollout, 10)
    };
    see(&mut rollout, at(5), &theirs, None);
    assert!(matches!(rollout.phase, Phase::Failed { .. }));
}

#[test]
fn the_champion_is_kept_while_a_guard_has_never_measured_anything() {
    let plan = plan(
        "bake_minutes = 30\n[[stage.guard]]\ncustom = \
         { namespace = \"Shop\", bad = \"Failed\", all = \"Checkouts\", dimensions = { Variant = \
         \"{variant}\" } }\n",
    );
    let mut rollout = canary(&plan);
    rollout.history = vec![Vec::new()];
    rollout.weights = vec![(at(0), 100)];
    rollout.phase = Phase::Baking { since: at(0) };
    let up = endpoint(&rollout, 100);
    let mut told = Vec::new();
    for minute in 1..=90 {
        let moves = see(&mut rollout, at(minute), &up, Some(&silent));
        assert_eq!(moves.effects, []);
        told.extend(headlines(&moves));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("can't be measured"), "{told:?}");
    let some = |_: &str, _: usize, _: Timestamp| Counts::new(3, 0);
    see(&mut rollout, at(91), &up, Some(&some));
    assert!(matches!(rollout.phase, Phase::Reducing { since: None }));
}

#[test]
fn the_way_back_waits_for_no_counts() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    rollout.weights.push((at(5), 100));
    rollout.judged_until = Some(at(5));
    rollout.phase = Phase::RollingBack {
        why: Reason {
            cause: Cause::Violation,
            sentence: "an alarm".to_owned(),
        },
        undo: Undo::Shift,
    };
    let asked = needs(&rollout, &Facts::default(), at(7));
    assert_eq!(asked, [Question::Endpoint(rollout.endpoint.clone())]);
    let up = endpoint(&rollout, 100);
    let moves = see(&mut rollout, at(7), &up, None);
    assert_eq!(moves.effects.len(), 1);
    assert_eq!(rollout.past, None);
}

#[test]
fn the_way_back_does_not_wait_for_a_call_that_was_never_made() {
    let plan = plan("");
    let mut rollout = canary(&plan);
    let modified = Some(at(0));
    rollout.asked = Some(Asked {
        of: modified,
        looks: 0,
    });
    let why = Reason {
        cause: Cause::Guard,
        sentence: "errors".to_owned(),
    };
    undo::roll_back(&mut rollout, why, at(5), &mut Moves::default());
    // The endpoint is as it was before the call that the way back cancelled.
    let up = Endpoint {
        modified,
        ..endpoint(&rollout, 10)
    };
    let moves = see(&mut rollout, at(6), &up, None);
    assert!(
        matches!(moves.effects.as_slice(), [Effect::ShiftWeights { .. }]),
        "{:?}",
        moves.effects
    );
    // Its own call is waited for, as long as the endpoint is shown as it was before.
    let moves = see(&mut rollout, at(7), &up, None);
    assert_eq!(moves.effects, []);
}
