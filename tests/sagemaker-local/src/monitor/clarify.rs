//! Clarify's container: a processing job that makes `analysis.json` of a data set, and the monitors of
//! bias and feature attribution, which do the same with what an endpoint captured and compare it with
//! a baseline. Tables of CSV alone.
//!
//! Sources: "Analysis Configuration Files", "Analysis Results" and "Configure a SageMaker Clarify
//! Processing Job" in the SageMaker developer guide. How Model Monitor hands the config to the
//! container is not documented; here it is an input like the job's.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Map, Value, json};

use super::analyzer::{Data as Found, Job, Report, exit};
use super::attribution::{self, Shap};
use super::bias;
use super::quality::cell;
use super::statistics::{as_f64, number};
use super::table::{Row, Table};
use crate::app::App;
use crate::json::{list, required, text};
use crate::processing::variable;
use crate::shadow::Shadow;
use crate::storage;

/// What a config may say that is not done here; to leave it out would be another analysis.
const MISSING: [&str; 8] = [
    "dataset_uri",
    "predicted_label",
    "predicted_label_dataset_uri",
    "facet_dataset_uri",
    "joinsource_name_or_index",
    "excluded_columns",
    "features",
    "time_series_data_config",
];

/// Does what a job's analysis config says.
///
/// # Errors
/// Why the job fails, for its owner.
pub(crate) async fn analyze(app: &Arc<App>, name: &str, body: &Value) -> Result<Report, String> {
    let aws = app.aws().map_err(|error| format!("{error:#}"))?;
    let job = Clarify {
        app,
        name,
        job: Job { s3: &aws.s3, body },
    };
    let done = match variable(body, "analysis_type") {
        None => job.dataset().await,
        Some("MODEL_BIAS") => job.bias_drift().await,
        Some("MODEL_EXPLAINABILITY") => job.attribution_drift().await,
        Some(other) => Err(anyhow::anyhow!(
            "not implemented here: analysis_type {other} by Clarify"
        )),
    };
    done.map_err(|error| format!("{error:#}"))
}

struct Clarify<'a> {
    app: &'a Arc<App>,
    name: &'a str,
    job: Job<'a>,
}

/// Where a prediction is in an answer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Place {
    label: Option<String>,
    probability: Option<String>,
    threshold: Option<f64>,
}

impl Place {
    /// As the config of a job says it.
    fn of_config(config: &Value) -> Self {
        let at = |member: &str| match config["predictor"].get(member)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        Self {
            label: at("label"),
            probability: at("probability"),
            threshold: config["probability_threshold"].as_f64(),
        }
    }

    /// As the definition of a monitor says it.
    fn of_monitor(body: &Value) -> Self {
        let told = |name: &str| variable(body, name).map(str::to_owned);
        Self {
            label: told("inference_attribute"),
            probability: told("probability_attribute"),
            threshold: told("probability_threshold_attribute").and_then(|t| number(&t)),
        }
    }

    /// The label that an answer says.
    fn said(&self, answer: &Row) -> anyhow::Result<String> {
        if let Some(place) = &self.label {
            let said = cell(answer, place);
            return Ok(said
                .with_context(|| format!("an answer of the model has no {place}"))?
                .to_owned());
        }
        let is_positive = self.score(answer)? > self.threshold.unwrap_or(0.5);
        Ok(if is_positive { "1" } else { "0" }.to_owned())
    }

    /// The score that is explained.
    fn score(&self, answer: &Row) -> anyhow::Result<f64> {
        let place = self.probability.as_deref().or(self.label.as_deref());
        if let (None, Row::Cells(cells)) = (place, answer) {
            anyhow::ensure!(
                cells.len() == 1,
                "the model answers with {} columns: say which is the score",
                cells.len()
            );
        }
        let said = cell(answer, place.unwrap_or("0"));
        said.and_then(number).with_context(|| {
            format!(
                "an answer of the model has no single number at {}",
                place.unwrap_or("0")
            )
        })
    }
}

