//! What is delivered: for each pipeline an approval that starts a rollout, training jobs, changes of
//! its endpoint, alarms; and some of it twice.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate_core::audit::What;

use crate::clients;

/// Of so many deliveries one is a duplicate.
const DUPLICATE_EVERY: usize = 5;
/// A duplicate comes at most so many deliveries after the first.
const DUPLICATE_WITHIN: usize = 100;
/// Of so many groups one trains a model.
const GROUPS_A_JOB: usize = 5;
/// Training jobs where there is one group.
const JOBS_OF_ONE: usize = 5;
/// Of so many other events of a group one is of its endpoint; the others are alarms.
const ENDPOINT_EVERY: usize = 8;
/// Between two events, by their own times.
const APART: SignedDuration = SignedDuration::from_millis(10);

/// An event, and what it has to lead to.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    /// Its group's number.
    pub(super) group: usize,
    pub(super) bytes: Vec<u8>,
    /// What is written down of it, once; nothing if it changes nothing.
    pub(super) leads_to: Option<What>,
}

/// All that is delivered in a run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) groups: usize,
    pub(super) events: Vec<Event>,
    /// Places in `events`, in the order of delivery.
    order: Vec<usize>,
}

impl Plan {
    /// `deliveries` on `groups`, in an order by `seed`; the same for each name but for the names.
    pub(super) fn new(name: &str, deliveries: usize, groups: usize, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let duplicates = deliveries / DUPLICATE_EVERY;
        let mut kinds: Vec<(usize, Kind)> =
            (0..groups).map(|group| (group, Kind::Approval)).collect();
        for (group, job) in jobs(groups) {
            kinds.push((group, Kind::Job(job)));
        }
        let first = kinds.len();
        for number in 0..(deliveries - duplicates).saturating_sub(first) {
            let kind = match (number / groups) % ENDPOINT_EVERY {
                0 => Kind::Endpoint,
                _ => Kind::Alarm(number),
            };
            kinds.push((number % groups, kind));
        }
        dice.shuffle(&mut kinds);
        let start = Timestamp::now();
        let mut at = start;
        let events: Vec<Event> = kinds
            .into_iter()
            .enumerate()
            .map(|(number, (group, kind))| {
                at += APART;
                kind.event(name, number, group, at)
            })
            .collect();
        let mut order: Vec<usize> = (0..events.len()).collect();
        for _ in 0..duplicates {
            let first = dice.below(order.len());
            let later = first + 1 + dice.below(DUPLICATE_WITHIN);
            let again = order[first];
            order.insert(later.min(order.len()), again);
        }
        Self {
            name: name.to_owned(),
            groups,
            events,
            order,
        }
    }

    pub(super) fn deliveries(&self) -> usize {
        self.order.len()
    }

    /// A group's name, and its pipeline's.
    pub(super) fn group(&self, number: usize) -> String {
        group(&self.name, number)
    }

    /// The names of training jobs, each with its group's number.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (usize, String)> {
        jobs(self.groups).map(|(group, number)| (group, job(&self.name, group, number)))
    }

    /// Each delivery by itself.
    pub(super) fn all_at_once(&self) -> Vec<Vec<usize>> {
        self.order.iter().map(|place| vec![*place]).collect()
    }

    /// Those of a group one after the other.
    pub(super) fn one_by_one(&self) -> Vec<Vec<usize>> {
        let mut lanes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for place in &self.order {
            lanes
                .entry(self.events[*place].group)
                .or_default()
                .push(*place);
        }
        lanes.into_values().collect()
    }

    /// What each event that changes something has to lead to, by its id.
    pub(super) fn expected(&self, group: usize) -> HashMap<&str, What> {
        let of_group = self.events.iter().filter(|event| event.group == group);
        of_group
            .filter_map(|event| Some((event.id.as_str(), event.leads_to?)))
            .collect()
    }
}

fn group(plan: &str, number: usize) -> String {
    format!("{plan}-{number:03}")
}

fn job(plan: &str, group: usize, number: usize) -> String {
    format!("{plan}-{group:03}-job-{number}")
}

/// The endpoint of a group.
pub(super) fn endpoint(group: &str) -> String {
    format!("{group}-prod")
}

