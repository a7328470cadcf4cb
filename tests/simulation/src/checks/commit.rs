//! What must hold of every commit: the state moves forward, the chain is whole, every change is
//! written down and told, and nothing starts that may not.

use tidegate_core::audit::{Entry, What};
use tidegate_core::event::Approval;
use tidegate_core::ledger::{Commit, CommitError, Lane};
use tidegate_core::name::{self, GroupName};
use tidegate_core::origin::ARTIFACT_KEY;
use tidegate_core::rollout::{Cause, Phase, Rollout};
use tidegate_core::world::Effect;

use super::rollout;
use super::silence::Blindness;
use crate::aws::Aws;
use crate::books::Partition;
use crate::dice::hash;
use crate::invariant::{Invariant, Watch};
use crate::town::Town;

/// DynamoDB takes no more items in one transaction.
const MOST_ITEMS: usize = 100;

/// More effects than this waiting at once mean that something grows without end.
const MOST_PENDING: usize = 200;

/// How large a head may be, bytes, before it is deflated.
const LARGEST_HEAD: usize = 300_000;

/// How long after a version lost its approval a rollout of it may still start: a function that
/// read the package before was under way.
const RACE: i64 = 120_000;

/// What a commit is looked at with.
pub(super) struct Look<'a> {
    pub(super) watch: &'a mut Watch,
    pub(super) before: &'a mut Partition,
    pub(super) aws: &'a Aws,
    /// Requests a minute to each endpoint of the pipeline.
    pub(super) traffic: u64,
    pub(super) now: i64,
    pub(super) commit: &'a Commit,
    pub(super) group: &'a GroupName,
    pub(super) blindness: &'a mut Blindness,
}

impl Look<'_> {
    pub(super) fn hold(&mut self, invariant: Invariant, is: bool, what: impl FnOnce() -> String) {
        self.watch.hold(invariant, is, what);
    }
}

impl Town {
    /// Writes a commit if DynamoDB's conditions hold, and looks at what it changes.
    pub(crate) fn commit(&mut self, group: &GroupName, commit: &Commit) -> Result<(), CommitError> {
        if let Some(refusal) = self.books.refuses(group, commit, self.now) {
            return Err(refusal);
        }
        for pending in &commit.add {
            self.books
                .committed
                .insert(hash(&pending.effect.in_words()));
        }
        let traffic = self.plan(self.plan_of(group.as_str())).traffic;
        let mut look = Look {
            watch: &mut self.watch,
            before: self.books.groups.entry(group.clone()).or_default(),
            aws: &self.aws,
            traffic,
            now: self.now,
            commit,
            group,
            blindness: &mut self.blindness,
        };
        look.all();
        self.forget_deletions(group, commit);
        let now = self.now;
        self.books.write(group, commit, now);
        self.note_champions(commit);
        Ok(())
    }

    /// From now on users depend on what a champion serves.
    fn note_champions(&mut self, commit: &Commit) {
        for champion in commit.head.champions.values() {
            for place in self.aws.endpoints.values_mut() {
                if place.is.config == champion.config && place.serves() {
                    place.has_served = true;
                }
            }
        }
    }
}

