//! Where a plan's course and traffic come from: options, a policy, the endpoint's last hours.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tidegate_aws::AwsWorld;
use tidegate_core::evidence::{Counts, Rule, dispersion};
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{Guard, OnLowTraffic, Policy, Stage};
use tidegate_core::world::{Answer, MinuteCounts, Question, World as _, WorldError};

use super::args;
use super::course::{Course, Traffic};
use crate::connect::{Connection, open_world};
use crate::error::{Exit, Problem, advice, short};
use crate::policy_file;
use crate::render::number;

/// How far back traffic is measured, minutes: as long as a rollout's history.
const WINDOW: i64 = 180;

/// The highest rate that is planned with: something worse has to be left.
const HIGHEST_RATE: f64 = 0.95;

/// All that a plan is made of.
#[derive(Debug)]
pub(super) struct Setup {
    /// Pipeline, stage and endpoint; none if all is by options.
    pub(super) of: Option<Of>,
    pub(super) course: Course,
    /// The guards that are planned one by one.
    pub(super) guards: Vec<Planned>,
    /// What one should know of all this.
    pub(super) notes: Vec<String>,
}

/// What is planned.
#[derive(Debug)]
pub(super) struct Of {
    pub(super) pipeline: String,
    pub(super) stage: String,
    pub(super) endpoint: EndpointName,
}

/// A guard and what it sees.
#[derive(Debug)]
pub(super) struct Planned {
    /// As a policy spells it; none if all is by options.
    pub(super) guard: Option<String>,
    pub(super) traffic: Traffic,
    /// Whether something was measured of it.
    pub(super) measured: bool,
}

/// Finds it all out.
pub(super) async fn setup(args: &args::Plan, table: Option<&str>) -> Result<Setup, Problem> {
    let mut notes = Vec::new();
    let Some(name) = &args.pipeline else {
        let course = course(
            args,
            None,
            usize::from(args.guards.unwrap_or(1)),
            &mut notes,
        )?;
        let (Some(requests), Some(rate)) = (args.requests_per_minute, args.error_rate) else {
            return Err(Problem::new(
                Exit::Usage,
                "it isn't known how much traffic there is and how much of it is bad",
            )
            .help("give --requests-per-minute and --error-rate, for example 600 and 1%")
            .help("or name a pipeline, whose endpoint's last 3 hours are taken from CloudWatch"));
        };
        let traffic = Traffic {
            requests,
            rate,
            phi: args.dispersion.unwrap_or(1.0),
            ceiling: None,
        };
        return Ok(Setup {
            of: None,
            course,
            guards: vec![Planned {
                guard: None,
                traffic,
                measured: false,
            }],
            notes,
        });
    };
    let (policy, connection, ledger) = policy(name, table).await?;
    let stage = stage(&policy, args.stage.as_deref())?;
    let guards = stage.guards_or_default();
    let course = course(args, Some(stage), guards.len(), &mut notes)?;
    let measured = if args.requests_per_minute.is_some() && args.error_rate.is_some() {
        None
    } else {
        let alone;
        let world = if let Some(connection) = &connection {
            connection.world()
        } else {
            alone = open_world().await?;
            &alone
        };
        // A ledger may be ahead of this machine's clock.
        let now = Timestamp::now();
        let now = ledger.map_or(now, |at| at.max(now));
        Some(measure(world, stage, &guards, now).await?)
    };
    let mut planned = Vec::with_capacity(guards.len());
    for (g, guard) in guards.iter().enumerate() {
        let history = measured.as_ref().map(|m| of_guard(m, g));
        let traffic = traffic(args, guard, history.as_deref(), stage, &mut notes)?;
        planned.push(Planned {
            guard: Some(guard.metric.key()),
            traffic,
            measured: history.is_some(),
        });
    }
    Ok(Setup {
        of: Some(Of {
            pipeline: policy.pipeline.name.to_string(),
            stage: stage.name.to_string(),
            endpoint: stage.endpoint.clone(),
        }),
        course,
        guards: planned,
        notes,
    })
}

