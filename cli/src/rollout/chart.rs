//! What a chart of a rollout shows, apart from how it is drawn: shares of traffic, the rates of one
//! guard, and the evidence against the line that takes the candidate back, on one axis of time.
//!
//! Terminal and picture draw the same values. A rollout of many days has more minutes than either
//! has room for, so minutes are pooled: counts are added up, of the evidence the last is shown.

use jiff::{SignedDuration, Timestamp};
use tidegate_core::evidence::{Counts, pair_with_history};
use tidegate_core::rollout::{Against, GuardReport, JudgedMinute, Past, Rollout, Source};

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// What it is a chart of.
    pub(crate) title: String,
    /// The candidate, for people.
    pub(crate) who: String,
    /// What it is compared with, for people.
    pub(crate) beside: String,
    /// The guard whose rates are shown, in words.
    pub(crate) guard: String,
    /// Its dispersion, which intervals of rates are wider by.
    pub(crate) dispersion: f64,
    /// The start of the axis of time.
    pub(crate) from: Timestamp,
    /// Its end, after `from`.
    pub(crate) to: Timestamp,
    /// The phases, in order.
    pub(crate) bands: Vec<Band>,
    /// The candidate's share of traffic, percent, from each time on.
    pub(crate) shares: Vec<(Timestamp, f64)>,
    /// The judged minutes, in order.
    pub(crate) points: Vec<Point>,
    /// What happened when, in order.
    pub(crate) marks: Vec<Mark>,
}

/// A phase.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Band {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) label: String,
}

/// One judged minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Its start.
    pub(crate) at: Timestamp,
    /// The candidate's counts.
    pub(crate) canary: Counts,
    /// The counts that they are compared with.
    pub(crate) baseline: Counts,
    /// Evidence of harm after it, a natural logarithm.
    pub(crate) harm: f64,
    /// The evidence that takes the candidate back.
    pub(crate) needed: f64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    pub(crate) at: Timestamp,
    pub(crate) label: String,
    pub(crate) is_bad: bool,
}

/// Minutes that are drawn as one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) canary: Counts,
    pub(crate) baseline: Counts,
    /// The last evidence and what is needed; none without a judged minute.
    pub(crate) evidence: Option<(f64, f64)>,
}

impl Chart {
    /// The chart of a rollout until `end`; `who` is the candidate. None before any share of traffic.
    pub(crate) fn of(rollout: &Rollout, who: &str, end: Timestamp) -> Option<Self> {
        let first = rollout.weights.first()?.0;
        let reports = rollout.guard_reports();
        let guard = shown(rollout);
        let needed = |against: Against| {
            let of = reports.iter().find(|r| r.against == against);
            of.or(reports.first()).map_or(f64::INFINITY, |r| r.needed)
        };
        let (live, alone) = (needed(Against::Champion), needed(Against::History));
        let alone_since = rollout.all_traffic_since().map(whole_minute);
        let points: Vec<Point> = rollout
            .minutes
            .iter()
            .map(|minute| {
                let is_alone = alone_since.is_some_and(|since| minute.at >= since);
                point(
                    rollout,
                    minute,
                    guard,
                    is_alone,
                    if is_alone { alone } else { live },
                )
            })
            .collect();
        // Minutes older than those that are kept are not drawn.
        let kept = points.first().map_or(first, |p| p.at);
        let is_cut = kept > first + SignedDuration::from_mins(1);
        let from = if is_cut {
            kept
        } else {
            rollout.started.min(first)
        };
        let last = points.last().map(|p| p.at + SignedDuration::from_mins(1));
        let to = [Some(end), last, rollout.weights.last().map(|w| w.0)]
            .into_iter()
            .flatten()
            .max()
            .map_or(end, |to| to.max(from + SignedDuration::from_mins(1)));
        let mut marks = Vec::new();
        if let Some(crossed) = rollout.crossed {
            marks.push(Mark {
                at: crossed.at,
                label: "the evidence sufficed".to_owned(),
                is_bad: true,
            });
        }
        Some(Self {
            title: format!("{who} on {}", rollout.endpoint),
            who: who.to_owned(),
            beside: beside(rollout),
            guard: reports
                .get(guard)
                .map_or_else(String::new, |report| report.guard.clone()),
            dispersion: reports.get(guard).map_or(1.0, |r| r.report.dispersion),
            from,
            to,
            bands: bands(rollout, from, to),
            shares: rollout
                .weights
                .iter()
                .map(|&(at, percent)| (at, f64::from(percent)))
                .collect(),
            points,
            marks,
        })
    }

