//! What Model Monitor's container does, told by its environment ("Container contract inputs"):
//! baselines a data set, or analyzes captured data and checks it against a baseline.
//!
//! Data quality and model quality are computed; bias and feature attribution drift are not here.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use super::batch;
use super::checks::{self, Found};
use super::constraints::{Constraints, Switch};
use super::quality::{self, Attributes, Case, Problem};
use super::statistics;
use super::table::{Records, Row, Table};
use crate::json::{list, required, text};
use crate::moment::Moment;
use crate::processing::variable;
use crate::storage;

/// Where Model Monitor's metrics are in CloudWatch.
const NAMESPACE: &str = "/aws/sagemaker/Endpoints/data-metrics";

/// What a job has to say in the end.
pub(crate) struct Report {
    pub(crate) exit: String,
    pub(crate) log: Vec<String>,
    /// Input of `PutMetricData`.
    pub(crate) metrics: Option<Value>,
}

/// Does what a processing job's environment says, with its inputs and outputs in S3.
///
/// # Errors
/// Why the job fails, for its owner.
pub(crate) async fn analyze(s3: &Client, body: &Value) -> Result<Report, String> {
    let job = Job { s3, body };
    let done = match variable(body, "analysis_type") {
        None | Some("DATA_QUALITY") => job.data_quality().await,
        Some("MODEL_QUALITY") => job.model_quality().await,
        Some(other) => Err(anyhow::anyhow!(
            "not implemented here: analysis_type {other}; DATA_QUALITY and MODEL_QUALITY are"
        )),
    };
    done.map_err(|error| format!("{error:#}"))
}

/// A processing job's inputs, outputs and environment.
pub(super) struct Job<'a> {
    pub(super) s3: &'a Client,
    pub(super) body: &'a Value,
}

