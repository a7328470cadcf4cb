//! What must hold of every call that changes AWS: it was committed before, is not made for ever,
//! overwrites nobody and leaves nobody without an answer.

use std::collections::BTreeMap;

use tidegate_core::notice::Notice;
use tidegate_core::rollout::{ATTEMPTS, Phase, Rollout, UNDO_ATTEMPTS};
use tidegate_core::world::Effect;

use crate::dice::hash;
use crate::invariant::Invariant;
use crate::town::Town;

/// How long a function that began before a way back may still make calls, milliseconds.
const LONGEST_RUN: i64 = 62_000;

impl Town {
    /// Before an effect is tried.
    pub(crate) fn check_effect(&mut self, effect: &Effect) {
        let words = effect.in_words();
        let is_committed = self.books.committed.contains(&hash(&words));
        self.hold(Invariant::AuditExplains, is_committed, || {
            format!("nothing that is written down asks for this call: {words}")
        });
        let line = matches!(effect, Effect::Tell { .. } | Effect::Announce { .. });
        if !line {
            self.say(|| format!("   -> {words}"));
        }
    }

    /// The rollout of an endpoint, if one is under way.
    pub(crate) fn rollout_of(&self, endpoint: &str) -> Option<Rollout> {
        let group = self.group(self.plan_of(endpoint));
        let partition = self.books.groups.get(&group)?;
        let mut all = partition.head.rollouts.values();
        all.find(|r| r.endpoint.as_str() == endpoint).cloned()
    }

    /// Counts a call of a rollout, and holds it to be within its bound.
    fn count_call(&mut self, endpoint: &str, what: &str, most: u32) {
        let rollout = self.rollout_of(endpoint).map_or(String::new(), |r| r.id.0);
        let group = self.group(self.plan_of(endpoint));
        let Some(partition) = self.books.groups.get_mut(&group) else {
            return;
        };
        let n = partition
            .memory
            .calls
            .entry((rollout, what.to_owned()))
            .or_default();
        *n += 1;
        let n = *n;
        self.hold(Invariant::CallsBounded, n <= most, || {
            format!("{endpoint}: {what} for the {n}th time")
        });
    }

    /// Tidegate deploys a config.
    pub(crate) fn check_deployment(&mut self, name: &str, config: &str) {
        let like = self.aws.shelf.get(config).and_then(|c| c.like.clone());
        let (foreign, is_reweighted) = self
            .aws
            .endpoints
            .get(name)
            .map_or((None, false), |p| (p.foreign.clone(), p.is_reweighted));
        let is_overwritten = foreign.is_some() && like != foreign;
        self.hold(Invariant::NothingOverwritten, !is_overwritten, || {
            format!("{name}: {foreign:?} is overwritten by {config}")
        });
        let rollout = self.rollout_of(name);
        let is_final = rollout.as_ref().is_some_and(|r| r.final_config == config);
        self.hold(
            Invariant::NothingOverwritten,
            !(is_reweighted && is_final),
            || format!("{name}: somebody's weights are overwritten by {config}"),
        );
        let goes_back =
            self.is_late_forward(name, |r| r.config == config || r.final_config == config);
        self.hold(Invariant::RollbackUnblocked, !goes_back, || {
            format!("{name} is on its way back and is updated to {config}")
        });
        let first_calls = rollout.as_ref().is_none_or(|r| {
            let place = self.aws.endpoints.get(name);
            let canary = place
                .filter(|p| p.is.config == r.config && r.has_canary())
                .and_then(|p| p.is.variant(&r.canary));
            let has_traffic = canary.is_some_and(|v| v.weight > 0.0) && !is_reweighted;
            !(has_traffic && matches!(r.phase, Phase::RollingBack { .. }))
        });
        self.hold(Invariant::RollbackUnblocked, first_calls, || {
            format!("{name} goes back by a deployment before the canary's traffic is taken away")
        });
        // What serves goes only once the candidate has stood its bake.
        let goes = rollout
            .as_ref()
            .filter(|r| r.has_canary() && r.is_running());
        let model = goes.and_then(|r| r.incumbent.as_ref()).map(|i| &i.model);
        let has = |model: &String| {
            let specs = self.aws.shelf.get(config);
            specs.is_some_and(|c| c.variants.iter().any(|v| v.model == *model))
        };
        let is_late = goes
            .is_some_and(|r| matches!(r.phase, Phase::Reducing { .. } | Phase::RollingBack { .. }));
        let keeps = is_late || model.is_none_or(has);
        self.hold(Invariant::AlwaysServed, keeps, || {
            format!("{name} is updated to {config}, without its champion")
        });
        let is_of_candidate =
            rollout.is_some_and(|r| r.config == config || r.final_config == config);
        let most = if is_of_candidate {
            // A call whose answer was lost may be made again.
            2 * u32::from(ATTEMPTS)
        } else {
            u32::from(UNDO_ATTEMPTS) + 3
        };
        self.count_call(name, &format!("deploy {config}"), most);
    }