/// Steps and statistics: what options say, else the policy, else a policy's defaults.
fn course(
    args: &args::Plan,
    stage: Option<&Stage>,
    guards: usize,
    notes: &mut Vec<String>,
) -> Result<Course, Problem> {
    let strategy = stage.map(|s| s.strategy.clone()).unwrap_or_default();
    let judge = stage.map(|s| s.judge.clone()).unwrap_or_default();
    let steps = args
        .steps
        .clone()
        .unwrap_or_else(|| strategy.canary.clone());
    if steps.len() > 10 {
        return Err(Problem::new(Exit::Usage, "--steps has more than 10 steps"));
    }
    let falls = steps.iter().zip(steps.iter().skip(1)).find(|(a, b)| b <= a);
    if let Some((before, after)) = falls {
        let what = format!("--steps has {after} after {before}");
        return Err(Problem::new(Exit::Usage, what).help("the shares have to rise: 5,25,50"));
    }
    let minutes = args.step_minutes.unwrap_or(strategy.minutes);
    let longest = strategy
        .max_minutes
        .unwrap_or(minutes.saturating_mul(6))
        .max(minutes);
    let rule = Rule {
        alpha: args.alpha.unwrap_or(judge.alpha),
        beta: args.beta.unwrap_or(judge.beta),
        tolerated_ratio: args.tolerated_ratio.unwrap_or(judge.tolerated_ratio),
        margin_ratio: args.margin_ratio.unwrap_or(judge.margin_ratio),
    };
    if rule.margin_ratio <= rule.tolerated_ratio {
        let what = format!(
            "the margin ratio {} is not more than the tolerated ratio {}",
            rule.margin_ratio, rule.tolerated_ratio
        );
        return Err(Problem::new(Exit::Usage, what)
            .help("\"safe\" has to rule out more than what is tolerated: see --margin-ratio"));
    }
    if judge.settle_minutes > 0 {
        notes.push(format!(
            "Minutes are those of traffic; a minute is judged {} later, when CloudWatch has it \
             for good.",
            crate::render::count(u64::from(judge.settle_minutes), "minute", "minutes")
        ));
    }
    Ok(Course {
        steps,
        minutes,
        min_requests: args.min_requests.unwrap_or(strategy.min_requests),
        longest: (strategy.on_low_traffic != OnLowTraffic::Hold).then_some(longest),
        warmup: judge.warmup_minutes,
        rule,
        guards,
    })
}

/// The policy of that name: a file, else the one in force, with the time of the ledger's last change.
async fn policy(
    name: &str,
    table: Option<&str>,
) -> Result<(Policy, Option<Connection>, Option<Timestamp>), Problem> {
    let path = Path::new(name);
    let is_toml = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if is_toml || path.is_file() {
        return Ok((policy_file::policy(path)?, None, None));
    }
    let connection = Connection::open(table).await.map_err(|problem| {
        if table.is_none() {
            problem.help("or give a policy file: tidegate canary plan infra/pipelines/fraud.toml")
        } else {
            problem
        }
    })?;
    let (_, snapshot) = connection.find(name).await?;
    Ok((snapshot.applied.policy, Some(connection), snapshot.head.now))
}

/// The stage of that name, else the last.
fn stage<'a>(policy: &'a Policy, name: Option<&str>) -> Result<&'a Stage, Problem> {
    let found = match name {
        Some(name) => policy.stages.iter().find(|s| s.name.as_str() == name),
        None => policy.stages.last(),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = policy.stages.iter().map(|s| s.name.as_str()).collect();
        Problem::new(
            Exit::No,
            format!(
                "{} has no stage {:?}",
                policy.pipeline.name,
                short(name.unwrap_or_default())
            ),
        )
        .help(format!("its stages are {}", names.join(", ")))
    })
}

