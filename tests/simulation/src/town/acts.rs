//! What people, autoscaling, monitors and trainings do when their time has come.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate_core::event::{Approval, EndpointStatus};
use tidegate_core::name::EndpointName;
use tidegate_core::world::{ConfigSpec, Endpoint, Findings, VariantSpec, Violation};

use super::{By, Item, MINUTE, Mail, Town, time_of};
use crate::aws::{Place, fresh};
use crate::fault::Fault;
use crate::invariant::Invariant;
use crate::story::{Report, What};

/// How often a message may be dead-lettered once faults stopped: what an endpoint that is being
/// changed for hours holds up is sent again in vain.
const MOST_BURIALS: u8 = 4;

impl Town {
    /// Does an act of the story.
    pub(crate) fn act(&mut self, index: usize) {
        let act = self.story.acts[index].clone();
        let plan = act.plan;
        match act.what {
            What::Train { job, auc, fate } => self.train(plan, job, auc, fate),
            What::Decide {
                job,
                approval,
                is_expected,
            } => self.person_decides(plan, job, approval, is_expected),
            What::Delete { stage } => self.person_deletes(plan, stage),
            What::Reconfigure { stage } => self.person_reconfigures(plan, stage, index),
            What::Reweight { stage } => self.person_reweights(plan, stage),
            What::Scale { stage, count } => {
                let name = self.plan(plan).endpoint(stage);
                let done = self.shift(By::People, &name, &BTreeMap::new(), Some(count));
                if done.is_ok() {
                    let now = self.now;
                    if let Some(place) = self.aws.endpoints.get_mut(&name) {
                        place.scaled_at = now;
                    }
                    self.tally.count(Fault::Scales);
                    self.say(|| format!("== {name} is scaled to {count} instances"));
                }
            }
            What::Edit(edits) => {
                self.edits[plan] = edits;
                self.shortened[plan] |= edits.is_shorter;
                self.tally.count(Fault::Edits);
                let now = self.now;
                self.due(now, Item::Apply(plan));
            }
            What::Violation {
                stage,
                minutes,
                report,
            } => self.violation(plan, stage, minutes, report, index),
            What::Overwrite { job } => self.overwrite(plan, job),
            What::Monitor { stage, does } => self.person_touches_monitor(plan, stage, does),
            What::Alarm {
                stage,
                names_variant,
                minutes,
            } => self.alarm(plan, stage, names_variant, minutes),
            What::Spell { fault, minutes } => self.spell(fault, minutes),
        }
    }

    fn spell(&mut self, fault: Fault, minutes: i64) {
        let until = self.now + minutes * MINUTE;
        self.tally.count(fault);
        self.say(|| format!("== {} for {minutes} minutes", fault.word()));
        match fault {
            Fault::MetricGap => self.aws.gaps.push((self.now, until)),
            Fault::Quiet => self.aws.lulls.push((self.now, until)),
            _ => {
                self.spells.insert(fault, until);
            }
        }
    }

    /// Faults stop.
    pub(crate) fn calm(&mut self) {
        self.say(|| "== faults stop".to_owned());
        self.is_calm = true;
        self.spells.clear();
        let now = self.now;
        for (_, until) in self.aws.gaps.iter_mut().chain(&mut self.aws.lulls) {
            *until = now.min(*until);
        }
    }

    fn person_decides(&mut self, plan: usize, job: u32, approval: Approval, is_expected: bool) {
        let Some(arn) = self.package_of_job(plan, job) else {
            return;
        };
        if self.aws.packages[&arn].package.approval == approval {
            return;
        }
        if !is_expected {
            self.tally.count(match approval {
                Approval::Approved => Fault::Approves,
                Approval::Rejected => Fault::Rejects,
                Approval::PendingManualApproval => Fault::Withdraws,
            });
        }
        self.say(|| format!("== a person sets {arn} {approval:?}"));
        // It exists.
        let _ = self.set_approval(By::People, &arn, approval, None);
    }

    fn person_deletes(&mut self, plan: usize, stage: usize) {
        let name = self.plan(plan).endpoint(stage);
        if self.aws.endpoints.contains_key(&name) && self.delete_endpoint(By::People, &name).is_ok()
        {
            self.meddled[plan] = true;
            self.tally.count(Fault::Deletes);
            self.say(|| format!("== a person deletes {name}"));
        }
    }

