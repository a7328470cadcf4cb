//! What the judge would have said of a canary of the past, for people, programs and pictures.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tidegate_core::evidence::{Counts, Minute};
use tidegate_core::name::EndpointName;

use super::by::By;
use super::past::Past;
use super::replay::{Replay, replay};
use super::variants::Pair;
use super::{Backtest, short};
use crate::render::{Paint, Screen, clean, count, number, span, wrap};
use crate::rollout::chart::{Chart, Mark, Point};
use crate::rollout::facts::GuardStatus;
use crate::rollout::terminal::Glyphs;

/// The share of traffic is drawn in this many parts at most.
const SHARE_PARTS: usize = 240;

/// What the judge would have said.
pub(super) struct Told {
    endpoint: EndpointName,
    by: By,
    past: Past,
    replay: Replay,
    guards: Vec<GuardStatus>,
}

/// What `canary backtest --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Json<'a> {
    endpoint: &'a EndpointName,
    canary: &'a str,
    baseline: &'a str,
    /// Where guards and statistics come from, for people.
    judged_by: &'a str,
    /// The canary's first minute with requests.
    first_request: Timestamp,
    to: Timestamp,
    history_minutes: usize,
    minutes: usize,
    /// Minutes in which only the canary had requests.
    minutes_alone: usize,
    verdict: &'static str,
    told: String,
    taken_back: Option<TakenBack<'a>>,
    safe: Option<SafeAt>,
    guards: &'a [GuardStatus],
    judged: Vec<Judged>,
}

#[derive(Debug, Serialize)]
struct TakenBack<'a> {
    /// The minute whose evidence sufficed.
    at: Timestamp,
    /// Minutes since the canary's first request, that minute included.
    after_minutes: i64,
    guard: &'a str,
    /// What the canary answered afterwards.
    requests_after: u64,
    bad_after: u64,
}

#[derive(Debug, Serialize)]
struct SafeAt {
    at: Timestamp,
    after_minutes: i64,
}

#[derive(Debug, Serialize)]
struct Judged {
    at: Timestamp,
    /// By guard: the baseline's requests and bad ones, then the canary's.
    guards: Vec<[u64; 4]>,
    harm: f64,
}

impl Told {
    pub(super) fn of(args: &Backtest, by: By, past: Past) -> Self {
        let replay = replay(&by.rule, &by.guards, &past.history, &past.minutes);
        let who = &past.pair.canary;
        let of = |report| GuardStatus::of(report, who, by.rule.beta);
        Self {
            endpoint: args.endpoint.clone(),
            guards: replay.reports.iter().map(of).collect(),
            by,
            past,
            replay,
        }
    }

    /// Minutes from the canary's first request to the end of the minute `at`.
    fn after(&self, at: Timestamp) -> i64 {
        at.duration_since(self.past.first).as_mins() + 1
    }

    /// The verdict in a sentence or two.
    fn sentence(&self) -> String {
        let (who, endpoint) = (&self.past.pair.canary, &self.endpoint);
        let after = |at| {
            let minutes = u64::try_from(self.after(at)).unwrap_or(0);
            format!(
                "{} after its first request",
                count(minutes, "minute", "minutes")
            )
        };
        if let Some((guard, at)) = self.replay.crossed {
            let facts = self.guards.get(guard).map_or("", |g| g.sentence.as_str());
            let mut text = format!(
                "{who} would have been taken back from {endpoint} by the minute of {} UTC, {}. Why: {facts}.",
                short(at),
                after(at),
            );
            if self.replay.after.requests > 0 {
                let Counts { requests, bad } = self.replay.after;
                let _ = write!(
                    text,
                    " Afterwards it gave {} more of them in {} requests.",
                    number(bad),
                    number(requests)
                );
            }
            if let Some(safe) = self.replay.safe {
                let _ = write!(
                    text,
                    " Before that, at {} UTC, all guards had said safe.",
                    short(safe)
                );
            }
            return text;
        }
        match self.replay.safe {
            Some(at) => format!(
                "{who} would have been called safe on {endpoint} by the minute of {} UTC, {}.",
                short(at),
                after(at)
            ),
            None => format!(
                "{who} would neither have been taken back from {endpoint} nor called safe by {} UTC: too few bad answers or requests tell it from its champion.",
                short(self.past.to)
            ),
        }
    }

