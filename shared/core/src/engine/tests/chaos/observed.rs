//! Random stories under faults in which Tidegate only looks on: people train, register, approve
//! and shift canaries, and whatever happens, nothing of theirs is touched.

use super::super::observe::theirs;
use super::happenings::foreign_config;
use super::{Tale, policy};
use crate::engine::apply;
use crate::event::{Approval, EndpointStatus};
use crate::name::EndpointName;
use crate::pipeline::Mode;
use crate::rollout::Phase;
use crate::world::Variant;

/// How many stories a run tells.
const SEEDS: u64 = 60;

const ROUGH_MINUTES: u32 = 120;

/// How many minutes are given to finish once people leave the endpoint alone.
const CALM_MINUTES: u32 = 60;

impl Tale {
    async fn begin_observing(seed: u64) -> Self {
        let mut tale = Self::begin(seed).await;
        tale.observes = true;
        let mut policy = policy(&mut tale.dice, tale.has_staging, false);
        policy.pipeline.mode = Mode::Observe;
        let now = tale.now();
        apply(&tale.memory, policy, "ada", None, now).await.unwrap();
        let is_there = !tale.town.0.lock().unwrap().endpoints.is_empty();
        if !is_there {
            tale.adopt();
        }
        tale
    }

    /// People register versions and deploy them, by themselves.
    fn their_own_ways(&mut self) {
        if self.dice.chance(40) {
            let version = u32::try_from(self.town.0.lock().unwrap().packages.len()).unwrap() + 1;
            self.say(format!("a person registers v{version}"));
            self.town.set_approval(version, Approval::Approved);
        }
        if !self.dice.chance(80) {
            return;
        }
        let what = self.dice.below(6);
        let share = f64::from(u32::try_from(1 + self.dice.below(99)).unwrap());
        let name = EndpointName::parse("fraud-prod").unwrap();
        let mut state = self.town.0.lock().unwrap();
        let n = state.shelf.len();
        let newest = state.packages.last().map(|p| p.arn.clone());
        let is_there = state
            .endpoints
            .get(&name)
            .is_some_and(|e| e.status == EndpointStatus::InService);
        if !is_there {
            return;
        }
        let mut serving = state.endpoints[&name].variants.clone();
        let mut config = None;
        let said = match (what, serving.len()) {
            (0..4, 1) => {
                let canary = format!("their-{n}");
                let mut both = foreign_config(&format!("both-{n}"), None, &canary, &canary);
                let before = state.shelf[&state.endpoints[&name].config].variants.clone();
                both.variants.extend(before);
                state.models.insert(canary.clone());
                if let Some(arn) = newest {
                    state.made_from.insert(canary.clone(), arn);
                }
                serving[0].weight = 100.0 - share;
                serving.push(Variant {
                    name: canary.clone(),
                    weight: share,
                    ..serving[0].clone()
                });
                config = Some(both);
                format!("people put {canary} on {share} %")
            }
            (0..4, 2) => {
                (serving[0].weight, serving[1].weight) = (100.0 - share, share);
                format!("people shift to {share} %")
            }
            (4, 2) => {
                (serving[0].weight, serving[1].weight) = (0.0, 1.0);
                "people promote".to_owned()
            }
            (5, 2) => {
                serving.truncate(1);
                serving[0].weight = 1.0;
                let kept = state.shelf[&state.endpoints[&name].config].variants.clone();
                let mut one = foreign_config(&format!("one-{n}"), None, "x", "x");
                let is_kept = |name: &str| serving.iter().any(|v| v.name == name);
                one.variants = kept.into_iter().filter(|v| is_kept(&v.name)).collect();
                config = Some(one);
                "people reduce the endpoint".to_owned()
            }
            _ => return,
        };
        for variant in &mut serving {
            variant.desired_weight = variant.weight;
        }
        if let Some(config) = &config {
            state.shelf.insert(config.name.clone(), config.clone());
            state.configs.insert(config.name.clone(), config.clone());
        }
        let endpoint = state.endpoints.get_mut(&name).unwrap();
        endpoint.variants = serving;
        if let Some(config) = config {
            endpoint.config = config.name;
        }
        drop(state);
        self.statuses.clear();
        self.say(said);
    }

    /// Delivers what is due, and sees to it that nothing of people's changed.
    async fn deliver_and_compare(&mut self) {
        let before = theirs(&self.town.0.lock().unwrap());
        self.deliver().await;
        let after = theirs(&self.town.0.lock().unwrap());
        assert!(before == after, "{}\n{before}\n{after}", self.told());
    }