impl Job<'_> {
    async fn data_quality(&self) -> anyhow::Result<Report> {
        let mut table = match self.data().await? {
            Data::Captured(records) => records.table(),
            Data::Table(table) => table,
        };
        anyhow::ensure!(
            table.rows > 0,
            "there is no row of data that can be read; {} lines or rows are malformed",
            table.malformed
        );
        let constraints: Option<Constraints> = match self.file("baseline_constraints").await? {
            Some(file) => Some(serde_json::from_value(file).context("the baseline's constraints")?),
            None => None,
        };
        if let Some(constraints) = constraints.as_ref().filter(|_| !table.named) {
            table.name(
                constraints
                    .features
                    .iter()
                    .map(|feature| feature.name.clone()),
            );
        }
        self.write("statistics.json", &statistics::of(&table))
            .await?;
        let suggested = serde_json::to_value(Constraints::suggest(&table))?;
        self.write("constraints.json", &suggested).await?;
        let mut report = Report {
            exit: exit(0),
            log: vec![format!(
                "{} rows of {} columns were analyzed; {} lines or rows were malformed",
                table.rows,
                table.columns.len(),
                table.malformed
            )],
            metrics: None,
        };
        if let Some(constraints) = constraints {
            let baseline = self.file("baseline_statistics").await?.unwrap_or_default();
            let baseline = statistics::distributions(&baseline);
            let found =
                checks::check(&table, &constraints, &baseline).map_err(anyhow::Error::msg)?;
            let violations = json!({"version": 0.0, "violations": found.violations});
            self.write("constraint_violations.json", &violations)
                .await?;
            report.exit = exit(found.violations.len());
            if constraints.monitoring_config.emit_metrics != Some(Switch::Disabled) {
                report.metrics = self.metrics(&found);
            }
        }
        Ok(report)
    }

    async fn model_quality(&self) -> anyhow::Result<Report> {
        let problem = variable(self.body, "problem_type").and_then(Problem::parse);
        let problem = problem.context(
            "problem_type must be BinaryClassification, MulticlassClassification or Regression",
        )?;
        let told = |name: &str| variable(self.body, name).map(str::to_owned);
        let attributes = Attributes {
            inference: told("inference_attribute"),
            probability: told("probability_attribute"),
            threshold: variable(self.body, "probability_threshold_attribute")
                .and_then(statistics::number),
        };
        let (cases, unmatched) = match self.data().await? {
            Data::Captured(records) => merge(records, &self.ground_truth().await?, &attributes),
            Data::Table(table) => {
                let label = told("ground_truth_attribute")
                    .context("ground_truth_attribute must name the column of the label")?;
                labelled(&table, &label, &attributes)
            }
        };
        anyhow::ensure!(
            !cases.is_empty(),
            "no prediction has a label ({unmatched} have none): eventId or inferenceId of captured data and ground truth must be the same"
        );
        let statistics = quality::statistics(problem, &cases);
        self.write("statistics.json", &statistics).await?;
        self.write("constraints.json", &quality::suggest(problem, &cases))
            .await?;
        let mut violations = Vec::new();
        if let Some(constraints) = self.file("baseline_constraints").await? {
            violations = quality::check(problem, &statistics, &constraints);
            let file = json!({"version": 0.0, "violations": violations});
            self.write("constraint_violations.json", &file).await?;
        }
        Ok(Report {
            exit: exit(violations.len()),
            log: vec![format!(
                "{} predictions were compared with their labels; {unmatched} had none",
                cases.len()
            )],
            metrics: None,
        })
    }

    /// The data set, by the format that the environment names.
    pub(super) async fn data(&self) -> anyhow::Result<Data> {
        let format = variable(self.body, "dataset_format")
            .context("the environment has no dataset_format")?;
        let format: Value = serde_json::from_str(format).context("dataset_format")?;
        let files = self.files("dataset_source").await?;
        if format.get("sagemakerCaptureJson").is_some() {
            let mut records = Records::default();
            for file in files {
                records.read(&file).map_err(anyhow::Error::msg)?;
            }
            let bound =
                |name: &str| variable(self.body, name).and_then(|at| Moment::parse(at).ok());
            if let (Some(start), Some(end)) = (bound("start_time"), bound("end_time")) {
                // Whole hours are downloaded; the window may be a part of them.
                records.records.retain(|record| {
                    Moment::parse(&record.at).is_ok_and(|at| at >= start && at < end)
                });
            }
            return Ok(Data::Captured(records));
        }
        if let Some(csv) = format.get("csv") {
            let header = csv
                .get("header")
                .is_some_and(|header| *header == true || *header == "true");
            return Ok(Data::Table(Table::of_csv(&joined(&files, header), header)));
        }
        if format.get("json").is_some() {
            return Ok(Data::Table(Table::of_json_lines(&files.join("\n"))));
        }
        anyhow::bail!(
            "not implemented here: dataset_format {format}; sagemakerCaptureJson, csv and json are"
        )
    }

    /// Labels by the id of the prediction they belong to.
    pub(super) async fn ground_truth(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let files = self.files("ground_truth_source").await?;
        let label = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            let id = text(line.get("eventMetadata")?, "eventId")?.to_owned();
            let label = match line.get("groundTruthData")?.get("data")? {
                Value::String(label) => label.clone(),
                other => other.to_string(),
            };
            Some((id, label))
        };
        Ok(files
            .iter()
            .flat_map(|file| file.lines())
            .filter_map(label)
            .collect())
    }

    /// The content of all files below a local path that a variable names.
    async fn files(&self, variable_name: &str) -> anyhow::Result<Vec<String>> {
        let path = variable(self.body, variable_name)
            .with_context(|| format!("the environment has no {variable_name}"))?
            .trim_end_matches('/');
        let mut files = Vec::new();
        for input in self
            .inputs()
            .filter(|input| below(path, &required(input, "LocalPath")))
        {
            let uri = required(input, "S3Uri");
            if text(input, "S3DataType") == Some("ManifestFile") {
                for object in batch::listed(self.s3, &uri).await? {
                    let content = storage::read(self.s3, &object).await?;
                    files.push(String::from_utf8_lossy(&content).into_owned());
                }
                continue;
            }
            let (bucket, _) = storage::parse(&uri)?;
            for key in storage::list(self.s3, &uri).await? {
                let content = storage::read(self.s3, &format!("s3://{bucket}/{key}")).await?;
                files.push(String::from_utf8_lossy(&content).into_owned());
            }
        }
        anyhow::ensure!(
            !files.is_empty(),
            "there is no data under {path}: no processing input has it"
        );
        Ok(files)
    }

    /// One JSON file that a variable names; none without the variable.
    pub(super) async fn file(&self, variable_name: &str) -> anyhow::Result<Option<Value>> {
        let Some(path) = variable(self.body, variable_name) else {
            return Ok(None);
        };
        let found = self.inputs().find_map(|input| {
            let rest = path.strip_prefix(required(input, "LocalPath").trim_end_matches('/'))?;
            let (uri, rest) = (required(input, "S3Uri"), rest.strip_prefix('/')?);
            let itself = uri.ends_with(&format!("/{rest}"));
            Some(if itself {
                uri
            } else {
                format!("{}/{rest}", uri.trim_end_matches('/'))
            })
        });
        let uri = found.with_context(|| format!("no processing input has {path}"))?;
        let content = storage::read(self.s3, &uri).await?;
        Ok(Some(serde_json::from_slice(&content).with_context(|| uri)?))
    }

    fn inputs(&self) -> impl Iterator<Item = &Value> {
        list(self.body, "ProcessingInputs")
            .iter()
            .filter_map(|input| input.get("S3Input"))
    }

    /// Writes a result to where the output path is uploaded.
    async fn write(&self, name: &str, content: &Value) -> anyhow::Result<()> {
        let path =
            variable(self.body, "output_path").context("the environment has no output_path")?;
        let outputs = list(&self.body["ProcessingOutputConfig"], "Outputs");
        let outputs = outputs.iter().filter_map(|output| output.get("S3Output"));
        let output = outputs
            .filter(|output| below(&required(output, "LocalPath"), path))
            .map(|output| required(output, "S3Uri"))
            .next()
            .with_context(|| format!("no processing output is at {path}"))?;
        let uri = format!("{}/{name}", output.trim_end_matches('/'));
        storage::write(
            self.s3,
            &uri,
            ByteStream::from(content.to_string().into_bytes()),
        )
        .await
    }

    /// The drift of each column as a metric, where the environment asks for metrics.
    fn metrics(&self, found: &Found) -> Option<Value> {
        let told = |name: &str| variable(self.body, name);
        if told("publish_cloudwatch_metrics") != Some("Enabled") || found.drift.is_empty() {
            return None;
        }
        let at = Moment::parse(told("end_time")?).ok()?;
        let dimensions = json!([
            {"Name": "Endpoint", "Value": told("sagemaker_endpoint_name")?},
            {"Name": "MonitoringSchedule", "Value": told("sagemaker_monitoring_schedule_name")?},
        ]);
        let data = found.drift.iter().map(|(feature, distance)| {
            json!({
                "MetricName": format!("feature_baseline_drift_{feature}"),
                "Dimensions": dimensions, "Timestamp": at.epoch_seconds(), "Value": distance,
            })
        });
        Some(json!({"Namespace": NAMESPACE, "MetricData": data.collect::<Vec<_>>()}))
    }
}

