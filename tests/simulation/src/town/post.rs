//! What EventBridge and Scheduler send: several events for one change, doubled, late, out of order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::event::EndpointStatus;

use super::{BEGINNING, HOUR, Item, MINUTE, Town, time_of};
use tidegate_core::name::GroupName;

use crate::dice::{hash, mix};
use crate::fault::Fault;

/// A message on its way to a function.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) bytes: Arc<[u8]>,
    /// What tells it from all others.
    pub(crate) key: u64,
    /// How often it was tried before.
    pub(crate) attempt: u8,
    /// How often it was dead-lettered since faults stopped.
    pub(crate) buried: u8,
    /// The rollout, of a tick.
    pub(crate) rollout: Option<String>,
    /// What it is, for people.
    pub(crate) what: Arc<str>,
}

impl Town {
    pub(super) fn post_training(&mut self, job: &str, tags: &BTreeMap<String, String>) {
        let key = hash(job);
        // Some events come without the tags.
        let tags = if self.luck(key, 4) == 0 {
            json!({})
        } else {
            json!(tags)
        };
        self.post(
            "SageMaker Training Job State Change",
            job,
            &json!({
                "TrainingJobName": job, "TrainingJobStatus": "Completed",
                "TrainingJobArn":
                    format!("arn:aws:sagemaker:eu-west-1:123456789012:training-job/{job}"),
                "Tags": tags,
            }),
        );
    }

    pub(super) fn post_package(&mut self, arn: &str) {
        let Some(found) = self.aws.packages.get(arn) else {
            return;
        };
        let package = &found.package;
        let subject = format!("{} {}", package.group, package.version);
        let detail = json!({
            "ModelPackageGroupName": package.group, "ModelPackageVersion": package.version,
            "ModelPackageArn": arn, "ModelApprovalStatus": package.approval,
        });
        self.post("SageMaker Model Package State Change", &subject, &detail);
    }

    pub(super) fn post_endpoint(&mut self, name: &str, status: EndpointStatus) {
        let status = match status {
            EndpointStatus::InService => "IN_SERVICE".to_owned(),
            other => format!("{other:?}"),
        };
        self.post(
            "SageMaker Endpoint State Change",
            name,
            &json!({ "EndpointName": name, "EndpointStatus": status }),
        );
    }

    /// Sends an event of SageMaker.
    pub(super) fn post(&mut self, kind: &str, subject: &str, detail: &Value) {
        self.send("aws.sagemaker", kind, subject, detail);
    }

    pub(super) fn send(&mut self, source: &str, kind: &str, subject: &str, detail: &Value) {
        let n = self.aws.told.entry(subject.to_owned()).or_default();
        *n += 1;
        let id = format!("{}-{n}", subject.replace(' ', "-"));
        let key = hash(&id);
        let twins = if self.strikes(Fault::Twin, key) { 2 } else { 1 };
        for twin in 0..twins {
            let key = mix(key, twin);
            let id = if twin == 0 {
                id.clone()
            } else {
                format!("{id}-twin")
            };
            let skew = if self.strikes(Fault::Skew, key) {
                i64::try_from(self.luck(mix(key, 7), 180_000)).unwrap_or_default() - 90_000
            } else {
                0
            };
            let event = json!({
                "version": "0", "id": id, "source": source, "detail-type": kind,
                "account": "123456789012", "region": "eu-west-1", "resources": [],
                "time": time_of(self.now + skew).to_string(), "detail": detail,
            });
            let mail = Mail {
                bytes: event.to_string().into_bytes().into(),
                key,
                attempt: 0,
                buried: 0,
                rollout: None,
                what: id.into(),
            };
            self.deliver(&mail);
        }
    }

    fn deliver(&mut self, mail: &Mail) {
        let copies = if self.strikes(Fault::Duplicate, mail.key) {
            2
        } else {
            1
        };
        for copy in 0..copies {
            let key = mix(mail.key, 100 + copy);
            let mut late = 200 + i64::try_from(self.luck(key, 4_000)).unwrap_or_default();
            if self.strikes(Fault::Delay, key) {
                let longest = self.story.longest_delay * 1_000;
                let span = match self.luck(mix(key, 1), 10) {
                    0..6 => HOUR,
                    6..9 => 12 * HOUR,
                    _ => longest,
                };
                let span = u64::try_from(span.min(longest)).unwrap_or(1);
                late += MINUTE + i64::try_from(self.luck(mix(key, 2), span)).unwrap_or_default();
            }
            let mail = Mail {
                key,
                ..mail.clone()
            };
            self.due(self.now + late, Item::Deliver(mail.clone()));
            // A dead-letter queue keeps a message for two weeks, and a person may send it again
            // although it took effect.
            if self.strikes(Fault::Redelivered, key) {
                let again = self.redelivery(key, self.now + late);
                let mail = Mail {
                    key: mix(key, 6),
                    ..mail
                };
                self.due(again, Item::Deliver(mail));
            }
        }
    }