    async fn tell_observing(seed: u64) -> usize {
        let mut tale = Self::begin_observing(seed).await;
        let mut known = Vec::new();
        for _ in 0..ROUGH_MINUTES {
            tale.town.minute();
            tale.happenings().await;
            tale.their_own_ways();
            tale.tell_changes(&mut known);
            tale.post_ticks(false);
            tale.deliver_and_compare().await;
        }
        {
            let mut weather = tale.weather.lock().unwrap();
            (weather.throttled, weather.lost) = (0, 0);
            let mut state = tale.town.0.lock().unwrap();
            state.faults.slow_minutes = 0;
            // People take the canary away.
            for endpoint in state.endpoints.values_mut() {
                endpoint.status = EndpointStatus::InService;
                endpoint.variants.truncate(1);
            }
        }
        for minute in 0..CALM_MINUTES {
            tale.town.minute();
            tale.tell_changes(&mut known);
            if minute % 5 == 0 {
                tale.statuses.clear();
            }
            tale.post_ticks(true);
            tale.deliver_and_compare().await;
        }
        tale.only_looked_on()
    }

    /// A story in which the mode changes now and then; in the end Tidegate acts.
    async fn tell_of_two_minds(seed: u64) {
        let mut tale = Self::begin(seed).await;
        let mut known = Vec::new();
        for minute in 0..ROUGH_MINUTES + CALM_MINUTES {
            tale.town.minute();
            tale.happenings().await;
            if tale.dice.chance(30) || minute == ROUGH_MINUTES {
                tale.change_mode(minute < ROUGH_MINUTES && !tale.observes)
                    .await;
            }
            tale.tell_changes(&mut known);
            tale.post_ticks(false);
            tale.deliver().await;
        }
        tale.change_mode(false).await;
        {
            let mut weather = tale.weather.lock().unwrap();
            (weather.throttled, weather.lost) = (0, 0);
            let mut state = tale.town.0.lock().unwrap();
            state.faults.undone_deployments = 0;
            state.faults.slow_minutes = 0;
        }
        for minute in 0..super::CALM_MINUTES {
            tale.town.minute();
            tale.tell_changes(&mut known);
            if minute % 5 == 0 {
                tale.post_housekeeping();
            }
            tale.post_ticks(true);
            tale.deliver().await;
            if tale.is_quiet() && minute > 10 {
                break;
            }
        }
        tale.keeps_its_promises();
    }

    async fn change_mode(&mut self, observes: bool) {
        self.say(format!("observe mode: {observes}"));
        self.observes = observes;
        let mut policy = policy(&mut self.dice, self.has_staging, self.renamed);
        if observes {
            policy.pipeline.mode = Mode::Observe;
        }
        let now = self.now();
        apply(&self.memory, policy, "ada", None, now).await.unwrap();
    }

    /// What holds in the end; how many canaries were observed.
    fn only_looked_on(&self) -> usize {
        let head = self.memory.head(&self.group);
        assert!(head.rollouts.is_empty(), "{}\n{head:#?}", self.told());
        assert!(head.waiting.is_empty(), "{}", self.told());
        assert_eq!(self.memory.pending(&self.group), [], "{}", self.told());
        let state = self.town.0.lock().unwrap();
        let own = |call: &&String| !call.contains("Schedule");
        assert_eq!(state.calls.iter().find(own), None, "{}", self.told());
        assert!(state.schedules.is_empty(), "{}", self.told());
        for notice in &state.notices {
            assert!(notice.headline.starts_with("Observed: "), "{notice:?}");
            assert!(!notice.text().contains("v0"), "{notice:?}");
        }
        for entry in self.memory.all_entries(&self.group) {
            // The net under it all caught nothing.
            assert!(!entry.body.contains("is not done"), "{}", entry.body);
        }
        let finished = self.memory.finished(&self.group);
        for rollout in &finished {
            assert!(matches!(rollout.phase, Phase::Observed { .. }));
        }
        finished.len()
    }
}

fn tell(seed: u64) -> usize {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(Tale::tell_observing(seed))
}

#[test]
fn whatever_happens_nothing_is_touched_in_observe_mode() {
    if let Some(seed) = std::env::var("TIDEGATE_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
    {
        tell(seed);
        return;
    }
    let observed: usize = (0..SEEDS).map(tell).sum();
    assert!(observed > 30, "only {observed} canaries were observed");
}

#[test]
fn however_often_the_mode_changes_the_promises_hold() {
    // People who meddle leave two variants behind, which may stand for a day.
    let seeds = (0..SEEDS).filter(|seed| seed % 4 != 1);
    for seed in seeds {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(Tale::tell_of_two_minds(seed));
    }
}
