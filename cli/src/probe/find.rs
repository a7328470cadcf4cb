//! What a stage's traffic of the last hours says about its guards, steps and ceilings.

use std::fmt::Write as _;

use tidegate_core::pipeline::{CustomMetric, Guard, GuardMetric, OnLowTraffic, Stage};
use tidegate_core::rollout::percent;
use tidegate_core::world::{WorldError, WorldErrorKind};

use super::ask::{HOURS, Look, Seen, Traffic};
use super::{Finding, Level};
use crate::error::advice;
use crate::render::{count, number};

/// A step with fewer requests of the canary in an hour has too few to tell.
const HANDFUL: f64 = 5.0;

/// With fewer bad events than this, a rate above its ceiling may be chance.
const FEWEST_BAD: u64 = 5;

/// The longest that a policy may have a step wait, minutes.
const MOST_MINUTES: f64 = 10_080.0;

/// What is to be told of a stage, the one of this place in its policy.
pub(super) fn findings(place: usize, stage: &Stage, look: &Look) -> Vec<Finding> {
    let place = Place { place, stage };
    let mut findings = match look {
        Look::NoEndpoint => vec![place.note(format!(
            "the endpoint {} does not exist yet, so its guards and steps were not probed",
            stage.endpoint
        ))],
        Look::TooLate => vec![Finding {
            help: vec![
                "the policy is in force all the same; --no-probe leaves this out".to_owned(),
            ],
            ..place.warning(
                None,
                format!(
                    "AWS took too long to say what serves {}: its guards and steps were not probed",
                    stage.endpoint
                ),
            )
        }],
        Look::Undescribed(error) => vec![place.unanswered(
            None,
            format!(
                "{} can't be looked at, so its guards and steps were not probed",
                stage.endpoint
            ),
            error,
        )],
        Look::Seen(traffic) => place.seen(traffic),
    };
    if stage.smoke.is_empty() {
        findings.push(place.smoke());
    }
    findings
}

/// A stage and its place in the policy.
struct Place<'a> {
    place: usize,
    stage: &'a Stage,
}