/// The groups that train, with their jobs' numbers.
fn jobs(groups: usize) -> impl Iterator<Item = (usize, usize)> {
    let of_each = if groups == 1 { JOBS_OF_ONE } else { 1 };
    let that_train = (0..groups).step_by(GROUPS_A_JOB);
    that_train.flat_map(move |group| (0..of_each).map(move |job| (group, job)))
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Approval,
    Job(usize),
    Endpoint,
    Alarm(usize),
}

impl Kind {
    fn event(self, plan: &str, number: usize, of: usize, at: Timestamp) -> Event {
        let group = group(plan, of);
        let (source, about, detail, leads_to) = match self {
            Self::Approval => (
                "aws.sagemaker",
                "SageMaker Model Package State Change",
                json!({
                    "ModelPackageGroupName": group, "ModelPackageVersion": 1,
                    "ModelPackageArn": clients::arn("sagemaker", &format!("model-package/{group}/1")),
                    "ModelApprovalStatus": "Approved",
                }),
                Some(What::ApprovalSeen),
            ),
            Self::Job(number) => {
                let job = job(plan, of, number);
                let detail = json!({
                    "TrainingJobName": job, "TrainingJobStatus": "Completed",
                    "TrainingJobArn": clients::arn("sagemaker", &format!("training-job/{job}")),
                    "Tags": { "tidegate:pipeline": group },
                });
                let about = "SageMaker Training Job State Change";
                ("aws.sagemaker", about, detail, Some(What::CandidateGated))
            }
            Self::Endpoint => {
                let endpoint = endpoint(&group);
                let detail = json!({
                    "EndpointName": endpoint, "EndpointStatus": "CREATING",
                    "EndpointArn": clients::arn("sagemaker", &format!("endpoint/{endpoint}")),
                });
                (
                    "aws.sagemaker",
                    "SageMaker Endpoint State Change",
                    detail,
                    None,
                )
            }
            Self::Alarm(number) => (
                "aws.cloudwatch",
                "CloudWatch Alarm State Change",
                alarm(&format!("{group}-alarm-{number}"), &endpoint(&group)),
                Some(What::AlarmSeen),
            ),
        };
        let id = format!("{plan}-{number:05}");
        let event = json!({
            "version": "0", "id": id, "source": source, "detail-type": about,
            "account": crate::ACCOUNT, "region": crate::REGION, "time": at.to_string(),
            "resources": [], "detail": detail,
        });
        Event {
            id,
            group: of,
            bytes: event.to_string().into_bytes(),
            leads_to,
        }
    }
}

fn alarm(name: &str, endpoint: &str) -> Value {
    json!({
        "alarmName": name,
        "configuration": { "metrics": [{ "id": "m1", "returnData": true, "metricStat": {
            "metric": { "namespace": "AWS/SageMaker", "name": "Invocation5XXErrors",
                "dimensions": { "EndpointName": endpoint, "VariantName": "AllTraffic" } },
            "period": 60, "stat": "Sum",
        } }] },
        "state": { "value": "ALARM", "reason": "Threshold Crossed" },
        "previousState": { "value": "OK" },
    })
}

/// A seeded source of chance (`SplitMix64`).
struct Dice(u64);

impl Dice {
    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or(0) % n
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for place in (1..all.len()).rev() {
            all.swap(place, self.below(place + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_what_is_delivered_is_duplicates_and_comes_in_both_orders() {
        let plan = Plan::new("storm", 1_000, 20, 7);
        assert_eq!(plan.deliveries(), 1_000);
        assert_eq!(plan.events.len(), 800);
        let calm: usize = plan.one_by_one().iter().map(Vec::len).sum();
        assert_eq!((plan.one_by_one().len(), calm), (20, 1_000));
        assert_eq!(plan.all_at_once().len(), 1_000);
        assert_eq!(plan.jobs().count(), 4);
    }

    #[test]
    fn events_are_read_as_what_they_are() {
        let plan = Plan::new("storm", 60, 1, 7);
        for event in &plan.events {
            let read = tidegate_core::event::parse(&event.bytes).expect("it is an event");
            let is_unhandled = matches!(read.kind, tidegate_core::event::Kind::Unhandled { .. });
            assert!(!is_unhandled, "{read:?}");
        }
    }
}
