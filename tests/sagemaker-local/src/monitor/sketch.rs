//! The distribution of a column in few values, and the distance of two of them.
//!
//! A KLL sketch is levels of values, those of level h standing for 2^h values each. The distances
//! are Deequ's, which the analyzer is built on: the greatest difference of the cumulative
//! distributions, for few samples less the two-sample Kolmogorov-Smirnov test's allowance; for
//! categories the greatest difference of their shares ("Schema for Constraints").

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::json::list;

/// Deequ's size of a level, and the shrinking factor that it tells.
const SIZE: usize = 2048;
const SHRINKING: f64 = 0.64;
/// "By default, we materialize the distribution in 10 buckets."
const BUCKETS: usize = 10;
/// A bucket of a baseline without a sketch is taken as this many values, evenly spread.
const SPREAD: u32 = 64;
/// Deequ's factor in `linf - 1.8 * sqrt((n + m) / (n * m))`.
const ALLOWANCE: f64 = 1.8;

/// Values with their weights, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sketch(Vec<(f64, f64)>);

impl Sketch {
    /// Of finite numbers, every one by itself.
    pub(crate) fn of(numbers: &[f64]) -> Self {
        Self::sorted(numbers.iter().map(|number| (*number, 1.0)).collect())
    }

    fn sorted(mut weighted: Vec<(f64, f64)>) -> Self {
        weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(weighted)
    }

    /// How many values it stands for.
    pub(crate) fn count(&self) -> f64 {
        self.0.iter().map(|(_, weight)| weight).sum()
    }

    /// The `kll` of statistics.json: ten buckets of one width, and the sketch.
    pub(crate) fn json(&self) -> Value {
        json!({
            "buckets": self.buckets(),
            "sketch": {"parameters": {"c": SHRINKING, "k": SIZE}, "data": self.levels()},
        })
    }

    /// From a `kll` of statistics.json; a baseline of one's own may have no sketch, only buckets.
    pub(crate) fn read(kll: &Value) -> Option<Self> {
        let levels = kll.get("sketch").map(|sketch| list(sketch, "data"));
        let mut weighted = Vec::new();
        let mut weight = 1.0;
        for level in levels.into_iter().flatten() {
            let values = level.as_array().into_iter().flatten();
            weighted.extend(
                values
                    .filter_map(Value::as_f64)
                    .map(|value| (value, weight)),
            );
            weight *= 2.0;
        }
        if weighted.is_empty() {
            for bucket in list(kll, "buckets") {
                let number = |member: &str| bucket.get(member).and_then(Value::as_f64);
                let (low, high) = (number("lower_bound")?, number("upper_bound")?);
                let share = number("count")? / f64::from(SPREAD);
                weighted.extend((0..SPREAD).map(|step| {
                    let place = (f64::from(step) + 0.5) / f64::from(SPREAD);
                    (low + (high - low) * place, share)
                }));
            }
        }
        (!weighted.is_empty()).then(|| Self::sorted(weighted))
    }

    fn buckets(&self) -> Vec<Value> {
        let (Some((least, _)), Some((most, _))) = (self.0.first(), self.0.last()) else {
            return Vec::new();
        };
        let count = u32::try_from(BUCKETS).unwrap_or(1);
        let width = (most - least) / f64::from(count);
        let mut buckets = vec![0.0; BUCKETS];
        for (value, weight) in &self.0 {
            let place = if width > 0.0 {
                (value - least) / width
            } else {
                0.0
            };
            buckets[whole(place).min(BUCKETS - 1)] += weight;
        }
        (0..count)
            .zip(buckets)
            .map(|(index, count)| {
                let low = least + width * f64::from(index);
                json!({"lower_bound": low, "upper_bound": low + width, "count": count})
            })
            .collect()
    }

    /// Levels that together weigh what the values do: of each full group of 2^h neighbours the one
    /// in the middle is kept, what is left over goes to the levels below.
    fn levels(&self) -> Vec<Vec<f64>> {
        let values: Vec<f64> = self.0.iter().map(|(value, _)| *value).collect();
        let mut height = 0;
        while values.len() >> height > SIZE {
            height += 1;
        }
        let mut levels = vec![Vec::new(); height + 1];
        let mut rest = values.as_slice();
        for level in (0..=height).rev() {
            let group = 1 << level;
            let groups = rest.chunks_exact(group);
            let left = groups.remainder();
            levels[level].extend(groups.map(|group| group[group.len() / 2]));
            rest = left;
        }
        levels
    }