    /// A person deletes an endpoint that SageMaker gave up.
    pub(crate) fn repair(&mut self, name: &str, generation: u64) {
        let is_broken = self.aws.endpoints.get(name).is_some_and(|p| {
            p.generation == generation
                && matches!(
                    p.is.status,
                    EndpointStatus::Failed | EndpointStatus::UpdateRollbackFailed
                )
        });
        if is_broken && self.delete_endpoint(By::People, name).is_ok() {
            let plan = self.plan_of(name);
            self.meddled[plan] = true;
            self.say(|| format!("== a person deletes {name}, which failed"));
        }
    }

    fn person_reconfigures(&mut self, plan: usize, stage: usize, n: usize) {
        let name = self.plan(plan).endpoint(stage);
        let config = foreign_config(&format!("theirs-{n}"));
        self.aws.models.insert("theirs".to_owned(), None);
        self.aws.made_from.insert("theirs".to_owned(), None);
        self.aws.shelf.insert(config.name.clone(), config.clone());
        self.aws.configs.insert(config.name.clone(), config.clone());
        self.people_made(&config);
        if self
            .update_endpoint(By::People, &name, &config.name, false)
            .is_ok()
        {
            self.meddled[plan] = true;
            self.tally.count(Fault::Reconfigures);
            self.say(|| format!("== a person updates {name} to {}", config.name));
        }
    }

    fn person_reweights(&mut self, plan: usize, stage: usize) {
        let name = self.plan(plan).endpoint(stage);
        let Some(place) = self.aws.endpoints.get(&name) else {
            return;
        };
        let [first, second] = place.is.variants.as_slice() else {
            return;
        };
        let weights = BTreeMap::from([(first.name.clone(), 77.0), (second.name.clone(), 3.0)]);
        if self.shift(By::People, &name, &weights, None).is_ok() {
            self.meddled[plan] = true;
            self.tally.count(Fault::Reweights);
            self.say(|| format!("== a person changes the weights of {name}"));
        }
    }

    fn violation(&mut self, plan: usize, stage: usize, minutes: i64, report: Report, n: usize) {
        let name = self.plan(plan).endpoint(stage);
        let Ok(endpoint) = EndpointName::parse(&name) else {
            return;
        };
        let since = self.now - minutes * MINUTE;
        let job = format!("monitoring-{plan}-{n}");
        // Of ours where there is one, at every second report.
        let ours = self.aws.monitors.schedules.iter();
        let ours = ours.filter(|_| n.is_multiple_of(2)).find(|(_, w)| {
            w.of.as_ref()
                .is_some_and(|of| of.endpoint == endpoint && w.runs)
        });
        let schedule = ours.map_or_else(|| format!("{name}-data"), |(name, _)| name.clone());
        if report == Report::Failed {
            self.tally.count(Fault::MonitorFailed);
            self.say(|| format!("== {job} of {schedule} fails"));
            self.post_monitoring(&schedule, &name, "Failed", &job);
            return;
        }
        self.tally.count(Fault::Violation);
        let newest = (job.clone(), self.now);
        self.aws.monitors.newest.insert(schedule.clone(), newest);
        self.say(|| {
            format!(
                "== {job} finds {report:?} on {name} by {schedule}, on {minutes} minutes of data"
            )
        });
        self.aws.blames.push((name.clone(), None, since));
        self.aws.findings.insert(
            job.clone(),
            Findings {
                job: job.clone(),
                data_since: Some(time_of(since)),
                violations: report
                    .checks()
                    .iter()
                    .map(|check| violated(check))
                    .collect(),
                ..Findings::default()
            },
        );
        self.post_monitoring(&schedule, &name, "CompletedWithViolations", &job);
    }

    fn post_monitoring(&mut self, schedule: &str, endpoint: &str, status: &str, job: &str) {
        self.post(
            "SageMaker Monitoring Schedule State Change",
            schedule,
            &json!({
                "MonitoringScheduleName": schedule,
                "EndpointName": endpoint, "MonitoringScheduleStatus": "Scheduled",
                "LastMonitoringExecutionSummary": {
                    "MonitoringExecutionStatus": status,
                    "ProcessingJobArn":
                        format!("arn:aws:sagemaker:eu-west-1:123456789012:processing-job/{job}"),
                },
            }),
        );
    }

    fn overwrite(&mut self, plan: usize, job: u32) {
        let job = self.plan(plan).job(job);
        let artifact = format!("s3://models/{job}/output/model.tar.gz");
        self.tally.count(Fault::Overwritten);
        self.say(|| format!("== somebody writes over {artifact}"));
        self.aws.overwritten.insert(artifact, self.now);
    }

