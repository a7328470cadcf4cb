//! CloudWatch's `ListMetrics`: which metrics there are.
//!
//! As the API reference says: a metric appears up to 15 minutes after its first value (here always
//! then), is gone two weeks after its last, and 500 are a page. The answer has no errors of its own
//! but `InvalidParameterValue`, also for a token.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::json::{list, text};
use crate::moment::{Moment, Span};
use crate::page;
use crate::world::World;

/// Metrics on a page.
const PAGE: usize = 500;
/// A filter may have this many dimensions.
const MOST_DIMENSIONS: usize = 10;
/// A new metric is not listed for so long.
const APPEARS_AFTER: Span = Span::seconds(15 * 60);
/// A metric without values is listed for so long.
const LISTED_FOR: Span = Span::seconds(14 * 24 * 3_600);
/// The same for who asks for `RecentlyActive`.
const RECENT: Span = Span::seconds(3 * 3_600);

/// Namespace, name and dimensions.
type Name = (String, String, BTreeMap<String, String>);

/// Lists the metrics that a filter lets through, ordered.
pub(crate) fn list_metrics(world: &World, input: &Value, now: Moment) -> Result<Value, ApiError> {
    let filter = Filter::read(input)?;
    let named: BTreeSet<Name> = metrics(world)
        .filter(|(name, first, last)| {
            *first + APPEARS_AFTER <= now && *last + filter.listed_for >= now && filter.keeps(name)
        })
        .map(|(name, ..)| name)
        .collect();
    let start = match text(input, "NextToken") {
        None => 0,
        Some(token) => page::read_token(token)
            .filter(|start| *start <= named.len())
            .ok_or_else(|| ApiError::parameter("The value for parameter NextToken is invalid."))?,
    };
    let more = named.len() > start + PAGE;
    let page: Vec<Value> = named
        .into_iter()
        .skip(start)
        .take(PAGE)
        .map(|(namespace, name, dimensions)| {
            let dimensions = dimensions
                .into_iter()
                .map(|(name, value)| json!({"Name": name, "Value": value}))
                .collect::<Vec<_>>();
            json!({"Namespace": namespace, "MetricName": name, "Dimensions": dimensions})
        })
        .collect();
    let mut answer = json!({"Metrics": page});
    if more {
        answer["NextToken"] = json!(page::write_token(start + PAGE));
    }
    Ok(answer)
}

/// All metrics with the times of their first and last value.
fn metrics(world: &World) -> impl Iterator<Item = (Name, Moment, Moment)> {
    let of_sagemaker = world.metrics.listed().map(|each| {
        let dimensions = [
            ("EndpointName", each.endpoint),
            ("VariantName", each.variant),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let name = (
            "AWS/SageMaker".to_owned(),
            each.name.to_owned(),
            BTreeMap::from(dimensions),
        );
        let (first, last) = each.minutes;
        (name, Moment::of_minute(first), Moment::of_minute(last))
    });
    let of_users = world.custom.iter().filter_map(|(name, values)| {
        let times = || values.iter().map(|(at, _)| *at);
        Some((name.clone(), times().min()?, times().max()?))
    });
    of_sagemaker.chain(of_users)
}

/// What is asked for.
struct Filter<'a> {
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    /// Names, with values where those matter.
    dimensions: Vec<(&'a str, Option<&'a str>)>,
    listed_for: Span,
}

impl<'a> Filter<'a> {
    fn read(input: &'a Value) -> Result<Self, ApiError> {
        let namespace = bounded(input, "Namespace", "Namespace", 255)?;
        if namespace.is_some_and(|namespace| namespace.starts_with(':')) {
            return Err(invalid("Namespace"));
        }
        let given = list(input, "Dimensions");
        if given.len() > MOST_DIMENSIONS {
            return Err(ApiError::parameter(format!(
                "The collection Dimensions must not have a size greater than {MOST_DIMENSIONS}."
            )));
        }
        let mut dimensions = Vec::new();
        for (index, dimension) in given.iter().enumerate() {
            let at = |member: &str| format!("Dimensions.member.{}.{member}", index + 1);
            let name = bounded(dimension, "Name", &at("Name"), 255)?.ok_or_else(|| {
                ApiError::parameter(format!("The parameter {} is required.", at("Name")))
            })?;
            dimensions.push((name, bounded(dimension, "Value", &at("Value"), 1_024)?));
        }
        let listed_for = match text(input, "RecentlyActive") {
            None => LISTED_FOR,
            Some("PT3H") => RECENT,
            Some(_) => return Err(invalid("RecentlyActive")),
        };
        Ok(Self {
            namespace,
            name: bounded(input, "MetricName", "MetricName", 255)?,
            dimensions,
            listed_for,
        })
    }

    /// A metric may have more dimensions than the filter.
    fn keeps(&self, (namespace, name, dimensions): &Name) -> bool {
        self.namespace.is_none_or(|wanted| wanted == namespace)
            && self.name.is_none_or(|wanted| wanted == name)
            && self.dimensions.iter().all(|(name, value)| {
                dimensions
                    .get(*name)
                    .is_some_and(|has| value.is_none_or(|wanted| wanted == has))
            })
    }
}

