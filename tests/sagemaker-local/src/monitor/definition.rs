//! Job definitions of the four kinds of monitors, and what a schedule's job is to do, whether it
//! names a definition or brings its own.

use serde_json::{Map, Value, json};

use super::batch;
use crate::arn;
use crate::errors::ApiError;
use crate::json::{list, pick, required, text, without};
use crate::moment::{Moment, Span};
use crate::page::{self, Order, Row};
use crate::processing;
use crate::resource::Resource;
use crate::sagemaker::Call;
use crate::world::World;

/// What is monitored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    DataQuality,
    ModelQuality,
    ModelBias,
    ModelExplainability,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::DataQuality,
        Self::ModelQuality,
        Self::ModelBias,
        Self::ModelExplainability,
    ];

    /// As the API writes it; members of a definition begin with it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DataQuality => "DataQuality",
            Self::ModelQuality => "ModelQuality",
            Self::ModelBias => "ModelBias",
            Self::ModelExplainability => "ModelExplainability",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn arn(self, name: &str) -> String {
        let kind = match self {
            Self::DataQuality => "data-quality-job-definition",
            Self::ModelQuality => "model-quality-job-definition",
            Self::ModelBias => "model-bias-job-definition",
            Self::ModelExplainability => "model-explainability-job-definition",
        };
        arn::sagemaker(kind, name)
    }

    /// The analyzer's name for what it is to do.
    const fn analysis(self) -> &'static str {
        match self {
            Self::DataQuality => "DATA_QUALITY",
            Self::ModelQuality => "MODEL_QUALITY",
            Self::ModelBias => "MODEL_BIAS",
            Self::ModelExplainability => "MODEL_EXPLAINABILITY",
        }
    }
}

pub(crate) fn create(
    kind: Kind,
    call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let name = required(input, "JobDefinitionName");
    let arn = kind.arn(&name);
    if world
        .monitoring
        .definitions
        .contains_key(&(kind, name.clone()))
    {
        return Err(ApiError::in_use(format!(
            "Job Definition with name {name} already exists: {arn}"
        )));
    }
    let sources = &input[format!("{}JobInput", kind.name())];
    match (
        sources.get("EndpointInput"),
        sources.get("BatchTransformInput"),
    ) {
        (Some(_), None) | (None, Some(_)) => {}
        _ => {
            return Err(ApiError::validation(
                "Exactly one of EndpointInput and BatchTransformInput must be specified.",
            ));
        }
    }
    world.tags.create(&arn, input);
    let mut body = without(input, &["Tags"]);
    if kind == Kind::DataQuality {
        body.entry("StoppingCondition")
            .or_insert(json!({"MaxRuntimeInSeconds": 3600}));
    }
    let definition = Resource {
        arn: arn.clone(),
        created: call.now,
        body,
    };
    world
        .monitoring
        .definitions
        .insert((kind, name), definition);
    Ok(json!({"JobDefinitionArn": arn}))
}

pub(crate) fn describe(kind: Kind, world: &World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, kind, &required(input, "JobDefinitionName"))?.describe("JobDefinitionArn"))
}

pub(crate) fn list_definitions(
    kind: Kind,
    world: &World,
    input: &Value,
) -> Result<Value, ApiError> {
    let rows = world
        .monitoring
        .definitions
        .iter()
        .filter(|((of, _), _)| *of == kind)
        .filter_map(|((_, name), definition)| {
            let endpoint = endpoint_input(kind, &definition.body)
                .and_then(|input| text(input, "EndpointName"))?;
            let wanted = text(input, "EndpointName").is_none_or(|wanted| wanted == endpoint);
            wanted.then(|| Row {
                name: name.clone(),
                status: String::new(),
                created: definition.created,
                modified: definition.created,
                summary: json!({
                    "MonitoringJobDefinitionName": name,
                    "MonitoringJobDefinitionArn": definition.arn,
                    "CreationTime": definition.created.json(),
                    "EndpointName": endpoint,
                }),
            })
        });
    page::answer(
        input,
        "JobDefinitionSummaries",
        rows.collect(),
        Order::Descending,
    )
}