impl Look<'_> {
    fn all(&mut self) {
        let commit = self.commit;
        self.moves_forward();
        self.is_chained();
        self.is_marked();
        self.is_bounded();
        self.is_told();
        self.leaves_what_people_did();
        self.retrains_seldom();
        self.schema_never_retrains();
        let head = &commit.head;
        let rollouts: Vec<&Rollout> = head.rollouts.values().collect();
        for (i, rollout) in rollouts.iter().enumerate() {
            let twice = rollouts[..i].iter().any(|r| r.endpoint == rollout.endpoint);
            self.hold(Invariant::OneRollout, !twice, || {
                format!("two rollouts on {}", rollout.endpoint)
            });
            let old = self.old(rollout);
            match old {
                None => self.starts(rollout),
                Some(old) => rollout::moves(self, &old, rollout),
            }
        }
        for rollout in &commit.finished {
            self.ends(rollout);
        }
        let old: Vec<_> = self
            .before
            .head
            .rollouts
            .values()
            .map(|r| r.id.clone())
            .collect();
        for id in old {
            let is_there =
                head.rollout(&id).is_some() || commit.finished.iter().any(|r| r.id == id);
            self.hold(Invariant::OneRollout, is_there, || {
                format!("{id} is neither under way nor finished any more")
            });
        }
    }

    fn old(&self, rollout: &Rollout) -> Option<Rollout> {
        let mut before = self.before.head.rollouts.values();
        before.find(|r| r.id == rollout.id).cloned()
    }

    fn moves_forward(&mut self) {
        let (old, new) = (&self.before.head, &self.commit.head);
        let (versions, times) = ((old.version, new.version), (old.now, new.now));
        let is = versions.1 == versions.0 + 1 && times.0 <= times.1;
        self.hold(Invariant::TimeForward, is, || {
            format!("versions {versions:?}, times {times:?}")
        });
    }

    fn is_chained(&mut self) {
        let mut broken = None;
        for entry in &self.commit.entries {
            if let Err(error) = self.before.verifier.push(entry) {
                broken = Some(error.to_string());
            }
        }
        if let Err(error) = self.before.verifier.finish(&self.commit.head.tip) {
            broken = Some(error.to_string());
        }
        let is_whole = broken.is_none();
        self.hold(Invariant::AuditChain, is_whole, || {
            broken.unwrap_or_default()
        });
    }

    /// What an event alone leads to is written with the event's marker.
    fn is_marked(&mut self) {
        let read = |e: &Entry| e.read().ok();
        for entry in self.commit.entries.iter().filter_map(read) {
            let calls = entry.facts.get("calls").and_then(|c| c.as_array());
            let lines = calls.into_iter().flatten().filter_map(|c| c.as_str());
            if !entry.why.is_empty() {
                let named = lines.map(str::to_owned);
                self.before.memory.explained.extend(named);
            }
            let is_of_event = matches!(
                entry.what,
                What::ApprovalSeen | What::CandidateGated | What::AlarmSeen | What::ViolationSeen
            );
            if is_of_event {
                let is_marked = self.commit.seen.as_ref() == Some(&entry.event);
                self.hold(Invariant::OncePerEvent, is_marked, || {
                    format!("{} took effect and was not marked as seen", entry.event)
                });
            }
        }
        let seen = self.commit.seen.clone();
        let events = &mut self.before.memory.events;
        let is_new = seen.clone().is_none_or(|e| events.insert(e));
        self.hold(Invariant::OncePerEvent, is_new, || {
            format!("{seen:?} took effect twice")
        });
    }

    fn is_bounded(&mut self) {
        let commit = self.commit;
        let head = &commit.head;
        let items = 1
            + usize::from(commit.seen.is_some())
            + commit.entries.len()
            + commit.add.len()
            + commit.done.len()
            + 2 * commit.finished.len()
            + commit.jobs.len()
            + usize::from(commit.policy.is_some())
            + commit.routes.len()
            + commit.dropped_routes.len();
        let pending = self.before.pending.len() + commit.add.len();
        let minutes = head.rollouts.values().map(|r| r.minutes.len()).max();
        let lists = [
            items <= MOST_ITEMS,
            pending <= MOST_PENDING,
            minutes.unwrap_or_default() <= tidegate_core::rollout::KEPT_MINUTES,
            head.approvals.len() <= tidegate_core::head::REMEMBERED_APPROVALS,
            head.findings.len() <= 50,
            head.retrainings.len() <= 1_000,
            head.monitors.kept.len() <= tidegate_core::monitors::MOST_KEPT,
            // Writing the whole head takes time: now and then is enough.
            !head.version.is_multiple_of(50)
                || serde_json::to_vec(head).is_ok_and(|json| json.len() <= LARGEST_HEAD),
        ];
        self.hold(Invariant::ListsBounded, lists.iter().all(|is| *is), || {
            format!("{items} items, {pending} pending, {minutes:?} minutes: {lists:?}")
        });
    }

    /// What matters has a notice, and what is decided is remembered to be told.
    fn is_told(&mut self) {
        let mut told = std::collections::BTreeSet::new();
        for pending in &self.commit.add {
            if let Effect::Tell { notice, .. } = &pending.effect {
                told.insert(notice.id.clone());
            }
        }
        for entry in &self.commit.entries {
            let Ok(read) = entry.read() else { continue };
            let matters = matches!(
                read.what,
                What::RolloutStarted
                    | What::RollingBack
                    | What::Promoted
                    | What::RolloutDone
                    | What::RolledBack
                    | What::Superseded
                    | What::RolloutFailed
                    | What::CandidateRegistered
                    | What::RetrainingStarted
                    | What::MonitorStopped
                    | What::MonitorDeleted
            ) || read.what == What::MonitorFailed
                && read.facts["told_before"] != true;
            if matters {
                let id = format!("{}/{}", self.group, entry.n);
                let is_told = told.contains(&id);
                self.hold(Invariant::PeopleTold, is_told, || {
                    format!("nobody is told of {}: {}", read.what, read.why)
                });
            }
        }
        self.before.memory.notices.extend(told);
    }

    fn retrains_seldom(&mut self) {
        for pending in &self.commit.add {
            if !matches!(pending.effect, Effect::StartRetraining { .. }) {
                continue;
            }
            let Some(applied) = &self.before.policy else {
                continue;
            };
            let on_drift = applied.policy.monitor.on_drift.as_ref();
            let (hours, most) =
                on_drift.map_or((0, 0), |d| (d.cooldown_hours, d.at_most_per_month));
            let at = pending.at;
            let all = &mut self.before.memory.retrainings;
            let since = all.last().map(|last| at.duration_since(*last));
            let in_month = all
                .iter()
                .filter(|t| at.duration_since(**t).as_hours() < 30 * 24)
                .count();
            all.push(at);
            let is = since.is_none_or(|s| s.as_hours() >= i64::from(hours))
                && in_month < usize::try_from(most).unwrap_or(usize::MAX);
            self.hold(Invariant::OneRetraining, is, || {
                format!("a retraining {since:?} after the last, {in_month} in 30 days")
            });
        }
    }

    /// The token of a retraining is made of the report that it is started for.
    fn schema_never_retrains(&mut self) {
        let by_schema = |token: &String| {
            let mut all = self.aws.findings.iter();
            all.any(|(job, findings)| {
                let mut checks = findings.violations.iter().map(|v| &v.check);
                checks.any(|check| check == "missing_column_check")
                    && *token == name::token(&format!("{}\n{job}", self.group))
            })
        };
        let tokens: Vec<bool> = self
            .commit
            .add
            .iter()
            .filter_map(|pending| match &pending.effect {
                Effect::StartRetraining { token, .. } => Some(by_schema(token)),
                _ => None,
            })
            .collect();
        for is_by_schema in tokens {
            self.hold(Invariant::SchemaNeverRetrains, !is_by_schema, || {
                "a report with a schema error starts a retraining".to_owned()
            });
        }
    }

    /// A rollout that was not there before.
    fn starts(&mut self, rollout: &Rollout) {
        let is_first = self.before.memory.rollouts.insert(rollout.id.clone());
        self.hold(Invariant::OneRolloutPerApproval, is_first, || {
            format!("the rollout {} began twice", rollout.id)
        });
        let candidate = &rollout.candidate;
        let package = self.aws.packages.get(&candidate.package);
        let is_approved = package.is_some_and(|p| {
            p.package.approval == Approval::Approved
                || p.approved_until.is_some_and(|t| self.now - t < RACE)
        });
        self.hold(Invariant::OnlyApproved, is_approved, || {
            format!("{} rolls out and is not Approved", candidate.version)
        });
        let registered = package.and_then(|p| p.package.metadata.get(ARTIFACT_KEY));
        let artifacts = package.iter().flat_map(|p| &p.package.artifacts);
        let written = artifacts
            .filter_map(|uri| self.aws.overwritten.get(uri))
            .max();
        let created = package.map_or(i64::MAX, |p| p.created);
        let is_overwritten = registered.is_some()
            && written.is_some_and(|at| created < *at && self.now - at >= RACE);
        self.hold(Invariant::SameArtifact, !is_overwritten, || {
            format!(
                "{} rolls out, and its artifact was written over",
                candidate.version
            )
        });
        let endpoint = rollout.endpoint.as_str();
        let champion = self.before.head.champions.get(&rollout.stage);
        let older = champion
            .filter(|c| c.candidate.approved_at > candidate.approved_at)
            .filter(|c| {
                let place = self.aws.endpoints.get(endpoint);
                place.is_some_and(|p| p.is.config == c.config)
            })
            .map(|c| c.candidate.version);
        // Where it follows from the stage before, its turn may come after a newer one's.
        let is_first_stage = self.before.policy.as_ref().is_some_and(|applied| {
            let first = applied.policy.stages.first();
            first.is_some_and(|s| s.name == rollout.stage)
        });
        let is = older.is_none() || rollout.urgent || !is_first_stage;
        self.hold(Invariant::NewerCounts, is, || {
            format!(
                "{} was approved before {older:?}, which serves {endpoint}, and rolls out",
                candidate.version
            )
        });
    }

    /// A rollout that is over.
    fn ends(&mut self, rollout: &Rollout) {
        let is_first = !self.before.finished.contains_key(&rollout.id);
        self.hold(
            Invariant::OneRolloutPerApproval,
            is_first && !rollout.is_running(),
            || format!("the rollout {} ended twice or runs still", rollout.id),
        );
        self.before.memory.rollouts.insert(rollout.id.clone());
        if let Some(old) = self.old(rollout) {
            rollout::moves(self, &old, rollout);
        }
        let rejected = self.commit.add.iter().any(|p| {
            matches!(
                &p.effect,
                Effect::SetApproval { arn, approval: Approval::Rejected, .. }
                    if *arn == rollout.candidate.package
            )
        });
        if let Phase::RolledBack { why } = &rollout.phase {
            let is_deployment = matches!(why.cause, Cause::Deployment | Cause::LowTraffic);
            self.hold(Invariant::BlameIsFair, !(is_deployment && rejected), || {
                format!(
                    "{} is rejected for {:?}",
                    rollout.candidate.version, why.cause
                )
            });
            let policy = self.before.policy.as_ref().map(|a| &a.policy.pipeline);
            let rejects = policy.is_some_and(|p| {
                p.rolled_back_package == tidegate_core::pipeline::RolledBackPackage::Reject
            });
            let must = rejects && why.cause.blames();
            self.hold(Invariant::HarmGoesBack, !must || rejected, || {
                format!("{} did harm and is not rejected", rollout.candidate.version)
            });
        }
        let stops = self.commit.add.iter().any(|p| {
            p.lane == Lane::Rollout(rollout.id.clone())
                && matches!(p.effect, Effect::StopTicks { .. })
        });
        self.hold(Invariant::NothingLeft, stops, || {
            format!("the schedule of {} is not taken away", rollout.id)
        });
    }
}
