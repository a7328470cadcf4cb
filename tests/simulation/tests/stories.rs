//! What CI runs of the simulation: some hundred stories, and that the tool itself can be trusted.
#![allow(clippy::unwrap_used)]

use std::thread;

use tidegate_simulation::fault::{Fault, Weather};
use tidegate_simulation::report::Report;
use tidegate_simulation::run::{tell, tell_aloud};
use tidegate_simulation::story::{Act, Fate, Plan, Story, Watching, What};

/// How many stories are told here; `make simulate` tells as many as one wants.
const SEEDS: u64 = 200;

#[test]
fn two_hundred_stories_keep_every_promise() {
    let report = thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let mut report = Report::default();
                for seed in (0..SEEDS).filter(|seed| seed % 2 == half) {
                    report.add(seed, &tell(&Story::of_seed(seed)));
                }
                report
            })
        });
        let mut report = Report::default();
        for half in halves {
            report.merge(half.join().unwrap());
        }
        report
    });
    assert!(report.broken.is_empty(), "{}", report.text(1.0));
    assert_eq!(report.stories, SEEDS);
    let unchecked: Vec<_> = report
        .checked
        .by_name()
        .filter(|(_, n)| *n == 0)
        .map(|(invariant, _)| invariant.word())
        .collect();
    assert!(unchecked.is_empty(), "never checked: {unchecked:?}");
    // What is rare needs more stories than these.
    let rare = [Fault::Stale, Fault::WeightsUndone, Fault::Reweights];
    let never: Vec<_> = report
        .tally
        .by_kind()
        .filter(|(fault, n)| *n == 0 && !rare.contains(fault))
        .map(|(fault, _)| fault.word())
        .collect();
    assert!(never.is_empty(), "never injected: {never:?}");
}

#[test]
fn the_same_seed_tells_the_same_story_byte_for_byte() {
    for seed in [1, 7, 30] {
        let [first, second] = [(), ()].map(|()| tell_aloud(&Story::of_seed(seed)));
        assert!(first.log.len() > 20, "{:?}", first.log);
        assert_eq!(first.log, second.log);
        assert_eq!(first.tally, second.tally);
        assert_eq!(first.checked, second.checked);
        // Keeping the log changes nothing.
        assert_eq!(tell(&Story::of_seed(seed)).tally, first.tally);
    }
}

#[test]
fn other_seeds_tell_other_stories() {
    let logs = [3, 4].map(|seed| tell_aloud(&Story::of_seed(seed)).log);
    assert_ne!(logs[0], logs[1]);
}

#[test]
fn a_story_without_weather_and_people_is_told_to_its_end() {
    let mut story = Story::of_seed(2).without_weather();
    story
        .acts
        .retain(|act| matches!(act.what, What::Train { .. }));
    let told = tell(&story);
    assert_eq!(told.broken, None);
    let injected: u64 = told.tally.by_kind().map(|(_, n)| n).sum();
    assert_eq!(injected, 0);
}

#[test]
fn what_a_shrunk_story_injects_is_what_it_may() {
    let mut story = Story::of_seed(1);
    let mut weather = Weather::default();
    weather.set(Fault::Crash, 300);
    story.weather = weather;
    let some = tell(&story).injected;
    assert!(some.len() > 1, "{some:?}");
    let first = some[0];
    story.only = Some([first].into());
    let injected = tell(&story).injected;
    assert!(injected.iter().all(|id| *id == first), "{injected:?}");
}

/// One pipeline of one stage, nothing going wrong.
fn plan() -> Plan {
    Plan {
        index: 0,
        stages: 1,
        canary: vec![10],
        minutes: 2,
        min_requests: 0,
        bake: 0,
        watch: 3,
        settle: 2,
        warmup: 0,
        replaces: true,
        rejects: true,
        is_manual: false,
        on_low_traffic: "hold",
        guards: 1,
        has_smoke: true,
        by_prefix: false,
        cooldown_hours: None,
        only_tells: false,
        traffic: 150,
        is_adopted: false,
        says_instance: true,
        watching: Watching::No,
    }
}

/// Trainings of so many seconds, AUC 0.95, in calm weather.
fn story_of(plan: Plan, trainings: &[(i64, Fate)]) -> Story {
    let acts = trainings.iter().zip(1..).map(|(&(at, fate), job)| Act {
        at,
        plan: 0,
        what: What::Train {
            job,
            auc: 950,
            fate,
        },
    });
    Story {
        seed: 1,
        plans: vec![plan],
        acts: acts.collect(),
        weather: Weather::default(),
        calm_at: 3 * 86_400,
        longest_delay: 0,
        is_plain: false,
        only: None,
    }
}

// What the simulation found in core, cut down and told on.

#[test]
fn a_newer_version_starts_once_the_endpoint_of_the_one_before_is_gone() {
    // The first endpoint is still being created when a newer version is approved: it is deleted
    // again, and nobody says when that is over.
    let story = story_of(plan(), &[(3_600, Fate::Good(0)), (3_700, Fate::Good(0))]);
    assert_eq!(tell(&story).broken, None);
    let log = tell_aloud(&story).log.join("\n");
    assert!(log.contains("v2 serves p0-production"), "{log}");
}

#[test]
fn requests_to_the_champion_are_not_counted_for_a_candidate_of_its_name() {
    // People made the endpoint, so the candidate takes its variant's name over in the reduction;
    // without a bake that begins before the champion's last minutes are judged.
    let plan = Plan {
        is_adopted: true,
        ..plan()
    };
    for settle in [2, 3] {
        let plan = Plan {
            settle,
            ..plan.clone()
        };
        let told = tell(&story_of(plan, &[(3_600, Fate::Good(0))]));
        assert_eq!(told.broken, None);
    }
}

#[test]
fn fates_say_what_they_are() {
    assert!(Fate::Dead.is_harmful() && Fate::Bad(3_000).is_harmful());
    assert!(!Fate::Good(50).is_harmful());
}

/// With deliberate bugs in core: `cargo nextest run -p tidegate-simulation --features mutations`.
#[cfg(feature = "mutations")]
mod planted {
    use tidegate_core::mutation::Mutation;
    use tidegate_simulation::mutations::prove;
    use tidegate_simulation::shrink::shrink;

    use super::*;

    #[test]
    fn a_planted_bug_is_found_and_its_story_cut_down() {
        Mutation::put_in(Some(Mutation::BlameMixture));
        let (story, broken) = (0..200)
            .find_map(|seed| {
                let story = Story::of_seed(seed);
                let broken = tell(&story).broken?;
                Some((story, broken))
            })
            .unwrap();
        let (smaller, _) = shrink(&story, broken.invariant);
        let again = tell(&smaller).broken.unwrap();
        Mutation::put_in(None);
        assert_eq!(again.invariant, broken.invariant);
        assert!(smaller.acts.len() < story.acts.len());
        // A training and a finding are all that it takes; a version is needed to be told from.
        assert!(smaller.acts.len() <= 4, "{:#?}", smaller.acts);
    }

    #[test]
    fn few_deliberate_bugs_survive_a_handful_of_seeds() {
        // `make mutations` goes on until each is caught; some take hundreds of stories.
        let all = prove(0, 25, None);
        let caught = all.iter().filter(|c| c.by.is_some()).count();
        assert!(caught >= 30, "{all:#?}");
    }
}