pub(crate) fn delete(kind: Kind, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "JobDefinitionName");
    let arn = find(world, kind, &name)?.arn.clone();
    let mut schedules = world.monitoring.schedules.iter();
    let used = schedules.find(|(_, schedule)| {
        schedule.kind == kind
            && text(&schedule.config, "MonitoringJobDefinitionName") == Some(&name)
    });
    if let Some((schedule, _)) = used {
        return Err(ApiError::validation(format!(
            "Job Definition {name} is in use by the Monitoring Schedule {schedule} and can't be deleted."
        )));
    }
    world.monitoring.definitions.remove(&(kind, name));
    world.tags.remove(&arn);
    Ok(json!({}))
}

/// The definition, or AWS's refusal.
pub(crate) fn find<'a>(world: &'a World, kind: Kind, name: &str) -> Result<&'a Resource, ApiError> {
    world
        .monitoring
        .definitions
        .get(&(kind, name.to_owned()))
        .ok_or_else(|| {
            ApiError::not_found(format!(
                "Job Definition with name {name} does not exist: {}",
                kind.arn(name)
            ))
        })
}

fn endpoint_input(kind: Kind, body: &Map<String, Value>) -> Option<&Value> {
    body.get(&format!("{}JobInput", kind.name()))?
        .get("EndpointInput")
}

/// What one schedule's jobs are to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    kind: Kind,
    /// `EndpointInput`, else `BatchTransformInput`.
    pub(crate) input: Value,
    /// `S3Output`.
    output: Value,
    /// `BaselineConfig`.
    baseline: Value,
    /// The image, and for model quality the problem's type.
    app: Value,
    cluster: Value,
    environment: Value,
    pub(crate) ground_truth: Option<String>,
    /// Role, network and stopping condition.
    common: Map<String, Value>,
}

/// One run of a plan.
pub(crate) struct Run<'a> {
    pub(crate) schedule: &'a str,
    pub(crate) schedule_arn: &'a str,
    /// The data's first and last moment.
    pub(crate) window: (Moment, Moment),
    pub(crate) scheduled: Moment,
    /// Folders in S3 that have data; of batch transform, manifests.
    pub(crate) captured: &'a [String],
    pub(crate) ground_truth: &'a [String],
}

const GROUND_TRUTH: &str = "/opt/ml/processing/groundtruth";

impl Plan {
    /// From a schedule's config; `None` if it names a definition that is gone, or one without an
    /// input or an output.
    pub(crate) fn of(world: &World, kind: Kind, config: &Value) -> Option<Self> {
        const COMMON: [&str; 3] = ["RoleArn", "NetworkConfig", "StoppingCondition"];
        if let Some(inline) = config.get("MonitoringJobDefinition") {
            let outputs = list(&inline["MonitoringOutputConfig"], "MonitoringOutputs");
            return Some(Self {
                kind,
                input: source_of(list(inline, "MonitoringInputs").first()?)?,
                output: outputs.first()?.get("S3Output")?.clone(),
                baseline: inline["BaselineConfig"].clone(),
                app: inline["MonitoringAppSpecification"].clone(),
                cluster: inline["MonitoringResources"]["ClusterConfig"].clone(),
                environment: inline["Environment"].clone(),
                ground_truth: None,
                common: pick(inline, &COMMON),
            });
        }
        let body = &find(world, kind, text(config, "MonitoringJobDefinitionName")?)
            .ok()?
            .body;
        let part = |name: &str| {
            body.get(&format!("{}{name}", kind.name()))
                .cloned()
                .unwrap_or_default()
        };
        let (app, input) = (part("AppSpecification"), part("JobInput"));
        Some(Self {
            kind,
            input: source_of(&input)?,
            output: list(&part("JobOutputConfig"), "MonitoringOutputs")
                .first()?
                .get("S3Output")?
                .clone(),
            baseline: part("BaselineConfig"),
            cluster: body.get("JobResources")?.get("ClusterConfig")?.clone(),
            environment: app["Environment"].clone(),
            ground_truth: input
                .get("GroundTruthS3Input")
                .map(|truth| required(truth, "S3Uri")),
            common: pick(&Value::Object(body.clone()), &COMMON),
            app,
        })
    }

