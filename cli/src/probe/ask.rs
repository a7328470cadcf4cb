//! What is asked of AWS about a stage's endpoint: what serves, and what CloudWatch has of the last
//! three hours for every guard.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use tidegate_core::evidence::Counts;
use tidegate_core::pipeline::{CountMetric, GuardMetric, Stage};
use tidegate_core::world::{Answer, Endpoint, MinuteCounts, Question, World, WorldError};

/// How far back is looked, hours.
pub(super) const HOURS: i64 = 3;

/// Variants whose traffic is added up at most, those that serve first.
const MOST_VARIANTS: usize = 20;

/// What is known of a stage's endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Look {
    /// There is none yet.
    NoEndpoint,
    /// It could not be described.
    Undescribed(WorldError),
    /// AWS took too long.
    TooLate,
    /// Its traffic.
    Seen(Traffic),
}

/// The traffic of an endpoint in the last three hours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Traffic {
    /// The variant that serves most.
    pub(super) champion: String,
    /// Requests (`Invocations`) to the whole endpoint; an error if CloudWatch did not say.
    pub(super) requests: Result<u64, WorldError>,
    /// Counts by guard, in the policy's order.
    pub(super) guards: Vec<Result<Seen, WorldError>>,
}

/// What CloudWatch has of one guard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// On the champion.
    pub(super) champion: Counts,
    /// Events of any kind on the whole endpoint.
    pub(super) all: u64,
}

/// Asks about a stage's endpoint.
pub(super) async fn look<W: World>(world: &W, stage: &Stage, now: Timestamp) -> Look {
    let endpoint = Question::Endpoint(stage.endpoint.clone());
    let variants = Question::VariantsOf {
        endpoint: stage.endpoint.clone(),
    };
    let (endpoint, others) = join(world.ask(&endpoint), world.ask(&variants)).await;
    let endpoint = match endpoint {
        Ok(Answer::Endpoint(endpoint)) => endpoint,
        Ok(_) => return Look::NoEndpoint,
        Err(error) => return Look::Undescribed(error),
    };
    let Some(champion) = champion(&endpoint) else {
        return Look::NoEndpoint;
    };
    // A rollout may just have changed the variant's name. Who may not list the metrics of the
    // variants before it is told of less traffic than there was.
    let others = match others {
        Ok(Answer::Variants(variants)) => variants,
        _ => Vec::new(),
    };
    let variants = variants_of(&champion, &endpoint, others);
    let guards: Vec<GuardMetric> = stage
        .guards_or_default()
        .into_iter()
        .map(|guard| guard.metric)
        .collect();
    let mut counted = count(world, stage, &variants, asked(&guards), now).await;
    let requests = match guards.iter().position(counts_invocations) {
        Some(guard) => counted[guard].clone(),
        None => counted.pop().unwrap_or(Ok(Seen::default())),
    };
    Look::Seen(Traffic {
        champion,
        requests: requests.map(|seen| seen.all),
        guards: counted,
    })
}

/// The variant with the greatest weight, the first of several.
fn champion(endpoint: &Endpoint) -> Option<String> {
    let mut heaviest = endpoint.variants.first()?;
    for variant in &endpoint.variants {
        if variant.weight > heaviest.weight {
            heaviest = variant;
        }
    }
    Some(heaviest.name.clone())
}

/// The champion, then the endpoint's other variants, then those that served it before.
fn variants_of(champion: &str, endpoint: &Endpoint, others: Vec<String>) -> Vec<String> {
    let present = endpoint.variants.iter().map(|v| v.name.clone());
    let mut known = BTreeSet::new();
    std::iter::once(champion.to_owned())
        .chain(present)
        .chain(others)
        .filter(|name| known.insert(name.clone()))
        .take(MOST_VARIANTS)
        .collect()
}

/// The guards, and one more that counts the endpoint's requests if none of them does.
fn asked(guards: &[GuardMetric]) -> Vec<GuardMetric> {
    let mut asked = guards.to_vec();
    if !guards.iter().any(counts_invocations) {
        asked.push(GuardMetric::Metric(CountMetric::ModelErrors));
    }
    asked
}

fn counts_invocations(guard: &GuardMetric) -> bool {
    matches!(guard, GuardMetric::Metric(_))
}

/// The counts of the settled minutes, in one call; if CloudWatch refuses that, guard by guard, to
/// know which of them it is.
async fn count<W: World>(
    world: &W,
    stage: &Stage,
    variants: &[String],
    guards: Vec<GuardMetric>,
    now: Timestamp,
) -> Vec<Result<Seen, WorldError>> {
    let question = |guards: Vec<GuardMetric>| {
        let second = now.as_second();
        let minute = Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(now);
        let to = minute - SignedDuration::from_mins(i64::from(stage.judge.settle_minutes));
        Question::Minutes {
            endpoint: stage.endpoint.clone(),
            variants: variants.to_vec(),
            guards,
            from: to - SignedDuration::from_hours(HOURS),
            to,
        }
    };
    let of_all = question(guards.clone());
    match world.ask(&of_all).await {
        Ok(answer) => (0..guards.len()).map(|g| Ok(seen(&answer, g))).collect(),
        Err(error) if error.is_passing() || guards.len() == 1 => {
            guards.iter().map(|_| Err(error.clone())).collect()
        }
        Err(_) => {
            let alone: Vec<Question> = guards.into_iter().map(|g| question(vec![g])).collect();
            let answers = join_all(alone.iter().map(|question| world.ask(question))).await;
            answers
                .into_iter()
                .map(|answer| answer.map(|answer| seen(&answer, 0)))
                .collect()
        }
    }
}

/// One guard's counts, added up.
fn seen(answer: &Answer, guard: usize) -> Seen {
    let minutes: &[MinuteCounts] = match answer {
        Answer::Minutes(minutes) => minutes,
        _ => &[],
    };
    let mut seen = Seen::default();
    for minute in minutes {
        for (v, variant) in minute.variants.iter().enumerate() {
            let counts = variant.get(guard).copied().unwrap_or_default();
            seen.all = seen.all.saturating_add(counts.requests);
            if v == 0 {
                seen.champion = seen.champion.plus(counts);
            }
        }
    }
    seen
}