/// A data set.
pub(super) enum Data {
    Captured(Records),
    Table(Table),
}

/// Files of CSV as one; a header is in each of them.
fn joined(files: &[String], header: bool) -> String {
    let rows = files.iter().enumerate().map(|(index, file)| {
        let rest = file.split_once('\n').map_or("", |(_, rest)| rest);
        if header && index > 0 { rest } else { file }
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// Whether a path is another or lies below it.
fn below(folder: &str, path: &str) -> bool {
    let rest = path.strip_prefix(folder.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What Model Monitor says in the end; its execution's status is read from it.
pub(crate) fn exit(violations: usize) -> String {
    match violations {
        0 => "Completed: Job completed successfully with no violations.".to_owned(),
        count => {
            format!("CompletedWithViolations: Job completed successfully with {count} violations.")
        }
    }
}

/// Predictions with their labels, and how many have none.
fn merge(
    records: Records,
    labels: &BTreeMap<String, String>,
    attributes: &Attributes,
) -> (Vec<Case>, usize) {
    let count = records.records.len() + records.malformed;
    let cases: Vec<Case> = records
        .records
        .into_iter()
        .filter_map(|record| {
            let label = labels.get(&record.id)?;
            Case::of(record.output?.first()?, attributes, label)
        })
        .collect();
    let unmatched = count - cases.len();
    (cases, unmatched)
}

fn labelled(table: &Table, label: &str, attributes: &Attributes) -> (Vec<Case>, usize) {
    let rows = (0..table.rows).map(|row| {
        let cells = table
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.cells[row].clone()));
        Row::Named(cells.collect())
    });
    let cases: Vec<Case> = rows
        .filter_map(|row| Case::of(&row, attributes, quality::cell(&row, label)?))
        .collect();
    let unmatched = table.rows + table.malformed - cases.len();
    (cases, unmatched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_what_lies_below_it() {
        assert!(below("/opt/in", "/opt/in/e/v1") && below("/opt/in/", "/opt/in"));
        assert!(!below("/opt/in", "/opt/input"));
    }

    #[test]
    fn an_exit_message_tells_how_many_violations_there_are() {
        assert!(exit(0).starts_with("Completed:"));
        assert_eq!(
            exit(2),
            "CompletedWithViolations: Job completed successfully with 2 violations."
        );
    }
}