    /// The endpoint whose data is looked at; none for batch transform.
    pub(crate) fn endpoint(&self) -> Option<String> {
        text(&self.input, "EndpointName").map(str::to_owned)
    }

    /// How long a job may run.
    pub(crate) fn longest_run(&self) -> Option<Span> {
        let seconds = self
            .common
            .get("StoppingCondition")?
            .get("MaxRuntimeInSeconds")?;
        seconds.as_i64().map(Span::seconds)
    }

    /// What a job would need that is not here, if anything.
    pub(crate) fn lacks(&self) -> Option<String> {
        let image = required(&self.app, "ImageUri");
        let fits = match self.kind {
            Kind::DataQuality | Kind::ModelQuality => processing::is_analyzer(&image),
            Kind::ModelBias | Kind::ModelExplainability => processing::is_clarify(&image),
        };
        if !fits {
            return Some(format!("{} by the image {image}", self.kind.name()));
        }
        if self.endpoint().is_none() && self.kind != Kind::DataQuality {
            return Some(format!("{} of batch transform jobs", self.kind.name()));
        }
        let missing = [
            (&self.app, "RecordPreprocessorSourceUri"),
            (&self.input, "ExcludeFeaturesAttribute"),
            (&self.input, "FeaturesAttribute"),
        ];
        let missing = missing
            .into_iter()
            .find(|(holder, member)| holder.get(member).is_some());
        missing.map(|(_, member)| member.to_owned())
    }

    /// The folder in S3 that a run's results go to: `<output>/<endpoint>/<schedule>/yyyy/mm/dd/hh`.
    pub(crate) fn folder(&self, run: &Run<'_>) -> String {
        let output = required(&self.output, "S3Uri");
        let endpoint = self.endpoint().map(|name| name + "/").unwrap_or_default();
        let output = output.trim_end_matches('/');
        let hour = run.scheduled.hour_folder();
        format!("{output}/{endpoint}{}/{hour}", run.schedule)
    }

    /// The processing job of a run, as Model Monitor would create it.
    pub(crate) fn job(&self, run: &Run<'_>) -> Map<String, Value> {
        let result = json!({
            "S3Uri": self.folder(run),
            "LocalPath": required(&self.output, "LocalPath"),
            "S3UploadMode": "Continuous",
        });
        let outputs = json!({"Outputs": [{"OutputName": "result", "S3Output": result}]});
        let mut body = self.common.clone();
        let app = pick(
            &self.app,
            &["ImageUri", "ContainerEntrypoint", "ContainerArguments"],
        );
        for (member, value) in [
            ("AppSpecification", Value::Object(app)),
            ("Environment", self.variables(run)),
            ("MonitoringScheduleArn", json!(run.schedule_arn)),
            ("ProcessingInputs", json!(self.sources(run))),
            ("ProcessingOutputConfig", outputs),
            (
                "ProcessingResources",
                json!({"ClusterConfig": self.cluster}),
            ),
        ] {
            body.insert(member.to_owned(), value);
        }
        body
    }