    /// When an event that was delivered comes again: within two weeks, most soon after something
    /// else began, when it hurts.
    fn redelivery(&self, key: u64, delivered: i64) -> i64 {
        let last = delivered + 14 * 24 * HOUR;
        let first = delivered + HOUR;
        let acts = self.story.acts.iter().map(|a| BEGINNING + a.at * 1_000);
        let later: Vec<i64> = acts.filter(|at| first < *at && *at < last - HOUR).collect();
        let span = |n: i64| u64::try_from(n).unwrap_or(1);
        let luck = |n: u64, of: i64| i64::try_from(self.luck(mix(key, n), span(of))).unwrap_or(0);
        let farthest = later.iter().max().filter(|_| self.luck(mix(key, 9), 4) > 0);
        match farthest {
            Some(at) => at + luck(10, HOUR),
            None => first + luck(5, last - first),
        }
    }

    /// What a schedule's clock says, which may be minutes off.
    fn scheduled(&mut self, key: u64) -> String {
        let skew = if self.strikes(Fault::TickSkew, key) {
            i64::try_from(self.luck(mix(key, 8), 6 * 60_000)).unwrap_or_default() - 3 * MINUTE
        } else {
            0
        };
        time_of(self.now + skew).to_string()
    }

    /// The groups with something unfinished, as the ledger's index has them.
    pub(crate) fn unfinished(&self, limit: usize) -> Vec<GroupName> {
        let is_unfinished =
            |p: &crate::books::Partition| !p.pending.is_empty() || p.head.is_unfinished();
        let groups = self.books.groups.iter();
        groups
            .filter(|(_, p)| is_unfinished(p))
            .map(|(g, _)| g.clone())
            .take(limit)
            .collect()
    }

    /// Whether all that is unfinished are monitors that are as they should be: their schedules are
    /// asked twice an hour, so a look between would find nothing, and take the story's time.
    fn only_watches(&self) -> bool {
        let is_training = |p: &crate::books::Partition| {
            let retraining = p.head.retraining.as_deref();
            retraining.is_some_and(tidegate_core::retrain::Retraining::is_under_way)
        };
        let mut all = self.books.groups.values();
        all.all(|p| {
            let is_idle = p.head.rollouts.is_empty() && p.head.waiting.is_empty();
            is_idle && p.pending.is_empty() && !is_training(p)
        }) && self.wrong_monitors().is_none()
    }

    /// The schedule of housekeeping fires, and will again in five minutes until the end. Where
    /// nothing is unfinished it would find nothing, so nobody is woken.
    pub(crate) fn keep_house(&mut self, end: i64) {
        if self.now < end {
            self.due(self.now + 5 * MINUTE, Item::Housekeeping);
        }
        self.check_paused();
        let minute = (self.now - BEGINNING) / MINUTE;
        let key = mix(hash("housekeeping"), minute.unsigned_abs());
        if self.unfinished(1).is_empty() || self.strikes(Fault::TickLost, key) {
            return;
        }
        if minute % 30 != 0 && self.only_watches() {
            return;
        }
        let scheduled = self.scheduled(key);
        let event = json!({ "tidegate": "housekeeping", "scheduled": scheduled });
        let mail = Mail {
            bytes: event.to_string().into_bytes().into(),
            key,
            attempt: 0,
            buried: 0,
            rollout: Some("housekeeping".to_owned()),
            what: "housekeeping".into(),
        };
        let late = 100 + i64::try_from(self.luck(key, 2_000)).unwrap_or_default();
        self.due(self.now + late, Item::Deliver(mail));
    }

    /// A schedule fires, and will again in a minute.
    pub(crate) fn fire(&mut self, rollout: &str, born: i64) {
        let Some(schedule) = self.aws.schedules.get(rollout).filter(|s| s.born == born) else {
            return;
        };
        let (group, stage) = (schedule.group.clone(), schedule.stage.clone());
        let minute = (self.now - BEGINNING) / MINUTE;
        let key = mix(hash(rollout), minute.unsigned_abs());
        let again = Item::Tick {
            rollout: rollout.to_owned(),
            born,
        };
        self.due(self.now + MINUTE, again);
        if self.is_spell(Fault::Stopped) || self.strikes(Fault::TickLost, key) {
            return;
        }
        let tick = json!({
            "tidegate": "tick", "group": group, "stage": stage,
            "rollout": rollout, "scheduled": self.scheduled(key),
        });
        let mail = Mail {
            bytes: tick.to_string().into_bytes().into(),
            key,
            attempt: 0,
            buried: 0,
            rollout: Some(rollout.to_owned()),
            what: "tick".into(),
        };
        let mut late = 100 + i64::try_from(self.luck(key, 2_000)).unwrap_or_default();
        if self.strikes(Fault::TickLate, key) {
            late += i64::try_from(self.luck(mix(key, 1), 600_000)).unwrap_or_default();
        }
        if self.strikes(Fault::TickDoubled, key) {
            let second = Mail {
                key: mix(key, 2),
                ..mail.clone()
            };
            let after = i64::try_from(self.luck(mix(key, 3), 3_000)).unwrap_or_default();
            self.due(self.now + after, Item::Deliver(second));
        }
        self.due(self.now + late, Item::Deliver(mail));
    }
}
