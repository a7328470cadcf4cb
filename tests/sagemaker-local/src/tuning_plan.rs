//! Which values a tuning job tries. Bayesian, random and Hyperband searches draw at random from the
//! ranges, seeded by the emulator's seed; a grid is all combinations of categories.

use std::collections::{BTreeMap, VecDeque};

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value};

use crate::errors::ApiError;
use crate::json::{list, required, text};
use crate::tuning::definitions;

/// A grid or a search has no more training jobs than this here.
const MOST_JOBS: usize = 750;

/// The values of one training job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// The place of the definition that it is launched by.
    pub(crate) definition: usize,
    /// Hyperparameters that were drawn.
    pub(crate) values: BTreeMap<String, String>,
}

/// All training jobs of a tuning job, in the order of their launch.
pub(crate) fn draw(
    body: &Map<String, Value>,
    rng: &mut StdRng,
) -> Result<VecDeque<Planned>, ApiError> {
    let config = &body["HyperParameterTuningJobConfig"];
    let ranges: Vec<&Value> = definitions(body)
        .into_iter()
        .map(|one| {
            let own = one.get("HyperParameterRanges");
            own.unwrap_or(&config["ParameterRanges"])
        })
        .collect();
    for (definition, ranges) in definitions(body).into_iter().zip(&ranges) {
        check(definition, ranges)?;
    }
    let most = config["ResourceLimits"]["MaxNumberOfTrainingJobs"].as_u64();
    let most = most.and_then(|most| usize::try_from(most).ok());
    if text(config, "Strategy") == Some("Grid") {
        let all = ranges.iter().enumerate();
        let all = all.flat_map(|(definition, ranges)| grid(definition, ranges));
        return Ok(all.take(most.unwrap_or(MOST_JOBS).min(MOST_JOBS)).collect());
    }
    let most = most.filter(|most| *most <= MOST_JOBS).ok_or_else(|| {
        ApiError::validation(format!(
            "MaxNumberOfTrainingJobs must be specified, and be at most {MOST_JOBS}."
        ))
    })?;
    // Several definitions take turns.
    let turn = |n: usize| n % ranges.len().max(1);
    Ok((0..most)
        .map(|n| Planned {
            definition: turn(n),
            values: values(ranges[turn(n)], rng),
        })
        .collect())
}

fn check(definition: &Value, ranges: &Value) -> Result<(), ApiError> {
    let kinds = [
        "IntegerParameterRanges",
        "ContinuousParameterRanges",
        "CategoricalParameterRanges",
    ];
    let all = kinds.iter().flat_map(|kind| list(ranges, kind));
    let mut count = 0;
    for range in all {
        count += 1;
        let name = required(range, "Name");
        let fixed = definition.get("StaticHyperParameters");
        if fixed.is_some_and(|fixed| fixed.get(&name).is_some()) {
            return Err(ApiError::validation(format!(
                "The hyperparameter {name} is both static and tuned."
            )));
        }
        if range.get("Values").is_none() && bounds(range).is_none() {
            return Err(ApiError::validation(format!(
                "The range of the hyperparameter {name} is not one of numbers, the least first."
            )));
        }
    }
    if count == 0 {
        return Err(ApiError::validation(
            "At least one hyperparameter range must be specified.",
        ));
    }
    Ok(())
}

fn bounds(range: &Value) -> Option<(f64, f64)> {
    let number = |member| text(range, member)?.parse::<f64>().ok();
    let (least, most) = (number("MinValue")?, number("MaxValue")?);
    (least.is_finite() && most.is_finite() && least <= most).then_some((least, most))
}

fn values(ranges: &Value, rng: &mut StdRng) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for range in list(ranges, "IntegerParameterRanges") {
        values.insert(
            required(range, "Name"),
            format!("{:.0}", number(range, rng)),
        );
    }
    for range in list(ranges, "ContinuousParameterRanges") {
        values.insert(required(range, "Name"), number(range, rng).to_string());
    }
    for range in list(ranges, "CategoricalParameterRanges") {
        let all = list(range, "Values");
        let chosen = all.get(rng.random_range(0..all.len().max(1)));
        let chosen = chosen.and_then(Value::as_str).unwrap_or_default();
        values.insert(required(range, "Name"), chosen.to_owned());
    }
    values
}

/// A number in the range, even on its scale; `Auto` is taken as linear.
fn number(range: &Value, rng: &mut StdRng) -> f64 {
    let Some((least, most)) = bounds(range) else {
        return 0.0;
    };
    let share: f64 = rng.random();
    let between = |least: f64, most: f64| least + (most - least) * share;
    match text(range, "ScalingType") {
        Some("Logarithmic") if least > 0.0 => {
            between(least.ln(), most.ln()).exp().clamp(least, most)
        }
        Some("ReverseLogarithmic") if most < 1.0 => {
            1.0 - between((1.0 - least).ln(), (1.0 - most).ln()).exp()
        }
        _ => between(least, most),
    }
}

