//! CloudWatch's statistics over the values of one period.
//!
//! Percentiles and trimmed counts are computed as CloudWatch does, from a histogram whose buckets
//! grow by a tenth, with interpolation inside a bucket: a trimmed count may be a fraction. The
//! lower bound of `TC(a:b)` is exclusive, the upper inclusive (CloudWatch's statistics page).

/// Each bucket of the histogram is this much wider than the one below.
const GROWTH: f64 = 1.1;

/// A statistic as a query names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Statistic {
    Sum,
    SampleCount,
    Average,
    Minimum,
    Maximum,
    /// 0 to 100.
    Percentile(f64),
    /// Values above the first and up to the second bound.
    TrimmedCount(Option<f64>, Option<f64>),
}

impl Statistic {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Sum" => Self::Sum,
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                if let Some(rank) = text.strip_prefix('p') {
                    let rank: f64 = rank.parse().ok()?;
                    return (0.0..=100.0)
                        .contains(&rank)
                        .then_some(Self::Percentile(rank));
                }
                let bounds = text.strip_prefix("TC(")?.strip_suffix(')')?;
                let (low, high) = bounds.split_once(':')?;
                let (low, high) = (bound(low)?, bound(high)?);
                if low.is_none() && high.is_none() {
                    return None;
                }
                Self::TrimmedCount(low, high)
            }
        })
    }

    /// The statistic of values that are there; `None` for no values.
    pub(crate) fn of(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let sum: f64 = values.iter().sum();
        Some(match self {
            Self::Sum => sum,
            Self::SampleCount => count(values.len()),
            Self::Average => sum / count(values.len()),
            Self::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Percentile(rank) => Histogram::of(values).percentile(rank),
            Self::TrimmedCount(low, high) => {
                let histogram = Histogram::of(values);
                let below = low.map_or(0.0, |low| histogram.up_to(low));
                let until = high.map_or_else(|| count(values.len()), |high| histogram.up_to(high));
                (until - below).max(0.0)
            }
        })
    }
}

/// `""` is no bound; a number is one; a percentage is not supported here.
#[allow(clippy::option_option)]
fn bound(text: &str) -> Option<Option<f64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.parse::<f64>()
        .ok()
        .filter(|bound| bound.is_finite())
        .map(Some)
}

#[allow(clippy::cast_precision_loss)]
fn count(length: usize) -> f64 {
    length as f64
}

/// Counts in buckets, lowest first; each bucket is `low < value <= high` and cut to the values
/// that are in the data at all.
struct Histogram {
    buckets: Vec<Bucket>,
}

struct Bucket {
    low: f64,
    high: f64,
    count: f64,
}

impl Histogram {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (
            sorted.first().copied().unwrap_or_default(),
            sorted.last().copied().unwrap_or_default(),
        );
        let mut buckets: Vec<Bucket> = Vec::new();
        for value in sorted {
            match buckets.last_mut() {
                Some(bucket) if value <= bucket.high => bucket.count += 1.0,
                _ => {
                    let (low, high) = edges(value);
                    buckets.push(Bucket {
                        low: low.max(least),
                        high: high.min(most),
                        count: 1.0,
                    });
                }
            }
        }
        Self { buckets }
    }

    /// How many values are at most `bound`, by interpolation.
    fn up_to(&self, bound: f64) -> f64 {
        self.buckets
            .iter()
            .map(|bucket| {
                if bucket.high <= bound {
                    bucket.count
                } else if bucket.low >= bound {
                    0.0
                } else {
                    bucket.count * (bound - bucket.low) / (bucket.high - bucket.low)
                }
            })
            .sum()
    }

    fn percentile(&self, rank: f64) -> f64 {
        let total: f64 = self.buckets.iter().map(|bucket| bucket.count).sum();
        let wanted = total * rank / 100.0;
        let mut passed = 0.0;
        for bucket in &self.buckets {
            if passed + bucket.count >= wanted {
                let share = ((wanted - passed) / bucket.count).clamp(0.0, 1.0);
                return bucket.low + (bucket.high - bucket.low) * share;
            }
            passed += bucket.count;
        }
        self.buckets.last().map_or(0.0, |bucket| bucket.high)
    }
}

/// The bucket of a value: powers of [`GROWTH`] for positive ones, the value itself otherwise.
fn edges(value: f64) -> (f64, f64) {
    if value <= 0.0 {
        return (value, value);
    }
    let step = (value.ln() / GROWTH.ln()).ceil();
    let (low, high) = (GROWTH.powf(step - 1.0), GROWTH.powf(step));
    // Rounding may put the value a hair outside.
    (low.min(value), high.max(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn plain_statistics_are_exact() {
        let values = [0.0, 1.0, 1.0, 0.0];
        assert_eq!(Statistic::parse("Sum").unwrap().of(&values), Some(2.0));
        assert_eq!(
            Statistic::parse("SampleCount").unwrap().of(&values),
            Some(4.0)
        );
        assert_eq!(Statistic::parse("Average").unwrap().of(&values), Some(0.5));
        assert_eq!(Statistic::parse("Maximum").unwrap().of(&values), Some(1.0));
        assert_eq!(Statistic::parse("Sum").unwrap().of(&[]), None);
    }

    #[test]
    fn a_trimmed_count_is_near_the_truth_and_may_be_a_fraction() {
        let values: Vec<f64> = (1..=1000).map(|value| f64::from(value) * 100.0).collect();
        let slow = Statistic::parse("TC(50000:)").unwrap().of(&values).unwrap();
        assert!((slow - 500.0).abs() < 10.0, "{slow}");
        assert!(slow.fract() != 0.0);
        let all = Statistic::parse("TC(0:)").unwrap().of(&values).unwrap();
        assert!((all - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn the_lower_bound_is_exclusive() {
        let values = [200.0; 10];
        assert_eq!(Statistic::parse("TC(200:)").unwrap().of(&values), Some(0.0));
        assert_eq!(
            Statistic::parse("TC(199:)").unwrap().of(&values),
            Some(10.0)
        );
        assert_eq!(
            Statistic::parse("TC(:200)").unwrap().of(&values),
            Some(10.0)
        );
    }

    #[test]
    fn percentiles_stay_within_the_data() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let p99 = Statistic::parse("p99").unwrap().of(&values).unwrap();
        assert!((p99 - 99.0).abs() < 2.0, "{p99}");
        assert_eq!(Statistic::parse("p100").unwrap().of(&values), Some(100.0));
        assert_eq!(Statistic::parse("p50").unwrap().of(&[7.0]), Some(7.0));
    }

    #[test]
    fn nonsense_is_no_statistic() {
        for text in ["", "p101", "px", "TC(:)", "TC(a:b)", "Median"] {
            assert_eq!(Statistic::parse(text), None, "{text}");
        }
    }
}