/// The text of a member, if it is there, of 1 to `most` characters.
fn bounded<'a>(
    value: &'a Value,
    member: &str,
    shown: &str,
    most: usize,
) -> Result<Option<&'a str>, ApiError> {
    match value.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => given
            .as_str()
            .filter(|text| (1..=most).contains(&text.chars().count()))
            .map(Some)
            .ok_or_else(|| invalid(shown)),
    }
}

fn invalid(parameter: &str) -> ApiError {
    ApiError::parameter(format!("The value for parameter {parameter} is invalid."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::args::Range;
    use crate::metrics::{Metrics, Outcome};

    fn world() -> World {
        let mut metrics = Metrics::new(Range { min: 0, max: 0 }, 1);
        for variant in ["v1", "v2"] {
            metrics.record("e", variant, at(0), Outcome::Success, 1.0, 1.0);
            metrics.record("e", variant, at(60), Outcome::Success, 1.0, 1.0);
        }
        metrics.record("other", "v1", at(0), Outcome::NoAnswer, 1.0, 1.0);
        World::new(1, false, metrics, false)
    }

    fn at(minute: i64) -> Moment {
        Moment::of_minute(minute)
    }

    fn count(world: &World, input: &Value, now: Moment) -> usize {
        let answer = list_metrics(world, input, now).unwrap();
        answer["Metrics"].as_array().unwrap().len()
    }

    #[test]
    fn a_metric_appears_after_15_minutes_and_is_gone_after_two_weeks() {
        let (world, of_e) = (
            world(),
            json!({"Dimensions": [{"Name": "EndpointName", "Value": "e"}]}),
        );
        let recent = json!({"RecentlyActive": "PT3H"});
        let weeks = 14 * 24 * 60;
        assert_eq!(count(&world, &of_e, at(14)), 0);
        assert_eq!(count(&world, &of_e, at(15)), 12);
        assert_eq!(count(&world, &of_e, at(60 + weeks)), 12);
        assert_eq!(count(&world, &of_e, at(61 + weeks)), 0);
        assert_eq!(count(&world, &recent, at(60 + 180)), 12);
        assert_eq!(count(&world, &recent, at(61 + 180)), 0);
    }

    #[test]
    fn a_filter_lets_through_what_has_all_that_it_says() {
        let (world, now) = (world(), at(60));
        let requests = json!({"Namespace": "AWS/SageMaker", "MetricName": "Invocations",
            "Dimensions": [{"Name": "EndpointName", "Value": "e"}]});
        let answer = list_metrics(&world, &requests, now).unwrap();
        assert_eq!(
            answer["Metrics"][1]["Dimensions"],
            json!([
            {"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v2"}])
        );
        assert_eq!(answer["Metrics"].as_array().unwrap().len(), 2);
        assert_eq!(count(&world, &json!({"MetricName": "Invocations"}), now), 3);
        // Nothing of `other` got an answer, so it has no latency.
        assert_eq!(
            count(&world, &json!({"MetricName": "ModelLatency"}), now),
            2
        );
        assert_eq!(
            count(
                &world,
                &json!({"Dimensions": [{"Name": "VariantName"}]}),
                now
            ),
            16
        );
        assert_eq!(count(&world, &json!({"Namespace": "Shop"}), now), 0);
    }

    #[test]
    fn pages_of_500_hold_each_metric_once() {
        let mut world = world();
        for number in 0..1_200 {
            let name = ("Shop".to_owned(), format!("m{number}"), BTreeMap::new());
            world.custom.insert(name, vec![(at(0), 1.0)]);
        }
        let mut input = json!({"Namespace": "Shop"});
        let mut names = BTreeSet::new();
        let mut sizes = Vec::new();
        loop {
            let page = list_metrics(&world, &input, at(60)).unwrap();
            let metrics = page["Metrics"].as_array().unwrap();
            sizes.push(metrics.len());
            names.extend(
                metrics
                    .iter()
                    .map(|metric| metric["MetricName"].to_string()),
            );
            let Some(token) = page.get("NextToken") else {
                break;
            };
            input["NextToken"] = token.clone();
        }
        assert_eq!((names.len(), sizes), (1_200, vec![500, 500, 200]));
    }

    #[test]
    fn what_the_service_model_forbids_is_refused() {
        let name = |name: &str| json!([{"Name": name}]);
        for input in [
            json!({"Namespace": ""}),
            json!({"Namespace": ":x"}),
            json!({"MetricName": "x".repeat(256)}),
            json!({"RecentlyActive": "PT1H"}),
            json!({"NextToken": "x"}),
            json!({"Dimensions": [{"Value": "e"}]}),
            json!({"Dimensions": name("")}),
            json!({"Dimensions": vec![name("a")[0].clone(); 11]}),
        ] {
            let error = list_metrics(&world(), &input, at(60)).unwrap_err();
            assert_eq!(error.code, "InvalidParameterValue", "{input}");
        }
    }
}