impl Clarify<'_> {
    /// A job of its own: what the config's methods say, of the data set.
    async fn dataset(&self) -> anyhow::Result<Report> {
        let config = self.config().await?;
        let kind =
            text(&config, "dataset_type").context("the analysis config has no dataset_type")?;
        anyhow::ensure!(
            kind == "text/csv",
            "not implemented here: dataset_type {kind}; text/csv is"
        );
        let (mut headers, mut rows) = self.rows(&config).await?;
        let label = label(&config, &headers)?;
        let labels: Option<Vec<String>> =
            label.map(|index| rows.iter_mut().map(|row| row.remove(index)).collect());
        let label_name = label.map(|index| headers.remove(index));
        let methods = config["methods"].as_object();
        let has = |method: &str| methods.is_some_and(|methods| methods.contains_key(method));
        let unknown = methods.into_iter().flatten().find(|(method, _)| {
            !["pre_training_bias", "post_training_bias", "shap", "report"]
                .contains(&method.as_str())
        });
        if let Some((method, _)) = unknown {
            anyhow::bail!("not implemented here: methods.{method}");
        }
        let place = Place::of_config(&config);
        let mut shadow = match config.get("predictor") {
            Some(predictor) if has("post_training_bias") || has("shap") => {
                let started = Shadow::start(self.app, self.name, predictor).await;
                Some(started.map_err(anyhow::Error::msg)?)
            }
            _ => None,
        };
        let mut analysis = Map::from_iter([("version".to_owned(), json!("1.0"))]);
        if has("pre_training_bias") || has("post_training_bias") {
            let labels = labels.context("bias needs the label of the analysis config")?;
            let predicted = match shadow.as_mut() {
                Some(shadow) if has("post_training_bias") => {
                    Some(predicted(shadow, &place, &rows).await?)
                }
                _ => None,
            };
            let data = bias::Data {
                columns: columns(&headers, &rows),
                headers: headers.clone(),
                labels,
                predicted,
            };
            let mut config = config.clone();
            config["label"] = json!(label_name);
            analysis.extend(bias::analyze(&config, &data).map_err(anyhow::Error::msg)?);
        }
        if has("shap") {
            let shadow = shadow.as_mut();
            let shadow = shadow.context("shap needs a predictor in the analysis config")?;
            let explained = explain(shadow, &config, &place, &headers, &rows).await?;
            analysis.insert("explanations".to_owned(), explained);
        }
        anyhow::ensure!(analysis.len() > 1, "the analysis config names no method");
        self.write("analysis.json", &Value::Object(analysis))
            .await?;
        Ok(Report {
            exit: exit(0),
            log: vec![format!("{} rows were analyzed", rows.len())],
            metrics: None,
        })
    }

    /// What was answered, merged with the labels that came later.
    async fn bias_drift(&self) -> anyhow::Result<Report> {
        let config = self.config().await?;
        let names = headers(&config);
        let mut names = names.context("the analysis config has no headers")?;
        let label = label(&config, &names)?.context("the analysis config has no label")?;
        let label_name = names.remove(label);
        let place = Place::of_monitor(self.job.body);
        let truth = self.job.ground_truth().await?;
        let (mut rows, mut labels, mut said, mut unmatched) = (vec![], vec![], vec![], 0);
        for (id, input, output) in self.captured().await? {
            let output = output.context("the endpoint captures no answers")?;
            let Some(label) = truth.get(&id) else {
                unmatched += 1;
                continue;
            };
            anyhow::ensure!(
                input.len() == 1 && output.len() == 1,
                "not implemented here: requests of several rows with labels"
            );
            rows.push(full(&input[0], names.len())?);
            labels.push(label.clone());
            said.push(place.said(&output[0])?);
        }
        anyhow::ensure!(
            !rows.is_empty(),
            "no prediction has a label ({unmatched} have none): eventId or inferenceId of captured data and ground truth must be the same"
        );
        let count = rows.len();
        let data = bias::Data {
            columns: columns(&names, &rows),
            headers: names,
            labels,
            predicted: Some(said),
        };
        let mut config = config;
        config["label"] = json!(label_name);
        let analysis = bias::analyze(&config, &data).map_err(anyhow::Error::msg)?;
        let log =
            format!("{count} predictions were compared with their labels; {unmatched} had none");
        self.compare(analysis, log, |analysis, baseline| {
            bias::check(analysis, baseline)
        })
        .await
    }

    /// What was asked, explained with the model anew.
    async fn attribution_drift(&self) -> anyhow::Result<Report> {
        let config = self.config().await?;
        let captured = self.captured().await?;
        let inputs = captured.iter().flat_map(|(_, input, _)| input);
        let mut rows = Vec::new();
        let mut width = headers(&config).map(|names| names.len());
        for input in inputs {
            let Row::Cells(cells) = input else {
                anyhow::bail!("not implemented here: requests of JSON; CSV is");
            };
            let width = *width.get_or_insert(cells.len());
            rows.push(full(input, width)?);
        }
        anyhow::ensure!(!rows.is_empty(), "there is no request that can be read");
        let names = headers(&config).unwrap_or_else(|| placeholders(width.unwrap_or_default()));
        let shadow = Shadow::start(self.app, self.name, &config["predictor"]).await;
        let mut shadow = shadow.map_err(anyhow::Error::msg)?;
        let place = Place::of_monitor(self.job.body);
        let explained = explain(&mut shadow, &config, &place, &names, &rows).await?;
        let analysis = Map::from_iter([("explanations".to_owned(), explained)]);
        let log = format!("{} requests were explained", rows.len());
        self.compare(analysis, log, |analysis, baseline| {
            attribution::check(&analysis["explanations"], baseline)
        })
        .await
    }

    /// Writes the analysis, and what is worse than in the baseline, if there is one.
    async fn compare(
        &self,
        mut analysis: Map<String, Value>,
        log: String,
        check: impl Fn(&Map<String, Value>, &Value) -> Result<Vec<Value>, String>,
    ) -> anyhow::Result<Report> {
        let mut violations = Vec::new();
        if let Some(baseline) = self.job.file("baseline_constraints").await? {
            violations = check(&analysis, &baseline).map_err(anyhow::Error::msg)?;
            let file = json!({"version": "1.0", "violations": violations});
            self.write("constraint_violations.json", &file).await?;
        }
        analysis.insert("version".to_owned(), json!("1.0"));
        self.write("analysis.json", &Value::Object(analysis))
            .await?;
        Ok(Report {
            exit: exit(violations.len()),
            log: vec![log],
            metrics: None,
        })
    }

    /// The analysis config.
    async fn config(&self) -> anyhow::Result<Value> {
        let uri = self.input("analysis_config");
        let uri = uri.context("no processing input is named analysis_config")?;
        let content = storage::read(self.job.s3, &uri).await?;
        let config: Value = serde_json::from_slice(&content)
            .with_context(|| format!("the analysis config {uri}"))?;
        match MISSING.iter().find(|key| config.get(**key).is_some()) {
            Some(key) => anyhow::bail!("not implemented here: {key} of the analysis config"),
            None => Ok(config),
        }
    }

    /// The data set: names of columns, and rows. The names are the config's, else its first line.
    async fn rows(&self, config: &Value) -> anyhow::Result<(Vec<String>, Vec<Vec<String>>)> {
        let uri = self.input("dataset");
        let uri = uri.context("no processing input is named dataset")?;
        let (bucket, _) = storage::parse(&uri)?;
        let names = headers(config);
        let mut text = String::new();
        for key in storage::list(self.job.s3, &uri).await? {
            let content = storage::read(self.job.s3, &format!("s3://{bucket}/{key}")).await?;
            text.push_str(&String::from_utf8_lossy(&content));
            text.push('\n');
        }
        let table = Table::of_csv(&text, names.is_none());
        anyhow::ensure!(
            table.rows > 0 && table.malformed == 0,
            "{uri} has {} rows that can be read and {} that can't",
            table.rows,
            table.malformed
        );
        let names = names.unwrap_or_else(|| table.columns.iter().map(|c| c.name.clone()).collect());
        let rows = (0..table.rows).map(|row| {
            let cells = table.columns.iter().map(|column| column.cells[row].clone());
            full(&Row::Cells(cells.collect()), names.len())
        });
        let rows = rows.collect::<anyhow::Result<_>>()?;
        Ok((names, rows))
    }

    /// Id, request and answer of each record in the job's window.
    async fn captured(&self) -> anyhow::Result<Vec<(String, Vec<Row>, Option<Vec<Row>>)>> {
        let Found::Captured(records) = self.job.data().await? else {
            anyhow::bail!("not implemented here: monitors of Clarify on batch transform");
        };
        anyhow::ensure!(
            records.malformed == 0,
            "{} captured lines can't be read",
            records.malformed
        );
        let records = records.records.into_iter().map(|record| {
            let input = record.input.context("the endpoint captures no requests")?;
            Ok((record.id, input, record.output))
        });
        records.collect()
    }

    fn input(&self, name: &str) -> Option<String> {
        let mut inputs = list(self.job.body, "ProcessingInputs").iter();
        let input = inputs.find(|input| text(input, "InputName") == Some(name))?;
        Some(required(input.get("S3Input")?, "S3Uri"))
    }

    /// Writes a result below the job's one output.
    async fn write(&self, name: &str, content: &Value) -> anyhow::Result<()> {
        let outputs = list(&self.job.body["ProcessingOutputConfig"], "Outputs");
        let output = outputs.first().and_then(|output| output.get("S3Output"));
        let output = required(output.context("there is no processing output")?, "S3Uri");
        let uri = format!("{}/{name}", output.trim_end_matches('/'));
        let content = ByteStream::from(content.to_string().into_bytes());
        storage::write(self.job.s3, &uri, content).await
    }
}