impl Place<'_> {
    fn key(&self, rest: &str) -> String {
        format!("stage[{}]{rest}", self.place)
    }

    fn finding(&self, level: Level, key: Option<String>, what: String) -> Finding {
        Finding::new(level, Some(self.stage.name.to_string()), key, what)
    }

    fn warning(&self, key: Option<String>, what: String) -> Finding {
        self.finding(Level::Warning, key, what)
    }

    fn note(&self, what: String) -> Finding {
        self.finding(Level::Note, None, what)
    }

    fn smoke(&self) -> Finding {
        Finding {
            help: vec![
                "add `smoke = [\"s3://...\"]`: request bodies that a candidate has to answer \
                 before any user meets it"
                    .to_owned(),
            ],
            ..self.finding(
                Level::Hint,
                Some(self.key(".smoke")),
                "there are no smoke requests: users meet a candidate first".to_owned(),
            )
        }
    }

    fn seen(&self, traffic: &Traffic) -> Vec<Finding> {
        let mut findings = self.refused(traffic);
        let guards = self.stage.guards_or_default();
        match traffic.requests {
            // Told already, unless it is counted beside the guards.
            Err(ref error) if findings.is_empty() => findings.push(self.unanswered(
                None,
                format!("the requests to {} can't be counted", self.stage.endpoint),
                error,
            )),
            Err(_) => {}
            Ok(0) => findings.push(self.note(format!(
                "{} had no requests in the last {HOURS} hours, so its guards and steps were not \
                 probed",
                self.stage.endpoint
            ))),
            Ok(requests) => {
                for (g, (guard, seen)) in guards.iter().zip(&traffic.guards).enumerate() {
                    if let Ok(seen) = seen {
                        findings.extend(self.silent(g, guard, seen, traffic, requests));
                        findings.extend(self.over_ceiling(g, guard, seen));
                    }
                }
                findings.extend(self.thin_steps(requests, traffic));
            }
        }
        findings
    }

    /// What CloudWatch did not answer: once, if it is the same for all.
    fn refused(&self, traffic: &Traffic) -> Vec<Finding> {
        let errors: Vec<(usize, &WorldError)> = traffic
            .guards
            .iter()
            .enumerate()
            .filter_map(|(g, seen)| seen.as_ref().err().map(|error| (g, error)))
            .collect();
        let what = |error: &WorldError, of: &str| match error.kind {
            WorldErrorKind::Denied => {
                format!("these credentials may not read {of} from CloudWatch")
            }
            _ if error.is_passing() => format!("CloudWatch did not answer about {of}"),
            _ => format!("CloudWatch refuses to answer about {of}: a rollout would hold here"),
        };
        match errors.as_slice() {
            [] => Vec::new(),
            [(_, first), rest @ ..]
                if errors.len() == traffic.guards.len()
                    && rest
                        .iter()
                        .all(|(_, e)| e.kind == first.kind && e.call == first.call) =>
            {
                let of = format!("the metrics of {}", self.stage.endpoint);
                vec![self.unanswered(None, what(first, &of), first)]
            }
            _ => {
                let guards = self.stage.guards_or_default();
                let one = |(g, error): (usize, &WorldError)| {
                    let words = guards.get(g).map_or_else(String::new, |g| g.metric.words());
                    let key = self.key(&format!(".guard[{g}]"));
                    self.unanswered(Some(key), what(error, &words), error)
                };
                errors.into_iter().map(one).collect()
            }
        }
    }

    fn unanswered(&self, key: Option<String>, what: String, error: &WorldError) -> Finding {
        let mut help = advice(&error.message, None);
        match error.kind {
            WorldErrorKind::Denied => {
                if help.is_empty() {
                    help.push(format!(
                        "allow {} to the credentials in use",
                        action(&error.call)
                    ));
                }
                help.push(
                    "the functions have roles of their own: if they may read it, rollouts go on; \
                     if not, they hold and tell"
                        .to_owned(),
                );
            }
            _ if error.is_passing() && help.is_empty() => {
                help.push("apply again in a minute to have it probed".to_owned());
            }
            _ => {}
        }
        Finding {
            why: Some(error.to_string()),
            help,
            ..self.warning(key, what)
        }
    }

    /// A guard that CloudWatch has nothing of although there is traffic.
    fn silent(
        &self,
        place: usize,
        guard: &Guard,
        seen: &Seen,
        traffic: &Traffic,
        requests: u64,
    ) -> Option<Finding> {
        if seen.all > 0 {
            return None;
        }
        let endpoint = self.stage.endpoint.as_str();
        let (what, where_from, then, help) = match &guard.metric {
            GuardMetric::Metric(_) => return None,
            GuardMetric::SlowerThanMs(_) => (
                "no latencies".to_owned(),
                format!(
                    "ModelLatency in AWS/SageMaker with EndpointName={endpoint} VariantName={}",
                    traffic.champion
                ),
                "the guard would watch nothing",
                "does every request fail before it reaches the model? CloudWatch has its latency \
                 otherwise"
                    .to_owned(),
            ),
            GuardMetric::Custom(custom) => (
                format!("nothing of {}", guard.metric.words()),
                format!(
                    "{} in {} with {}",
                    custom.all,
                    custom.namespace,
                    filled_in(custom, endpoint, &traffic.champion)
                ),
                "a rollout would hold here",
                format!(
                    "publish it with exactly these dimensions, or correct the guard; what is there: \
                     aws cloudwatch list-metrics --namespace {:?} --metric-name {:?}",
                    custom.namespace, custom.all
                ),
            ),
        };
        Some(Finding {
            help: vec![help],
            ..self.warning(
                Some(self.key(&format!(".guard[{place}]"))),
                format!(
                    "CloudWatch has {what} in the last {HOURS} hours ({where_from}), although \
                     {endpoint} had {}: {then}",
                    count(requests, "request", "requests")
                ),
            )
        })
    }

    /// A ceiling that the champion itself does not keep.
    fn over_ceiling(&self, place: usize, guard: &Guard, seen: &Seen) -> Option<Finding> {
        let ceiling = guard.ceiling?;
        let rate = seen.champion.rate()?;
        if rate <= ceiling || seen.champion.bad < FEWEST_BAD {
            return None;
        }
        Some(Finding {
            help: vec![format!(
                "raise it above {}, or leave it out until the champion keeps it",
                percent(rate)
            )],
            ..self.warning(
                Some(self.key(&format!(".guard[{place}].ceiling"))),
                format!(
                    "the champion is over it now: {} are {} ({} of {} {} in the last {HOURS} hours), \
                     the ceiling is {}. A candidate as good as the champion can't be called safe by \
                     it, and would be taken back once it has all the traffic",
                    guard.metric.words(),
                    percent(rate),
                    number(seen.champion.bad),
                    number(seen.champion.requests),
                    guard.metric.of_what(),
                    percent(ceiling)
                ),
            )
        })
    }

    /// Steps that give the canary too little to tell.
    fn thin_steps(&self, requests: u64, traffic: &Traffic) -> Vec<Finding> {
        let strategy = &self.stage.strategy;
        // `min_requests` is counted by the guard that counts most.
        let counted = traffic.guards.iter().flatten().map(|seen| seen.all).max();
        let counted = counted.filter(|all| *all > 0).unwrap_or(requests);
        let mut findings = Vec::new();
        for (step, &share) in strategy.canary.iter().enumerate() {
            let hourly = hourly(requests, share);
            let counted = self::hourly(counted, share);
            let is_thin = hourly < HANDFUL;
            let wanted = real(strategy.min_requests);
            // Less a little, or a rounding error would add a minute.
            let minutes = (wanted / counted * 60.0 - 1e-6).ceil();
            let longest = strategy.longest_minutes();
            let is_short = minutes > f64::from(longest);
            if !is_thin && !is_short {
                continue;
            }
            let mut what = format!(
                "{share} % is {} requests an hour for the canary, by the {} that {} had in the \
                 last {HOURS} hours",
                few(hourly),
                number(requests),
                self.stage.endpoint
            );
            if is_thin {
                what.push_str(", too few to tell anything");
            }
            if is_short {
                let then = match strategy.on_low_traffic {
                    OnLowTraffic::Hold => "the step then holds and people are told",
                    OnLowTraffic::Promote => "the step is then left without having seen enough",
                    OnLowTraffic::RollBack => "the canary is then taken back",
                };
                let _ = write!(
                    what,
                    "; min_requests = {} takes {}, and the step lasts {} at most: {then}",
                    strategy.min_requests,
                    lasts(minutes),
                    lasts(f64::from(longest))
                );
            }
            findings.push(Finding {
                help: more_traffic(requests, is_thin, is_short.then_some(minutes)),
                ..self.warning(Some(self.key(&format!(".strategy.canary[{step}]"))), what)
            });
        }
        findings
    }
}

