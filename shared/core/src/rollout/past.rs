//! What a candidate that has all the traffic is compared with: the same minutes of the champion's
//! past, since there is no champion beside it any more.
//!
//! Yesterday's same minutes, else last week's, else the hour before the rollout. What is lost is
//! the protection from days that differ, so more is tolerated: as much as the same hours of the
//! last two weeks differed ([`tolerated_against_history`]).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::judge::{floor_minute, metrics};
use super::{Rollout, kept_minutes};
use crate::evidence::{Counts, Minute, pair_with_history, tolerated_against_history};
use crate::facts::{Facts, Known};
use crate::world::{MinuteCounts, Question};

/// How many days' hours tell how much days differ; `CloudWatch` keeps minutes for 15.
const DAYS: i64 = 14;

/// Time for the reduction of the endpoint, beside the policy's times.
const SPARE_MINUTES: u32 = 60;

/// A day's minutes do if at least half of them had traffic.
const ENOUGH: usize = 2;

/// Minutes of the hour before.
const HOUR: usize = 60;

/// Where the past comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The same minutes of the day before.
    Yesterday,
    /// The same minutes a week before.
    LastWeek,
    /// The hour before the rollout, over and over.
    HourBefore,
    /// There is none: only ceilings can be judged.
    Nothing,
}

/// The champion's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Where it comes from.
    pub source: Source,
    /// The candidate's minute that the first of `minutes` is beside. Of a long bake the past is
    /// asked for in pieces.
    pub since: Timestamp,
    /// Counts by guard and minute, at most a third of [`super::kept_minutes`].
    pub minutes: Vec<Vec<Counts>>,
    /// How many times its rate is tolerated, by guard.
    pub tolerated: Vec<f64>,
}

impl Past {
    /// Whether it says what the candidate's minute is to be compared with.
    pub(super) fn covers(&self, minute: Timestamp) -> bool {
        let Some(first) = self.minutes.first().filter(|_| self.days_ago().is_some()) else {
            return true;
        };
        let minutes = i64::try_from(first.len()).unwrap_or(i64::MAX);
        minute.duration_since(self.since).as_mins() < minutes
    }

    fn days_ago(&self) -> Option<i64> {
        match self.source {
            Source::Yesterday => Some(1),
            Source::LastWeek => Some(7),
            Source::HourBefore | Source::Nothing => None,
        }
    }

    /// A guard's counts of the candidate, beside those of the past.
    pub(super) fn beside(&self, guard: usize, at: Timestamp, canary: Counts) -> Minute {
        let past = self.minutes.get(guard).map_or(&[][..], Vec::as_slice);
        let index = at.duration_since(self.since).as_mins();
        match usize::try_from(index) {
            Ok(i) if i < past.len() || self.source == Source::HourBefore => {
                pair_with_history(past, i, canary)
            }
            _ => pair_with_history(&[], 0, canary),
        }
    }
}

/// What has to be asked before the candidate's minutes alone can be judged.
pub(super) fn questions(rollout: &Rollout) -> Vec<Question> {
    // The way back needs no counts, and must not wait for them.
    if !rollout.serves_candidate() {
        return Vec::new();
    }
    let Some(asked) = Asked::of(rollout) else {
        return Vec::new();
    };
    match rollout.past.as_ref().and_then(Past::days_ago) {
        Some(days) => vec![asked.minutes(days)],
        None => vec![asked.minutes(1), asked.minutes(7), asked.hours()],
    }
}

/// Sets the rollout's past, once the candidate has all the traffic and the past is known.
pub(super) fn settle(rollout: &mut Rollout, facts: &Facts) {
    if !rollout.serves_candidate() {
        return;
    }
    if rollout.past.is_some() {
        return go_on(rollout, facts);
    }
    let Some(all_since) = rollout.all_traffic_since() else {
        return;
    };
    let since = floor_minute(all_since);
    let guards = metrics(&rollout.plan).len();
    let policy = rollout.plan.judge.tolerated_ratio;
    let Some(asked) = Asked::of(rollout) else {
        rollout.past = Some(Past {
            source: Source::Nothing,
            since,
            minutes: vec![Vec::new(); guards],
            tolerated: vec![tolerated_against_history(policy, None); guards],
        });
        return;
    };
    let day_ago = facts.minutes(&asked.minutes(1));
    let week_ago = facts.minutes(&asked.minutes(7));
    let hours = facts.minutes(&asked.hours());
    if [day_ago, week_ago, hours].contains(&Known::NotAsked) {
        return;
    }
    // What AWS refuses to tell counts as not there.
    let usable = |known: Known<&[MinuteCounts]>| {
        let minutes = known.is().unwrap_or_default();
        // By any guard: one alone may count something rare.
        let is_busy = |m: &&MinuteCounts| (0..guards).any(|g| m.of(0, g).requests > 0);
        let busy = minutes.iter().filter(is_busy).count();
        (busy * ENOUGH >= minutes.len() && busy > 0).then(|| by_guard(minutes, guards))
    };
    let (source, minutes) = if let Some(minutes) = usable(day_ago) {
        (Source::Yesterday, minutes)
    } else if let Some(minutes) = usable(week_ago) {
        (Source::LastWeek, minutes)
    } else {
        let hour: Vec<Vec<Counts>> = (0..guards)
            .map(|g| {
                let history = rollout.history.get(g).map_or(&[][..], Vec::as_slice);
                history[history.len().saturating_sub(HOUR)..].to_vec()
            })
            .collect();
        if hour.iter().flatten().any(|c| c.requests > 0) {
            (Source::HourBefore, hour)
        } else {
            (Source::Nothing, vec![Vec::new(); guards])
        }
    };
    let hours = hours.is().unwrap_or_default();
    let tolerated = (0..guards)
        .map(|g| tolerated_against_history(policy, Some(&asked.days(hours, g))))
        .collect();
    rollout.past = Some(Past {
        source,
        since,
        minutes,
        tolerated,
    });
}