/// What the model says of each row.
async fn predicted(
    shadow: &mut Shadow,
    place: &Place,
    rows: &[Vec<String>],
) -> anyhow::Result<Vec<String>> {
    let answers = shadow.ask(rows).await.map_err(anyhow::Error::msg)?;
    answers.iter().map(|answer| place.said(answer)).collect()
}

/// Global SHAP values of rows.
async fn explain(
    shadow: &mut Shadow,
    config: &Value,
    place: &Place,
    headers: &[String],
    rows: &[Vec<String>],
) -> anyhow::Result<Value> {
    let shap = Shap::of(&config["methods"]["shap"], headers.len()).map_err(anyhow::Error::msg)?;
    let label = match list(&config["predictor"], "label_headers") {
        [] => "label0",
        [only] => only.as_str().unwrap_or("label0"),
        _ => anyhow::bail!("not implemented here: explanations of several labels"),
    };
    let mut values = Vec::new();
    for row in rows {
        let scores = scores(shadow, place, &shap.questions(row)).await?;
        values.push(shap.values(&scores));
    }
    let baseline = scores(shadow, place, shap.baseline()).await?;
    let expected = baseline.iter().map(|score| shap.score(*score)).sum::<f64>();
    let expected = expected / as_f64(baseline.len());
    let global = shap.global(&values);
    Ok(attribution::explanations(label, headers, &global, expected))
}