    /// Whether a rollout goes back for longer than a function runs, and this leads forward.
    fn is_late_forward(&self, endpoint: &str, leads: impl Fn(&Rollout) -> bool) -> bool {
        let Some(rollout) = self.rollout_of(endpoint) else {
            return false;
        };
        let group = self.group(self.plan_of(endpoint));
        let since = self
            .books
            .groups
            .get(&group)
            .and_then(|p| p.memory.going_back.get(&rollout.id));
        matches!(rollout.phase, Phase::RollingBack { .. })
            && since.is_some_and(|since| self.now - since > LONGEST_RUN)
            && leads(&rollout)
    }

    /// Tidegate changes weights.
    pub(crate) fn check_shift(&mut self, name: &str, weights: &BTreeMap<String, f64>) {
        let sum: f64 = weights.values().sum();
        let variants = self
            .aws
            .endpoints
            .get(name)
            .map_or(0, |p| p.is.variants.len());
        self.hold(
            Invariant::WeightsSum,
            (sum - 100.0).abs() < 1e-9 && variants == weights.len(),
            || format!("{name}: {weights:?} for {variants} variants"),
        );
        let Some(rollout) = self.rollout_of(name) else {
            return;
        };
        let share = weights.get(&rollout.canary).copied().unwrap_or_default();
        if share > 0.0 {
            let (config, is_reweighted) = self
                .aws
                .endpoints
                .get(name)
                .map_or((String::new(), false), |p| {
                    (p.is.config.clone(), p.is_reweighted)
                });
            let is_tried = rollout.plan.smoke.is_empty()
                || self.aws.smoked.contains(&(config, rollout.canary.clone()));
            self.hold(Invariant::SmokeFirst, is_tried, || {
                format!("{} gets {share} % before its smoke requests", rollout.id)
            });
            self.hold(Invariant::NothingOverwritten, !is_reweighted, || {
                format!("{name}: somebody's weights are overwritten by {weights:?}")
            });
            let goes_back = self.is_late_forward(name, |_| true);
            self.hold(Invariant::RollbackUnblocked, !goes_back, || {
                format!("{name} is on its way back and gets {weights:?}")
            });
        }
        let most = if share > 0.0 {
            2 * u32::from(ATTEMPTS)
        } else {
            u32::from(UNDO_ATTEMPTS) + 3
        };
        self.count_call(name, &format!("give {share} %"), most);
    }

    /// SNS has a notice.
    pub(crate) fn publish(&mut self, notice: &Notice) {
        let known = self.aws.notices.get(&notice.id);
        let is_same = known.is_none_or(|(first, _)| first == notice);
        let is_new = known.is_none();
        let id = notice.id.clone();
        self.hold(Invariant::PeopleTold, is_same, || {
            format!("two notices have the id {id}")
        });
        let entry = self
            .aws
            .notices
            .entry(notice.id.clone())
            .or_insert_with(|| (notice.clone(), 0));
        entry.1 += 1;
        let headline = notice.headline.clone();
        if is_new {
            self.say(|| format!("   people are told: {headline}"));
        }
    }

    /// A function looked at a rollout, and no fault hit it.
    pub(crate) fn looked(&mut self, rollout: &str, was_ready: bool) {
        let digit = self.aws.endpoints.iter().find_map(|(name, place)| {
            let of = self.rollout_of(name)?;
            (of.id.0 == rollout).then_some((of, place))
        });
        let Some((of, place)) = digit else { return };
        let Phase::RollingBack { .. } = of.phase else {
            return;
        };
        let is_ready = place.is.status == tidegate_core::event::EndpointStatus::InService;
        let has_traffic = place
            .is
            .variant(&of.canary)
            .is_some_and(|v| v.desired_weight > 0.0)
            && place.is.config == of.config
            && of.has_canary()
            && !place.is_reweighted;
        if !(was_ready && is_ready && has_traffic) {
            return;
        }
        let endpoint = of.endpoint.to_string();
        let group = self.group(self.plan_of(&endpoint));
        let Some(partition) = self.books.groups.get_mut(&group) else {
            return;
        };
        let n = partition.memory.looks.entry(of.id.clone()).or_default();
        *n += 1;
        let n = *n;
        self.hold(Invariant::RollbackUnblocked, n <= 3, || {
            format!("{} looks at {} went by, and it still has traffic", n, of.id)
        });
    }
}