    pub(super) fn json(&self) -> Json<'_> {
        let verdict = match (self.replay.crossed, self.replay.safe) {
            (Some(_), _) => "roll_back",
            (None, Some(_)) => "safe",
            (None, None) => "continue",
        };
        let taken_back = self.replay.crossed.map(|(guard, at)| TakenBack {
            at,
            after_minutes: self.after(at),
            guard: self.guards.get(guard).map_or("", |g| g.guard.as_str()),
            requests_after: self.replay.after.requests,
            bad_after: self.replay.after.bad,
        });
        let judged = self.replay.judged.iter().map(|minute| Judged {
            at: minute.at,
            guards: minute.minutes.iter().map(|m| (*m).into()).collect(),
            harm: minute.harm,
        });
        Json {
            endpoint: &self.endpoint,
            canary: &self.past.pair.canary,
            baseline: &self.past.pair.baseline,
            judged_by: &self.by.source,
            first_request: self.past.first,
            to: self.past.to,
            history_minutes: self.history_minutes(),
            minutes: self.replay.judged.len(),
            minutes_alone: self.replay.alone,
            verdict,
            told: self.sentence(),
            taken_back,
            safe: self.replay.safe.map(|at| SafeAt {
                at,
                after_minutes: self.after(at),
            }),
            guards: &self.guards,
            judged: judged.collect(),
        }
    }

    /// Minutes of the baseline alone that had requests.
    fn history_minutes(&self) -> usize {
        let busy = |minutes: &Vec<Counts>| minutes.iter().filter(|c| c.requests > 0).count();
        self.past.history.iter().map(busy).max().unwrap_or(0)
    }

    /// The guard that is drawn: the one that objected, else the one that came nearest to it.
    fn shown(&self) -> usize {
        let nearest = |(a, x): &(usize, &GuardStatus), (b, y): &(usize, &GuardStatus)| {
            x.harm.total_cmp(&y.harm).then(b.cmp(a))
        };
        match self.replay.crossed {
            Some((guard, _)) => guard,
            None => self
                .guards
                .iter()
                .enumerate()
                .max_by(nearest)
                .map_or(0, |(g, _)| g),
        }
    }

    pub(super) fn chart(&self) -> Chart {
        let shown = self.shown();
        let needed = self.guards.first().map_or(f64::INFINITY, |g| g.needed);
        let points: Vec<Point> = self
            .replay
            .judged
            .iter()
            .map(|minute| {
                let counts = minute.minutes.get(shown).copied().unwrap_or_default();
                Point {
                    at: minute.at,
                    canary: counts.canary.clamped(),
                    baseline: counts.baseline.clamped(),
                    harm: minute.harm,
                    needed,
                }
            })
            .collect();
        let mark = |at, label: &str, is_bad| Mark {
            at,
            label: label.to_owned(),
            is_bad,
        };
        let crossed = self
            .replay
            .crossed
            .map(|(_, at)| mark(at, "would have been taken back", true));
        let safe = self
            .replay
            .safe
            .map(|at| mark(at, "would have been called safe", false));
        let mut marks: Vec<Mark> = crossed.into_iter().chain(safe).collect();
        marks.sort_by_key(|mark| mark.at);
        let who = &self.past.pair.canary;
        Chart {
            title: format!("{who} on {}, judged afterwards", self.endpoint),
            who: who.clone(),
            beside: self.past.pair.baseline.clone(),
            guard: self
                .guards
                .get(shown)
                .map_or_else(String::new, |g| g.words.clone()),
            dispersion: self.guards.get(shown).map_or(1.0, |g| g.dispersion),
            from: self.past.first,
            to: self
                .past
                .to
                .max(self.past.first + SignedDuration::from_mins(1)),
            bands: Vec::new(),
            shares: self.shares(),
            points,
            marks,
        }
    }

    /// The canary's share of all requests over time, percent.
    fn shares(&self) -> Vec<(Timestamp, f64)> {
        let judged = &self.replay.judged;
        let length = judged.len().div_ceil(SHARE_PARTS).max(1);
        judged
            .chunks(length)
            .filter_map(|part| {
                let sum = part.iter().filter_map(|m| m.minutes.first()).fold(
                    Minute::default(),
                    |sum, m| Minute {
                        baseline: sum.baseline.plus(m.baseline),
                        canary: sum.canary.plus(m.canary),
                    },
                );
                let all = sum.baseline.requests.saturating_add(sum.canary.requests);
                let share = Counts::new(all, sum.canary.requests).rate()?;
                Some((part.first()?.at, 100.0 * share))
            })
            .collect()
    }

    pub(super) fn text(&self, chart: &Chart, glyphs: Glyphs, screen: &Screen) -> String {
        let mut text = String::new();
        for line in wrap(&clean(&self.sentence()), screen.width) {
            let _ = writeln!(text, "{}", screen.paint(Paint::Bold, &line));
        }
        text.push('\n');
        let mut field = |label: &str, value: &str| {
            for (i, part) in wrap(&clean(value), screen.width.saturating_sub(12))
                .iter()
                .enumerate()
            {
                let label = if i == 0 { label } else { "" };
                let _ = writeln!(text, "  {label:<9} {part}");
            }
        };
        let Pair { canary, baseline } = &self.past.pair;
        field("endpoint", self.endpoint.as_str());
        field(
            "canary",
            &format!(
                "{canary}, first request in the minute of {} UTC",
                short(self.past.first)
            ),
        );
        field(
            "champion",
            &format!(
                "{baseline}, {} before that had requests",
                count(self.history_minutes() as u64, "minute", "minutes")
            ),
        );
        field("by", &self.by.source);
        let seconds = self.past.to.duration_since(self.past.first).as_secs();
        field(
            "judged",
            &format!(
                "{} in {}",
                count(self.replay.judged.len() as u64, "minute", "minutes"),
                span(seconds)
            ),
        );
        if self.replay.alone > 0 {
            field(
                "not",
                &format!(
                    "{} in which {canary} alone had requests: nothing was there to compare with",
                    count(self.replay.alone as u64, "minute", "minutes")
                ),
            );
        }
        text.push('\n');
        text.push_str(&chart.terminal(screen, glyphs));
        let when = if self.replay.crossed.is_some() {
            ", when it would have been taken back"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "\n{}",
            screen.paint(Paint::Bold, &format!("Guards{when}"))
        );
        for guard in &self.guards {
            text.push_str(&guard.text(canary, baseline, screen));
        }
        let note = format!(
            "A rollout knows of a minute {} later, when it has settled, and would have shifted the traffic by its own steps. Rates and ratios stand with their 95 % intervals.",
            count(u64::from(self.by.settle_minutes), "minute", "minutes")
        );
        for line in wrap(&note, screen.width.saturating_sub(2)) {
            let _ = writeln!(text, "  {}", screen.paint(Paint::Dim, &line));
        }
        text
    }
}
