//! Pipeline definitions: Training steps in their order, parameters, references.
//!
//! Parameters, `Std:Join` and execution variables are filled in; properties of other steps are not
//! here and fail the step with that reason.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::json::{list, required, text};
use crate::moment::Moment;

/// A definition may have this many steps.
const MOST_STEPS: usize = 50;
/// Deeper nesting than any request has.
const MOST_DEPTH: usize = 64;

/// One step, and how far it has come.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) arguments: Value,
    pub(crate) after: Vec<String>,
    pub(crate) status: &'static str,
    pub(crate) started: Option<Moment>,
    pub(crate) ended: Option<Moment>,
    pub(crate) job_arn: Option<String>,
    pub(crate) failure: Option<String>,
}

/// A pipeline's definition, which is JSON in a string.
pub(crate) fn of(body: &Value) -> Result<&str, ApiError> {
    text(body, "PipelineDefinition").ok_or_else(|| {
        ApiError::validation(
            "PipelineDefinition must be specified (definitions in S3 are not implemented here).",
        )
    })
}

/// The steps of a definition in an order in which each comes after those it depends on.
pub(crate) fn steps(definition: &str) -> Result<Vec<Step>, ApiError> {
    let definition: Value = serde_json::from_str(definition)
        .map_err(|error| ApiError::validation(format!("Invalid pipeline definition: {error}")))?;
    let given = list(&definition, "Steps");
    if given.is_empty() || given.len() > MOST_STEPS {
        return Err(ApiError::validation(format!(
            "Invalid pipeline definition: it must have 1 to {MOST_STEPS} steps."
        )));
    }
    let mut open: Vec<Step> = given.iter().map(step).collect();
    let names: BTreeSet<String> = open.iter().map(|step| step.name.clone()).collect();
    if names.len() != open.len() || names.contains("") {
        return Err(ApiError::validation(
            "Invalid pipeline definition: step names must be unique.",
        ));
    }
    let mut ordered: Vec<Step> = Vec::new();
    while !open.is_empty() {
        let ready = open.iter().position(|step| {
            step.after
                .iter()
                .all(|before| ordered.iter().any(|done| done.name == *before))
        });
        let Some(index) = ready else {
            return Err(ApiError::validation(
                "Invalid pipeline definition: steps depend on each other in a circle or on a step that is not there.",
            ));
        };
        ordered.push(open.remove(index));
    }
    Ok(ordered)
}

fn step(given: &Value) -> Step {
    Step {
        name: required(given, "Name"),
        kind: required(given, "Type"),
        arguments: given.get("Arguments").cloned().unwrap_or_else(|| json!({})),
        after: list(given, "DependsOn")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        status: "Starting",
        started: None,
        ended: None,
        job_arn: None,
        failure: None,
    }
}

/// The definition's defaults, overridden by the request.
pub(crate) fn parameters(
    definition: &Value,
    given: &[Value],
) -> Result<BTreeMap<String, Value>, ApiError> {
    let mut all = BTreeMap::new();
    for parameter in list(definition, "Parameters") {
        let name = required(parameter, "Name");
        let own = given.iter().find(|one| text(one, "Name") == Some(&name));
        let value = match (own, parameter.get("DefaultValue")) {
            (Some(own), _) => typed(
                &required(own, "Value"),
                text(parameter, "Type").unwrap_or("String"),
            ),
            (None, Some(default)) => default.clone(),
            (None, None) => {
                return Err(ApiError::validation(format!(
                    "Pipeline parameter {name} has no value."
                )));
            }
        };
        all.insert(name, value);
    }
    if let Some(unknown) = given
        .iter()
        .map(|one| required(one, "Name"))
        .find(|name| !all.contains_key(name))
    {
        return Err(ApiError::validation(format!(
            "Unknown pipeline parameter: {unknown} is not in the definition."
        )));
    }
    Ok(all)
}

fn typed(text: &str, kind: &str) -> Value {
    match kind {
        "Integer" => text
            .parse::<i64>()
            .map_or(json!(text), |number| json!(number)),
        "Float" => text
            .parse::<f64>()
            .map_or(json!(text), |number| json!(number)),
        "Boolean" => text
            .parse::<bool>()
            .map_or(json!(text), |truth| json!(truth)),
        _ => json!(text),
    }
}

