//! What `CloudWatch` has of a canary of the past: which variants had traffic, the champion's minutes
//! before, and both variants' minutes since the canary's first request.

use jiff::{SignedDuration, Timestamp};
use tidegate_aws::AwsWorld;
use tidegate_core::evidence::Counts;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{CountMetric, GuardMetric};
use tidegate_core::rollout::HISTORY_MINUTES;
use tidegate_core::world::{Answer, MinuteCounts, Question, World as _, WorldError};

use super::by::By;
use super::variants::{Pair, pair, seen};
use super::{Backtest, short};
use crate::error::{Exit, Problem, advice};

/// The most minutes of one question.
const MINUTES_A_QUESTION: i64 = 1_440;
/// The most variants of one question.
const VARIANTS_A_QUESTION: usize = 100;

/// What `CloudWatch` has.
pub(super) struct Past {
    pub(super) pair: Pair,
    /// The baseline's minutes before, by guard.
    pub(super) history: Vec<Vec<Counts>>,
    /// From the canary's first request to the end; the baseline first.
    pub(super) minutes: Vec<MinuteCounts>,
    /// The canary's first minute with requests.
    pub(super) first: Timestamp,
    pub(super) to: Timestamp,
}

impl Past {
    pub(super) async fn gather(
        world: &AwsWorld,
        args: &Backtest,
        by: &By,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Self, Problem> {
        let endpoint = &args.endpoint;
        let names = match (&args.canary, &args.baseline) {
            (Some(canary), Some(baseline)) => vec![canary.clone(), baseline.clone()],
            _ => variants_of(world, endpoint).await?,
        };
        let traffic = [GuardMetric::Metric(CountMetric::ModelErrors)];
        let mut found = Vec::new();
        for names in names.chunks(VARIANTS_A_QUESTION) {
            let minutes = minutes(world, endpoint, names, &traffic, from, to).await?;
            found.extend(seen(names, &minutes));
        }
        if found.is_empty() {
            return Err(no_data(endpoint, from, to));
        }
        let pair = pair(&found, args.canary.as_deref(), args.baseline.as_deref())?;
        let first = found
            .iter()
            .find(|v| v.name == pair.canary)
            .map_or(from, |v| v.first);
        let guards: Vec<GuardMetric> = by.guards.iter().map(|g| g.metric.clone()).collect();
        let both = [pair.baseline.clone(), pair.canary.clone()];
        let before = first - SignedDuration::from_mins(HISTORY_MINUTES);
        let past = minutes(world, endpoint, &both[..1], &guards, before, first).await?;
        let history = (0..guards.len())
            .map(|g| {
                past.iter()
                    .filter_map(|m| m.variants.first()?.get(g).copied())
                    .collect()
            })
            .collect();
        Ok(Self {
            history,
            minutes: minutes(world, endpoint, &both, &guards, first, to).await?,
            pair,
            first,
            to,
        })
    }
}

async fn variants_of(world: &AwsWorld, endpoint: &EndpointName) -> Result<Vec<String>, Problem> {
    let question = Question::VariantsOf {
        endpoint: endpoint.clone(),
    };
    let names = match world.ask(&question).await {
        Ok(Answer::Variants(names)) => names,
        Ok(_) => Vec::new(),
        Err(error) => return Err(refused(&error)),
    };
    if names.is_empty() {
        return Err(Problem::new(
            Exit::No,
            format!("CloudWatch has no metrics of the endpoint {endpoint} from the last two weeks"),
        )
        .help("`aws sagemaker list-endpoints` lists the endpoints of the account and region; see AWS_PROFILE and AWS_REGION")
        .help("of an older time, say which variants with --canary and --baseline"));
    }
    Ok(names)
}

/// Minutes from `from` to `to`, in as many questions as it takes.
async fn minutes(
    world: &AwsWorld,
    endpoint: &EndpointName,
    variants: &[String],
    guards: &[GuardMetric],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<MinuteCounts>, Problem> {
    let mut all = Vec::new();
    let mut at = from;
    while at < to {
        let end = (at + SignedDuration::from_mins(MINUTES_A_QUESTION)).min(to);
        let question = Question::Minutes {
            endpoint: endpoint.clone(),
            variants: variants.to_vec(),
            guards: guards.to_vec(),
            from: at,
            to: end,
        };
        match world.ask(&question).await {
            Ok(Answer::Minutes(minutes)) => all.extend(minutes),
            Ok(_) => {}
            Err(error) => return Err(refused(&error)),
        }
        at = end;
    }
    Ok(all)
}

fn refused(error: &WorldError) -> Problem {
    let mut problem =
        Problem::new(Exit::Aws, format!("AWS did not answer {}", error.call)).why(&error.message);
    problem.help = advice(&error.message, None);
    problem
}

fn no_data(endpoint: &EndpointName, from: Timestamp, to: Timestamp) -> Problem {
    Problem::new(
        Exit::No,
        format!(
            "no variant of {endpoint} had a request from {} to {} UTC",
            short(from),
            short(to)
        ),
    )
    .help("CloudWatch keeps minutes for 15 days; the newest take two minutes to come in")
    .help("times without a zone are in UTC")
}