/// The counts of all variants of the endpoint, minute by minute.
async fn measure(
    world: &AwsWorld,
    stage: &Stage,
    guards: &[Guard],
    now: Timestamp,
) -> Result<Vec<MinuteCounts>, Problem> {
    let endpoint = &stage.endpoint;
    let failed = |error: &WorldError| {
        let mut problem = Problem::new(Exit::Aws, format!("AWS did not answer {}", error.call))
            .at(endpoint)
            .why(&error.message);
        problem.help = advice(&error.message, None);
        problem.help("--requests-per-minute and --error-rate plan without asking AWS")
    };
    let question = Question::Endpoint(endpoint.clone());
    let variants: Vec<String> = match world.ask(&question).await.map_err(|e| failed(&e))? {
        Answer::Endpoint(found) => found.variants.into_iter().map(|v| v.name).collect(),
        _ => Vec::new(),
    };
    if variants.is_empty() {
        return Err(no_traffic(
            endpoint,
            "there is no such endpoint yet, or nothing serves on it",
        ));
    }
    let settle = SignedDuration::from_mins(i64::from(stage.judge.settle_minutes));
    let second = now.as_second();
    let to = Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(now) - settle;
    let question = Question::Minutes {
        endpoint: endpoint.clone(),
        variants,
        guards: guards.iter().map(|g| g.metric.clone()).collect(),
        from: to - SignedDuration::from_mins(WINDOW),
        to,
    };
    match world.ask(&question).await.map_err(|e| failed(&e))? {
        Answer::Minutes(minutes) => Ok(minutes),
        _ => Err(no_traffic(endpoint, "CloudWatch has nothing of it")),
    }
}

fn no_traffic(endpoint: &EndpointName, why: &str) -> Problem {
    Problem::new(Exit::Usage, "it isn't known how much traffic there is")
        .at(format!("endpoint {endpoint}"))
        .why(why)
        .help("give --requests-per-minute and --error-rate, for example 600 and 1%")
}

/// A guard's counts on all variants together.
fn of_guard(minutes: &[MinuteCounts], guard: usize) -> Vec<Counts> {
    let sum = |minute: &MinuteCounts| {
        let of = minute.variants.iter().filter_map(|v| v.get(guard));
        of.fold(Counts::default(), |sum, c| sum.plus(c.clamped()))
    };
    minutes.iter().map(sum).collect()
}

/// What a guard sees: by options, else as it was measured.
fn traffic(
    args: &args::Plan,
    guard: &Guard,
    history: Option<&[Counts]>,
    stage: &Stage,
    notes: &mut Vec<String>,
) -> Result<Traffic, Problem> {
    let words = guard.metric.words();
    let history = history.unwrap_or_default();
    let total = history
        .iter()
        .fold(Counts::default(), |sum, c| sum.plus(*c));
    let needs_history = args.requests_per_minute.is_none() || args.error_rate.is_none();
    if needs_history && total.requests == 0 {
        let why = format!(
            "CloudWatch has no {} for {words} in the last 3 hours",
            guard.metric.of_what()
        );
        return Err(no_traffic(&stage.endpoint, &why));
    }
    // An endpoint may be younger than the window.
    let lived = history.iter().skip_while(|c| c.requests == 0).count();
    #[allow(clippy::cast_precision_loss)]
    let (seen, minutes) = (total.requests as f64, lived.max(1) as f64);
    let rate = match args.error_rate {
        Some(rate) => rate,
        None if total.bad == 0 => {
            notes.push(format!(
                "{words}: none in {} {}; planned as if the next one were bad.",
                number(total.requests),
                guard.metric.of_what()
            ));
            1.0 / (seen + 1.0)
        }
        None => total.rate().unwrap_or_default(),
    };
    if rate > HIGHEST_RATE {
        let what = format!(
            "{words}: {} are bad already, so that nothing worse is left to see",
            tidegate_core::rollout::percent(rate)
        );
        return Err(Problem::new(Exit::No, what)
            .at(format!("endpoint {}", stage.endpoint))
            .help("watch something that is not always so: a higher `slower_than_ms`, for one"));
    }
    let phi = args.dispersion.unwrap_or_else(|| dispersion(history));
    if args.dispersion.is_none() && phi > 1.0 {
        notes.push(format!(
            "{words}: bad ones came in bursts in the last 3 hours, {phi:.1} times the variance of \
             independent ones; planned with such bursts."
        ));
    }
    Ok(Traffic {
        requests: args.requests_per_minute.unwrap_or(seen / minutes),
        rate,
        phi,
        ceiling: guard.ceiling,
    })
}

#[cfg(test)]
mod tests;