    fn alarm(&mut self, plan: usize, stage: usize, names_variant: bool, minutes: i64) {
        let name = self.plan(plan).endpoint(stage);
        let since = self.now - minutes * MINUTE;
        let newest = self
            .aws
            .endpoints
            .get(&name)
            .and_then(|p| p.is.variants.last())
            .map(|v| v.name.clone());
        let variant = newest.filter(|_| names_variant);
        let mut dimensions = json!({ "EndpointName": name });
        if let Some(variant) = &variant {
            dimensions["VariantName"] = json!(variant);
        }
        self.tally.count(Fault::Alarm);
        self.say(|| format!("== an alarm on {name} {variant:?}, on {minutes} minutes of data"));
        self.aws.blames.push((name.clone(), variant, since));
        let reason_data = json!({ "startDate": time_of(since).to_string() }).to_string();
        self.send(
            "aws.cloudwatch",
            "CloudWatch Alarm State Change",
            &format!("alarm {name}"),
            &json!({
                "alarmName": format!("{name}-errors"),
                "state": {
                    "value": "ALARM", "reason": "Threshold Crossed", "reasonData": reason_data,
                },
                "configuration": { "metrics": [{
                    "id": "m", "returnData": true,
                    "metricStat": { "period": 60, "stat": "Sum", "metric": {
                        "namespace": "AWS/SageMaker", "name": "Invocation5XXErrors",
                        "dimensions": dimensions,
                    } },
                }] },
            }),
        );
    }

    /// The last stage's endpoint serves already, if the plan says so.
    pub(super) fn adopt(&mut self, plan: usize) {
        if !self.plan(plan).is_adopted {
            return;
        }
        let name = self.plan(plan).endpoint(self.plan(plan).stages - 1);
        let Ok(endpoint) = EndpointName::parse(&name) else {
            return;
        };
        let config = foreign_config("their-config");
        self.aws.models.insert("theirs".to_owned(), None);
        self.aws.made_from.insert("theirs".to_owned(), None);
        self.aws.shelf.insert(config.name.clone(), config.clone());
        self.aws.configs.insert(config.name.clone(), config.clone());
        self.people_made(&config);
        let mut place = Place::new(Endpoint {
            name: endpoint,
            status: EndpointStatus::InService,
            config: config.name.clone(),
            pending_config: None,
            failure: None,
            modified: Some(self.time()),
            variants: config.variants.iter().map(fresh).collect(),
        });
        place.has_served = true;
        self.aws.endpoints.insert(name.clone(), place);
        self.note_settings(&name, true);
        self.share_traffic(&name);
        self.say(|| format!("== {name} serves already"));
    }

    /// A person sends the dead letters again.
    pub(crate) fn redrive(&mut self) {
        self.is_redrive_due = false;
        let dead = std::mem::take(&mut self.dead);
        self.say(|| format!("== a person sends {} dead letters again", dead.len()));
        for (i, mut mail) in dead.into_iter().enumerate() {
            mail.attempt = 0;
            mail.key = crate::dice::mix(mail.key, 31);
            let after = i64::try_from(i).unwrap_or_default() * 500;
            self.due(self.now + after, Item::Deliver(mail));
        }
    }

    /// A message that was tried as often as Lambda does.
    pub(crate) fn bury(&mut self, mut mail: Mail, why: &str) {
        self.say(|| format!("!! {} is dead-lettered: {why}", mail.what));
        mail.buried += u8::from(self.is_calm);
        let n = mail.buried;
        self.hold(Invariant::NoDeadLetter, n <= MOST_BURIALS, || {
            format!("{} is dead-lettered for the {n}th time: {why}", mail.what)
        });
        self.dead.push(mail);
        if !self.is_redrive_due {
            self.is_redrive_due = true;
            let hours = 1 + i64::try_from(self.luck(self.now.unsigned_abs(), 6)).unwrap_or(1);
            self.due(self.now + hours * super::HOUR, Item::Redrive);
        }
    }
}

fn violated(check: &str) -> Violation {
    Violation {
        feature: "amount".to_owned(),
        check: check.to_owned(),
        description: "distance: 0.4 exceeds threshold: 0.1".to_owned(),
    }
}

fn foreign_config(name: &str) -> ConfigSpec {
    ConfigSpec {
        name: name.to_owned(),
        like: None,
        variants: vec![VariantSpec {
            name: "AllTraffic".to_owned(),
            model: "theirs".to_owned(),
            like: None,
            instance: None,
            count: 3,
            weight: 1,
            model_download_seconds: None,
            startup_seconds: None,
        }],
        capture: None,
        tags: BTreeMap::new(),
    }
}