/// All combinations of categories.
fn grid(definition: usize, ranges: &Value) -> Vec<Planned> {
    let mut all = vec![BTreeMap::new()];
    for range in list(ranges, "CategoricalParameterRanges") {
        let name = required(range, "Name");
        let choices: Vec<&str> = list(range, "Values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        all = all
            .iter()
            .flat_map(|before| {
                choices.iter().map(|choice| {
                    let mut next = before.clone();
                    next.insert(name.clone(), (*choice).to_owned());
                    next
                })
            })
            .take(MOST_JOBS)
            .collect();
    }
    all.into_iter()
        .map(|values| Planned { definition, values })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng as _;
    use serde_json::json;

    use super::*;

    fn plan(config: &Value, fixed: &Value) -> Result<Vec<Planned>, ApiError> {
        let body = json!({
            "HyperParameterTuningJobConfig": config,
            "TrainingJobDefinition": { "StaticHyperParameters": fixed },
        });
        let body = body.as_object().unwrap().clone();
        draw(&body, &mut StdRng::seed_from_u64(7)).map(Vec::from)
    }

    #[test]
    fn a_search_draws_from_its_ranges_and_the_same_again() {
        let config = json!({
            "Strategy": "Bayesian", "ResourceLimits": {"MaxNumberOfTrainingJobs": 200},
            "ParameterRanges": {
                "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "4"}],
                "ContinuousParameterRanges": [{
                    "Name": "eta", "MinValue": "0.001", "MaxValue": "1", "ScalingType": "Logarithmic"}],
                "CategoricalParameterRanges": [{"Name": "loss", "Values": ["a", "b"]}],
            },
        });
        let drawn = plan(&config, &json!({})).unwrap();
        assert_eq!(drawn.len(), 200);
        let etas: Vec<f64> = drawn
            .iter()
            .map(|p| p.values["eta"].parse().unwrap())
            .collect();
        let depths: std::collections::BTreeSet<_> =
            drawn.iter().map(|p| &p.values["depth"]).collect();
        assert_eq!(depths.into_iter().collect::<Vec<_>>(), ["2", "3", "4"]);
        assert!(etas.iter().all(|eta| (0.001..=1.0).contains(eta)));
        // On a logarithmic scale a third lies below a hundredth.
        let small = etas.iter().filter(|eta| **eta < 0.01).count();
        assert!((40..95).contains(&small), "{small}");
        assert_eq!(plan(&config, &json!({})).unwrap(), drawn);
    }

    #[test]
    fn a_grid_is_all_combinations() {
        let config = json!({
            "Strategy": "Grid", "ResourceLimits": {},
            "ParameterRanges": { "CategoricalParameterRanges": [
                {"Name": "loss", "Values": ["a", "b"]}, {"Name": "depth", "Values": ["1", "2", "3"]}] },
        });
        let drawn = plan(&config, &json!({})).unwrap();
        assert_eq!(drawn.len(), 6);
        assert_eq!(drawn[5].values["loss"], "b");
        assert_eq!(drawn[5].values["depth"], "3");
    }

    #[test]
    fn what_can_not_be_drawn_from_is_refused() {
        let ranges = |range: Value| {
            json!({
                "Strategy": "Random", "ResourceLimits": {"MaxNumberOfTrainingJobs": 2},
                "ParameterRanges": {"IntegerParameterRanges": [range]},
            })
        };
        let good = json!({"Name": "depth", "MinValue": "2", "MaxValue": "4"});
        for (config, fixed, said) in [
            (
                ranges(good.clone()),
                json!({"depth": "3"}),
                "both static and tuned",
            ),
            (
                ranges(json!({"Name": "depth", "MinValue": "4", "MaxValue": "2"})),
                json!({}),
                "the least first",
            ),
            (
                json!({"Strategy": "Random", "ResourceLimits": {"MaxNumberOfTrainingJobs": 2}}),
                json!({}),
                "At least one",
            ),
            (
                json!({
                    "Strategy": "Random", "ResourceLimits": {},
                    "ParameterRanges": {"IntegerParameterRanges": [good]},
                }),
                json!({}),
                "MaxNumberOfTrainingJobs",
            ),
        ] {
            let error = plan(&config, &fixed).unwrap_err();
            assert!(error.message.contains(said), "{}", error.message);
        }
    }
}