async fn scores(
    shadow: &mut Shadow,
    place: &Place,
    rows: &[Vec<String>],
) -> anyhow::Result<Vec<f64>> {
    let answers = shadow.ask(rows).await.map_err(anyhow::Error::msg)?;
    answers.iter().map(|answer| place.score(answer)).collect()
}

fn headers(config: &Value) -> Option<Vec<String>> {
    let names = config["headers"].as_array()?.iter();
    Some(
        names
            .map(|n| n.as_str().unwrap_or_default().to_owned())
            .collect(),
    )
}

fn placeholders(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("column_{index}")).collect()
}

/// Where the label is among the columns.
fn label(config: &Value, headers: &[String]) -> anyhow::Result<Option<usize>> {
    let index = match &config["label"] {
        Value::Null => return Ok(None),
        Value::Number(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()),
        name => headers.iter().position(|header| name == header),
    };
    let index = index.filter(|index| *index < headers.len());
    Ok(Some(index.with_context(|| {
        format!("the data has no label column {}", config["label"])
    })?))
}

/// The cells of a row, all of which have to be there.
fn full(row: &Row, width: usize) -> anyhow::Result<Vec<String>> {
    let Row::Cells(cells) = row else {
        anyhow::bail!("not implemented here: requests of JSON; CSV is");
    };
    anyhow::ensure!(
        cells.len() == width,
        "a row has {} columns, and the headers name {width}",
        cells.len()
    );
    let cells: Option<Vec<String>> = cells.iter().cloned().collect();
    cells.context("not implemented here: rows with missing values")
}

fn columns(headers: &[String], rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let column = |index: usize| rows.iter().map(|row| row[index].clone()).collect();
    (0..headers.len()).map(column).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(cells: &[&str]) -> Row {
        Row::Cells(cells.iter().map(|cell| Some((*cell).to_owned())).collect())
    }

    #[test]
    fn a_prediction_is_a_label_or_a_probability_above_the_threshold() {
        let label = Place {
            label: Some("1".to_owned()),
            ..Place::default()
        };
        assert_eq!(label.said(&answer(&["0.9", "no"])).unwrap(), "no");
        let probability = Place {
            threshold: Some(0.6),
            ..Place::default()
        };
        assert_eq!(probability.said(&answer(&["0.6"])).unwrap(), "0");
        assert_eq!(probability.said(&answer(&["0.61"])).unwrap(), "1");
        assert!(Place::default().said(&answer(&["0.6", "0.4"])).is_err());
        assert!(Place::default().score(&answer(&["high"])).is_err());
    }

    #[test]
    fn a_label_is_a_name_or_a_number_and_has_to_be_there() {
        let headers = ["a".to_owned(), "y".to_owned()];
        let of = |value: Value| label(&json!({"label": value}), &headers);
        assert_eq!(of(json!("y")).unwrap(), Some(1));
        assert_eq!(of(json!(0)).unwrap(), Some(0));
        assert_eq!(label(&json!({}), &headers).unwrap(), None);
        assert!(of(json!(2)).is_err() && of(json!("z")).is_err());
    }
}