    /// The greatest difference of the shares of values up to any point.
    fn distance(&self, other: &Self) -> f64 {
        let (total, other_total) = (self.count(), other.count());
        let (mut own, mut others) = (self.0.iter().peekable(), other.0.iter().peekable());
        let (mut passed, mut other_passed, mut most) = (0.0, 0.0, 0.0_f64);
        loop {
            let next = match (own.peek(), others.peek()) {
                (Some(a), Some(b)) => a.0.min(b.0),
                (Some(a), None) => a.0,
                (None, Some(b)) => b.0,
                (None, None) => return most,
            };
            while let Some((_, weight)) = own.next_if(|(value, _)| *value <= next) {
                passed += weight;
            }
            while let Some((_, weight)) = others.next_if(|(value, _)| *value <= next) {
                other_passed += weight;
            }
            most = most.max((passed / total - other_passed / other_total).abs());
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(place: f64) -> usize {
    place.clamp(0.0, 1e6) as usize
}

/// How often each value of a column comes.
pub(crate) type Categories = BTreeMap<String, f64>;

/// A column's distribution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Distribution {
    Numbers(Sketch),
    Categories(Categories),
}

impl Distribution {
    /// The distance of two distributions of one kind, 0 to 1; `None` if they can't be compared or
    /// one is empty.
    pub(crate) fn distance(&self, other: &Self, robust: bool) -> Option<f64> {
        let (n, m, distance) = match (self, other) {
            (Self::Numbers(one), Self::Numbers(two)) => {
                (one.count(), two.count(), one.distance(two))
            }
            (Self::Categories(one), Self::Categories(two)) => {
                let (n, m) = (one.values().sum(), two.values().sum());
                let share = |of: &Categories, name: &str, total: f64| {
                    of.get(name).copied().unwrap_or_default() / total
                };
                let names: BTreeSet<&str> =
                    one.keys().chain(two.keys()).map(String::as_str).collect();
                let differences = names
                    .into_iter()
                    .map(|name| (share(one, name, n) - share(two, name, m)).abs());
                (n, m, differences.fold(0.0, f64::max))
            }
            _ => return None,
        };
        let allowance = if robust {
            ALLOWANCE * ((n + m) / (n * m)).sqrt()
        } else {
            0.0
        };
        (n > 0.0 && m > 0.0).then(|| (distance - allowance).max(0.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;

    fn numbers(range: std::ops::Range<i32>) -> Distribution {
        let values: Vec<f64> = range.map(f64::from).collect();
        Distribution::Numbers(Sketch::of(&values))
    }

    #[test]
    fn the_distance_is_the_greatest_between_the_cumulative_shares() {
        assert_eq!(numbers(0..100).distance(&numbers(0..100), false), Some(0.0));
        assert_eq!(
            numbers(0..100).distance(&numbers(100..200), false),
            Some(1.0)
        );
        let third = numbers(0..100).distance(&numbers(30..130), false).unwrap();
        assert!((third - 0.3).abs() < 1e-9, "{third}");
    }

    #[test]
    fn few_samples_must_differ_more() {
        let (few, many) = (numbers(30..50), numbers(0..10_000));
        let simple = few.distance(&many, false).unwrap();
        let robust = few.distance(&many, true).unwrap();
        assert!((simple - robust - 1.8 * (10_020.0_f64 / 200_000.0).sqrt()).abs() < 1e-9);
        let healthy = numbers(0..20).distance(&numbers(5..25), true);
        assert_eq!(healthy, Some(0.0));
    }

    #[test]
    fn a_category_that_grows_is_the_distance() {
        let of = |pairs: &[(&str, f64)]| {
            Distribution::Categories(
                pairs
                    .iter()
                    .map(|(name, count)| ((*name).to_owned(), *count))
                    .collect(),
            )
        };
        let (baseline, current) = (
            of(&[("de", 90.0), ("fr", 10.0)]),
            of(&[("de", 5.0), ("us", 5.0)]),
        );
        assert_eq!(baseline.distance(&current, false), Some(0.5));
        assert_eq!(baseline.distance(&numbers(0..3), false), None);
        assert_eq!(baseline.distance(&of(&[]), false), None);
    }

    #[test]
    fn a_sketch_comes_back_from_its_json_near_what_it_was() {
        for count in [0..1, 0..10, 0..2048, 0..2049, 0..100_003] {
            let end = f64::from(count.end);
            let Distribution::Numbers(whole) = numbers(count) else {
                unreachable!()
            };
            let back = Sketch::read(&whole.json()).unwrap();
            assert_eq!(back.count(), end);
            let distance = whole.distance(&back);
            assert!(distance <= 1.0 / 1024.0, "{end}: {distance}");
            let levels = whole.levels();
            assert!(levels.iter().all(|level| level.len() <= SIZE), "{end}");
        }
    }

    #[test]
    fn a_baseline_with_buckets_alone_can_be_compared() {
        let Distribution::Numbers(whole) = numbers(0..1000) else {
            unreachable!()
        };
        let mut kll = whole.json();
        assert_eq!(list(&kll, "buckets").len(), 10);
        kll.as_object_mut().unwrap().remove("sketch");
        let rough = Distribution::Numbers(Sketch::read(&kll).unwrap());
        let distance = numbers(0..1000).distance(&rough, false).unwrap();
        assert!(distance < 0.01, "{distance}");
        assert!(numbers(300..1300).distance(&rough, false).unwrap() > 0.25);
    }
}