/// What references in a step's arguments stand for.
pub(crate) struct Variables {
    pub(crate) parameters: BTreeMap<String, Value>,
    pub(crate) pipeline: String,
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) at: Moment,
}

impl Variables {
    /// A copy of a step's arguments with all references filled in.
    pub(crate) fn fill(&self, value: &Value, depth: usize) -> Result<Value, String> {
        if depth > MOST_DEPTH {
            return Err("The arguments are nested too deeply.".to_owned());
        }
        match value {
            Value::Array(items) => items
                .iter()
                .map(|item| self.fill(item, depth + 1))
                .collect(),
            Value::Object(object) => {
                if let (1, Some(reference)) =
                    (object.len(), object.get("Get").and_then(Value::as_str))
                {
                    return self.get(reference);
                }
                if let (1, Some(join)) = (object.len(), object.get("Std:Join")) {
                    let parts = list(join, "Values").iter().map(|part| {
                        self.fill(part, depth + 1).map(|part| match part {
                            Value::String(text) => text,
                            other => other.to_string(),
                        })
                    });
                    let parts: Vec<String> = parts.collect::<Result<_, _>>()?;
                    return Ok(json!(parts.join(text(join, "On").unwrap_or_default())));
                }
                let filled: Result<Map<_, _>, String> = object
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.fill(value, depth + 1)?)))
                    .collect();
                filled.map(Value::Object)
            }
            other => Ok(other.clone()),
        }
    }

    fn get(&self, reference: &str) -> Result<Value, String> {
        if let Some(value) = reference
            .strip_prefix("Parameters.")
            .and_then(|name| self.parameters.get(name))
        {
            return Ok(value.clone());
        }
        match reference {
            "Execution.PipelineName" => Ok(json!(self.pipeline)),
            "Execution.PipelineArn" => Ok(json!(arn::sagemaker("pipeline", &self.pipeline))),
            "Execution.PipelineExecutionId" => Ok(json!(self.id)),
            "Execution.PipelineExecutionArn" => Ok(json!(self.arn)),
            "Execution.StartDateTime" | "Execution.CurrentDateTime" => {
                Ok(json!(self.at.iso_seconds()))
            }
            _ => Err(format!("not implemented here: the reference {reference}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables {
            parameters: BTreeMap::from([
                ("Bucket".to_owned(), json!("data")),
                ("Count".to_owned(), json!(2)),
            ]),
            pipeline: "retrain".to_owned(),
            id: "abc".to_owned(),
            arn: "arn".to_owned(),
            at: Moment::from_millis(0),
        }
    }

    #[test]
    fn parameters_are_filled_in_at_any_depth() {
        let arguments = json!({"A": {"Get": "Parameters.Count"}, "B": [{"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Bucket"}, {"Get": "Execution.PipelineExecutionId"}]}}]});
        assert_eq!(
            variables().fill(&arguments, 0).unwrap(),
            json!({"A": 2, "B": ["s3://data/abc"]})
        );
        assert!(
            variables()
                .fill(&json!({"Get": "Steps.Train.X"}), 0)
                .is_err()
        );
    }

    #[test]
    fn steps_come_after_those_they_depend_on() {
        let definition = json!({"Steps": [
            {"Name": "b", "Type": "Training", "DependsOn": ["a"]}, {"Name": "a", "Type": "Training"}]});
        let names: Vec<String> = steps(&definition.to_string())
            .unwrap()
            .into_iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        let circle = json!({"Steps": [{"Name": "a", "Type": "Training", "DependsOn": ["a"]}]});
        assert!(steps(&circle.to_string()).is_err());
    }

    #[test]
    fn a_parameter_that_the_definition_lacks_is_refused() {
        let definition =
            json!({"Parameters": [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]});
        assert_eq!(
            parameters(&definition, &[json!({"Name": "Count", "Value": "3"})]).unwrap()["Count"],
            3
        );
        assert!(parameters(&definition, &[json!({"Name": "Other", "Value": "3"})]).is_err());
    }
}
