//! What the judge has to reach, and the lines that miss it.

use crate::cost::Cost;
use crate::scenario::Kind;
use crate::trial::Row;

/// At most this share of healthy rollouts may be rolled back.
const FALSE_ROLLBACKS: f64 = 0.01;

/// The upper end of that share's 95 % interval.
const FALSE_ROLLBACKS_HIGH: f64 = 0.013;

/// The median of the minutes until a rollback, in multiples of the bound.
const TIMES_BOUND: f64 = 1.5;

/// Where the bound is shorter than this, minutes are too coarse to tell.
const SHORTEST_BOUND: f64 = 5.0;

/// For a minute of a guard.
const MICROSECONDS: f64 = 5.0;

/// For the state of a guard.
const BYTES: usize = 2_048;

/// "Flat": late in a rollout a minute takes at most so many times what it takes early.
const FLAT: f64 = 1.5;

/// What is missed, a sentence each; nothing if all bars hold.
pub(crate) fn missed(rows: &[Row], cost: &Cost) -> Vec<String> {
    let mut missed: Vec<String> = rows.iter().filter_map(missed_by).collect();
    let times = [
        ("10th", cost.early_microseconds),
        ("10,000th", cost.late_microseconds),
    ];
    for (which, took) in times {
        if took > MICROSECONDS {
            missed.push(format!(
                "judging the {which} minute took {took:.1} microseconds a guard, more than {MICROSECONDS}"
            ));
        }
    }
    if cost.late_microseconds > FLAT * cost.early_microseconds {
        missed.push(format!(
            "judging got slower from {:.1} to {:.1} microseconds over 10,000 minutes",
            cost.early_microseconds, cost.late_microseconds
        ));
    }
    let bytes = cost.early_bytes.max(cost.late_bytes);
    if bytes > BYTES {
        missed.push(format!(
            "the state of a guard is {bytes} bytes, more than {BYTES}"
        ));
    }
    missed
}

/// Whether the bar on detection applies to a row: bound long enough for minutes to tell, short enough
/// for one and a half of it to fit in the rollout, and known (bursty rows have a bound of a test that
/// knows more than can be known).
pub(crate) fn is_timed(row: &Row) -> bool {
    let fits = row.bound.is_some_and(|bound| {
        bound >= SHORTEST_BOUND && TIMES_BOUND * bound <= f64::from(row.minutes)
    });
    row.kind == Kind::Regression && !row.is_bursty && fits
}

fn missed_by(row: &Row) -> Option<String> {
    let ours = row.ours()?;
    let share = ours.rolled_back;
    let is_healthy = matches!(row.kind, Kind::Healthy | Kind::HealthyAlone);
    if is_healthy && (share.of_runs > FALSE_ROLLBACKS || share.high > FALSE_ROLLBACKS_HIGH) {
        return Some(format!(
            "{}: {:.2} % of {} healthy rollouts rolled back (95 % interval to {:.2} %); the bar is 1 % and 1.3 %",
            row.name,
            100.0 * share.of_runs,
            row.runs,
            100.0 * share.high
        ));
    }
    let bound = row.bound.filter(|_| is_timed(row))?;
    match ours.median.map(f64::from) {
        Some(median) if median <= TIMES_BOUND * bound => None,
        Some(median) => Some(format!(
            "{}: rolled back in {median} minutes (median), {:.2} times the bound of {bound:.1}; the bar is {TIMES_BOUND}",
            row.name,
            median / bound
        )),
        None => Some(format!(
            "{}: less than half rolled back in {} minutes; the bound is {bound:.1}",
            row.name, row.minutes
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::method::Method;
    use crate::statistics::Share;
    use crate::trial::Outcome;

    const CHEAP: Cost = Cost {
        early_microseconds: 3.0,
        late_microseconds: 3.1,
        early_bytes: 1_500,
        late_bytes: 1_700,
    };

    fn row(kind: Kind, hits: usize, bound: Option<f64>, median: Option<u32>) -> Row {
        Row {
            name: "a",
            words: "a",
            kind,
            is_headline: false,
            is_bursty: false,
            minutes: 60,
            runs: 10_000,
            bound,
            bound_of: "",
            expected: None,
            outcomes: vec![Outcome {
                method: Method::Tidegate,
                rolled_back: Share::of(hits, 10_000),
                median,
                p95: None,
                bad_answers: 0.0,
                excess: 0.0,
            }],
        }
    }

    #[test]
    fn healthy_rollouts_may_be_rolled_back_in_one_of_a_hundred_at_most() {
        assert!(missed(&[row(Kind::Healthy, 99, None, None)], &CHEAP).is_empty());
        assert_eq!(
            missed(&[row(Kind::Healthy, 101, None, None)], &CHEAP).len(),
            1
        );
        assert_eq!(
            missed(&[row(Kind::HealthyAlone, 900, None, None)], &CHEAP).len(),
            1
        );
    }

    #[test]
    fn half_of_the_regressions_are_found_in_one_and_a_half_bounds() {
        let of = |bound, median| {
            missed(
                &[row(Kind::Regression, 10_000, Some(bound), median)],
                &CHEAP,
            )
        };
        assert!(of(10.0, Some(15)).is_empty());
        assert_eq!(of(10.0, Some(16)).len(), 1);
        assert_eq!(of(10.0, None).len(), 1);
        assert_eq!(of(9.1, Some(14)).len(), 1, "the bound is not rounded");
        assert!(of(4.9, Some(16)).is_empty(), "minutes are too coarse");
        assert!(of(41.0, None).is_empty(), "the rollout is too short");
    }

    #[test]
    fn time_and_state_are_limited_and_flat() {
        let costs = [
            Cost {
                late_microseconds: 5.2,
                early_microseconds: 4.9,
                ..CHEAP
            },
            Cost {
                late_microseconds: 4.6,
                ..CHEAP
            },
            Cost {
                late_bytes: 2_049,
                ..CHEAP
            },
        ];
        for cost in costs {
            assert_eq!(missed(&[], &cost).len(), 1, "{cost:?}");
        }
    }
}