    /// The minutes in `count` parts of equal length.
    pub(crate) fn buckets(&self, count: usize) -> Vec<Bucket> {
        let mut next = 0;
        (0..count)
            .map(|i| {
                let (from, to) = (self.second(i, count), self.second(i + 1, count));
                let mut bucket = Bucket::default();
                let middle = |p: &Point| real(p.at.as_second()) + 30.0;
                while let Some(point) = self.points.get(next).filter(|p| middle(p) < to) {
                    if middle(point) >= from {
                        bucket.take(point);
                    }
                    next += 1;
                }
                if bucket.evidence.is_none() {
                    // A part is shorter than a minute, and shows the minute that it is a part of.
                    let at = f64::midpoint(from, to);
                    let holds = |p: &&Point| {
                        let start = real(p.at.as_second());
                        start <= at && at < start + 60.0
                    };
                    let near = next.saturating_sub(1)..(next + 1).min(self.points.len());
                    if let Some(point) = self.points[near].iter().find(holds) {
                        bucket.take(point);
                    }
                }
                bucket
            })
            .collect()
    }

    /// The share of traffic at the middle of each of `count` parts.
    pub(crate) fn shares_in(&self, count: usize) -> Vec<Option<f64>> {
        (0..count)
            .map(|i| {
                let at = f64::midpoint(self.second(i, count), self.second(i + 1, count));
                let so_far = self.shares.iter().rev();
                let found = so_far.map(|(since, share)| (real(since.as_second()), *share));
                found
                    .into_iter()
                    .find(|(since, _)| *since <= at)
                    .map(|(_, share)| share)
            })
            .collect()
    }

    /// The start of part `i` of `count`, seconds.
    fn second(&self, i: usize, count: usize) -> f64 {
        let length = real(self.to.as_second() - self.from.as_second());
        #[allow(clippy::cast_precision_loss)]
        let share = i as f64 / count.max(1) as f64;
        real(self.from.as_second()) + length * share
    }

    /// Where a time is on the axis, 0 to 1.
    pub(crate) fn place(&self, at: Timestamp) -> f64 {
        let length = real(self.to.as_second() - self.from.as_second()).max(1.0);
        (real(at.as_second() - self.from.as_second()) / length).clamp(0.0, 1.0)
    }

    /// Times for the axis: whole ones, at most `most` of them, 2 or more.
    pub(crate) fn ticks(&self, most: usize) -> Vec<Timestamp> {
        const STEPS: [i64; 14] = [
            1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080,
        ];
        let length = self.to.as_second() - self.from.as_second();
        let most = i64::try_from(most.max(2)).unwrap_or(2);
        let step = STEPS
            .into_iter()
            .map(|minutes| minutes * 60)
            .find(|step| length / step < most)
            .unwrap_or(length.max(1));
        let first = (self.from.as_second() + step - 1).div_euclid(step) * step;
        (0..most)
            .map(|i| first + i * step)
            .filter(|second| *second <= self.to.as_second())
            .filter_map(|second| Timestamp::from_second(second).ok())
            .collect()
    }

    /// A time on the axis: with its day if the axis has several.
    pub(crate) fn tick_label(&self, at: Timestamp) -> String {
        let days = self.to.as_second() - self.from.as_second() > 86_400;
        at.strftime(if days { "%m-%d %H:%M" } else { "%H:%M" })
            .to_string()
    }