/// Takes the next piece of the same day's minutes, once the candidate has come so far.
fn go_on(rollout: &mut Rollout, facts: &Facts) {
    let Some(asked) = Asked::of(rollout) else {
        return;
    };
    let Some(days) = rollout.past.as_ref().and_then(Past::days_ago) else {
        return;
    };
    let guards = metrics(&rollout.plan).len();
    let (since, length) = (asked.since, usize::try_from(asked.minutes).unwrap_or(0));
    let minutes = match facts.minutes(&asked.minutes(days)) {
        Known::NotAsked => return,
        // What AWS refuses to tell counts as not there.
        Known::Missing => vec![vec![Counts::default(); length]; guards],
        Known::Is(minutes) => by_guard(minutes, guards),
    };
    if let Some(past) = &mut rollout.past {
        past.since = since;
        past.minutes = minutes;
    }
}

/// Which past of which variant.
struct Asked<'a> {
    rollout: &'a Rollout,
    variant: &'a str,
    since: Timestamp,
    minutes: i64,
}

impl<'a> Asked<'a> {
    /// None before it is time, while what is known will do, and where nothing served before.
    fn of(rollout: &'a Rollout) -> Option<Self> {
        let all_since = floor_minute(rollout.all_traffic_since()?);
        let next = rollout.judged_until?.max(all_since);
        if rollout.past.as_ref().is_some_and(|past| past.covers(next)) {
            return None;
        }
        let incumbent = rollout.incumbent.as_ref()?;
        let plan = &rollout.plan;
        let minutes = plan.bake_minutes + plan.watch_minutes + SPARE_MINUTES;
        let most = kept_minutes(metrics(plan).len()) / 3;
        Some(Self {
            rollout,
            variant: &incumbent.variant,
            since: if rollout.past.is_some() {
                next
            } else {
                all_since
            },
            minutes: i64::from(minutes).min(i64::try_from(most).unwrap_or(i64::MAX)),
        })
    }

    fn minutes(&self, days_ago: i64) -> Question {
        let from = self.since - SignedDuration::from_hours(24 * days_ago);
        Question::Minutes {
            endpoint: self.rollout.endpoint.clone(),
            variants: vec![self.variant.to_owned()],
            guards: metrics(&self.rollout.plan),
            from,
            to: from + SignedDuration::from_mins(self.minutes),
        }
    }

    /// The first hour of each day's window, and how many hours it has.
    fn window(&self) -> (Timestamp, i64) {
        let second = self.since.as_second();
        let first = second - second.rem_euclid(3_600);
        let end = second + self.minutes * 60;
        let hours = (end - first + 3_599) / 3_600;
        (
            Timestamp::from_second(first).unwrap_or(self.since),
            hours.clamp(1, 24),
        )
    }

    fn hours(&self) -> Question {
        let (first, hours) = self.window();
        Question::Hours {
            endpoint: self.rollout.endpoint.clone(),
            variants: vec![self.variant.to_owned()],
            guards: metrics(&self.rollout.plan),
            from: first - SignedDuration::from_hours(24 * DAYS),
            to: first - SignedDuration::from_hours(24 - hours),
        }
    }

    /// A guard's totals of the same hours, day by day.
    fn days(&self, hours: &[MinuteCounts], guard: usize) -> Vec<Counts> {
        let (first, length) = self.window();
        (1..=DAYS)
            .map(|day| {
                let from = first - SignedDuration::from_hours(24 * day);
                let to = from + SignedDuration::from_hours(length);
                let of_day = hours.iter().filter(|h| h.at >= from && h.at < to);
                of_day.fold(Counts::default(), |sum, hour| sum.plus(hour.of(0, guard)))
            })
            .collect()
    }
}

fn by_guard(minutes: &[MinuteCounts], guards: usize) -> Vec<Vec<Counts>> {
    (0..guards)
        .map(|g| minutes.iter().map(|m| m.of(0, g)).collect())
        .collect()
}