/// What helps a step that sees too little.
fn more_traffic(requests: u64, is_thin: bool, minutes: Option<f64>) -> Vec<String> {
    let mut ways = Vec::new();
    if is_thin {
        let share = (HANDFUL / hourly(requests, 100) * 100.0).ceil();
        if share < 100.0 {
            ways.push(format!("give the canary {share} % or more"));
        } else {
            ways.push(
                "no share is enough: replay recorded requests against the endpoint during \
                 rollouts, or have a person decide"
                    .to_owned(),
            );
        }
    }
    if let Some(minutes) = minutes {
        if minutes <= MOST_MINUTES {
            ways.push(format!("let the step last longer: max_minutes = {minutes}"));
        }
        ways.push(
            "ask for fewer: min_requests; or say in on_low_traffic what becomes of such a step: \
             \"hold\", \"promote\" or \"roll_back\""
                .to_owned(),
        );
    }
    ways
}

/// What IAM calls an API call that is asked here.
fn action(call: &str) -> String {
    let service = match call {
        "GetMetricData" | "ListMetrics" => "cloudwatch",
        _ => "sagemaker",
    };
    format!("{service}:{call}")
}

/// A custom metric's dimensions as they are asked for.
fn filled_in(custom: &CustomMetric, endpoint: &str, variant: &str) -> String {
    let one = |(name, value): (&String, &String)| {
        let value = value
            .replace("{endpoint}", endpoint)
            .replace("{variant}", variant);
        format!("{name}={value}")
    };
    let all: Vec<String> = custom.dimensions.iter().map(one).collect();
    all.join(" ")
}

/// Requests an hour of a share, percent, of the traffic that was seen.
fn hourly(requests: u64, share: u8) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let hours = HOURS as f64;
    real(requests) / hours * f64::from(share) / 100.0
}

/// A number of requests that is small: `0.4`, `12`.
fn few(requests: f64) -> String {
    let digits = usize::from(requests < 10.0);
    format!("{requests:.digits$}")
}

/// So many minutes, in words: `90 minutes`, `12 hours`, `9 days`.
fn lasts(minutes: f64) -> String {
    match minutes {
        m if m <= 180.0 => format!("{m:.0} minutes"),
        m if m <= 2_880.0 => format!("{:.0} hours", (m / 60.0).ceil()),
        m if m <= 525_600.0 => format!("{:.0} days", (m / 1_440.0).ceil()),
        _ => "more than a year".to_owned(),
    }
}

/// Counts beyond 2^53 lose their last digits, which nothing here shows.
#[allow(clippy::cast_precision_loss)]
fn real(count: u64) -> f64 {
    count as f64
}