    /// The environment ("Container contract inputs").
    fn variables(&self, run: &Run<'_>) -> Value {
        let endpoint = self.endpoint();
        let format = match endpoint {
            Some(_) => json!({"sagemakerCaptureJson": {
                "captureIndexNames": ["endpointInput", "endpointOutput"],
            }}),
            None => batch::dataset_format(&self.input),
        };
        let mut variables = json!({
            "analysis_type": self.kind.analysis(),
            "dataset_format": format.to_string(),
            "dataset_source": required(&self.input, "LocalPath"),
            "output_path": required(&self.output, "LocalPath"),
            "start_time": run.window.0.iso_seconds(),
            "end_time": run.window.1.iso_seconds(),
            "publish_cloudwatch_metrics": "Enabled",
            "sagemaker_monitoring_schedule_name": run.schedule,
        });
        if let Some(endpoint) = endpoint {
            variables["sagemaker_endpoint_name"] = json!(endpoint);
        }
        for (variable, holder, member) in [
            ("inference_attribute", &self.input, "InferenceAttribute"),
            ("probability_attribute", &self.input, "ProbabilityAttribute"),
            (
                "probability_threshold_attribute",
                &self.input,
                "ProbabilityThresholdAttribute",
            ),
            ("problem_type", &self.app, "ProblemType"),
        ] {
            match holder.get(member) {
                Some(Value::String(text)) => variables[variable] = json!(text),
                Some(number) => variables[variable] = json!(number.to_string()),
                None => {}
            }
        }
        for (variable, uri, folder) in self.baselines() {
            let file = uri.rsplit('/').next().unwrap_or(uri);
            variables[variable] = json!(format!("{folder}/{file}"));
        }
        if !run.ground_truth.is_empty() {
            variables["ground_truth_source"] = json!(GROUND_TRUTH);
        }
        for (variable, value) in self.environment.as_object().into_iter().flatten() {
            variables[variable] = value.clone();
        }
        variables
    }

    /// The inputs: the baseline, each folder of captured data, the ground truth.
    fn sources(&self, run: &Run<'_>) -> Vec<Value> {
        let mut sources: Vec<Value> = self
            .baselines()
            .into_iter()
            .map(|(variable, uri, folder)| source(variable, uri, folder))
            .collect();
        if let Some(uri) = text(&self.app, "ConfigUri") {
            let path = "/opt/ml/processing/input/analysis_config";
            sources.push(source("analysis_config", uri, path));
        }
        if self.endpoint().is_none() {
            sources.extend(batch::sources(&self.input, run.captured));
            return sources;
        }
        let local = required(&self.input, "LocalPath");
        for (index, folder) in run.captured.iter().enumerate() {
            // Endpoint, variant, year, month, day, hour.
            let mut place: Vec<_> = folder.rsplit('/').take(6).collect();
            place.reverse();
            let path = format!("{local}/{}", place.join("/"));
            sources.push(source(
                &format!("endpoint_input_{}", index + 1),
                folder,
                &path,
            ));
        }
        for (index, folder) in run.ground_truth.iter().enumerate() {
            let path = format!("{GROUND_TRUTH}/{}", index + 1);
            sources.push(source(
                &format!("ground_truth_input_{}", index + 1),
                folder,
                &path,
            ));
        }
        sources
    }

    /// The baseline's files: the variable that names each, where it is, and where it is put.
    fn baselines(&self) -> Vec<(&'static str, &str, &'static str)> {
        let uri = |member: &str| text(self.baseline.get(member)?, "S3Uri");
        let statistics = uri("StatisticsResource").map(|uri| {
            (
                "baseline_statistics",
                uri,
                "/opt/ml/processing/baseline/stats",
            )
        });
        let constraints = uri("ConstraintsResource").map(|uri| {
            (
                "baseline_constraints",
                uri,
                "/opt/ml/processing/baseline/constraints",
            )
        });
        statistics.into_iter().chain(constraints).collect()
    }
}

fn source_of(inputs: &Value) -> Option<Value> {
    let input = inputs.get("EndpointInput");
    input.or_else(|| inputs.get("BatchTransformInput")).cloned()
}

fn source(name: &str, uri: &str, path: &str) -> Value {
    json!({
        "InputName": name,
        "AppManaged": false,
        "S3Input": {
            "S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None",
        },
    })
}