    /// The days and hours that it shows, for people: `2026-11-24 21:06 to 21:40 UTC`.
    pub(crate) fn times(&self) -> String {
        let is_same_day =
            self.from.strftime("%F").to_string() == self.to.strftime("%F").to_string();
        let to = if is_same_day { "%H:%M" } else { "%F %H:%M" };
        format!(
            "{} to {} UTC",
            self.from.strftime("%F %H:%M"),
            self.to.strftime(to)
        )
    }
}

impl Bucket {
    fn take(&mut self, point: &Point) {
        self.canary = self.canary.plus(point.canary);
        self.baseline = self.baseline.plus(point.baseline);
        self.evidence = Some((point.harm, point.needed));
    }
}

/// The guard whose rates are shown, by its place: the one that objects most.
pub(crate) fn shown(rollout: &Rollout) -> usize {
    let guards = rollout.plan.guards_or_default();
    let of = |report: GuardReport| guards.iter().position(|g| g.metric.key() == report.key);
    match rollout.crossed {
        Some(crossed) => crossed.guard,
        None => rollout.strongest().and_then(of).unwrap_or(0),
    }
}

/// What the candidate is compared with at a minute, as far as it is known.
pub(crate) fn compared(
    past: Option<&Past>,
    minute: &JudgedMinute,
    guard: usize,
    is_alone: bool,
) -> (Counts, Counts) {
    let counts = minute.guards.get(guard).copied().unwrap_or_default();
    if !is_alone {
        return (counts.canary, counts.baseline);
    }
    let past_minutes = past
        .and_then(|p| p.minutes.get(guard))
        .map_or(&[][..], Vec::as_slice);
    let index =
        past.and_then(|p| usize::try_from(minute.at.duration_since(p.since).as_mins()).ok());
    let is_hour = past.is_some_and(|p| p.source == Source::HourBefore);
    let beside = index
        .filter(|i| *i < past_minutes.len() || is_hour)
        .map_or_else(Counts::default, |i| {
            pair_with_history(past_minutes, i, counts.canary).baseline
        });
    (counts.canary, beside)
}

fn point(
    rollout: &Rollout,
    minute: &JudgedMinute,
    guard: usize,
    is_alone: bool,
    needed: f64,
) -> Point {
    let (canary, baseline) = compared(rollout.past.as_ref(), minute, guard, is_alone);
    Point {
        at: minute.at,
        canary: canary.clamped(),
        baseline: baseline.clamped(),
        harm: if minute.harm.is_nan() {
            0.0
        } else {
            minute.harm
        },
        needed,
    }
}

/// What the rates are compared with, for people.
fn beside(rollout: &Rollout) -> String {
    let champion = rollout.incumbent.as_ref().and_then(|i| i.version);
    let champion = champion.map_or_else(|| "champion".to_owned(), |v| format!("champion {v}"));
    let past = match rollout.past.as_ref().map(|p| p.source) {
        Some(Source::Yesterday) => ", then its yesterday",
        Some(Source::LastWeek) => ", then its last week",
        Some(Source::HourBefore) => ", then its hour before",
        Some(Source::Nothing) | None => "",
    };
    champion + past
}

/// The phases, as far as the axis goes.
fn bands(rollout: &Rollout, from: Timestamp, to: Timestamp) -> Vec<Band> {
    let mut starts: Vec<(Timestamp, String)> = vec![(rollout.started, "preparing".to_owned())];
    starts.extend(
        rollout
            .weights
            .iter()
            .map(|(at, w)| (*at, format!("{w} %"))),
    );
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([to]);
    let ends: Vec<Timestamp> = ends.collect();
    starts
        .into_iter()
        .zip(ends)
        .map(|((start, label), end)| Band {
            from: start.max(from),
            to: end.min(to),
            label,
        })
        .filter(|band| band.from < band.to)
        .collect()
}

/// The start of a time's minute.
pub(crate) fn whole_minute(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(at)
}

/// Seconds since 1970 are far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn real(seconds: i64) -> f64 {
    seconds as f64
}
