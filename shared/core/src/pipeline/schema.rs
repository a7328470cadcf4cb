//! The JSON Schema of a policy, made from the types: editors check a file by it while it is
//! written, and [`super::parse`] checks by the very same schema, so the two can't disagree.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::form::Form;
use super::{CloneRetrain, EventRetrain, Policy, TuningRetrain};
use crate::finding::FindingKind;

/// The JSON Schema (draft 2020-12) of a policy file.
pub fn schema() -> Value {
    cached().clone()
}

/// The same, made once.
pub(super) fn cached() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
        });
        let mut schema = settings
            .into_generator()
            .into_root_schema_for::<Policy>()
            .to_value();
        tidy(&mut schema);
        schema["title"] = json!("Tidegate pipeline policy");
        schema
    })
}

/// TOML has no null, so what may be absent is never null; and forms get their patterns.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            unwrap_option(map);
            if let Some(Value::Array(kinds)) = map.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    map["type"] = only.clone();
                }
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            let form = map
                .get("format")
                .and_then(Value::as_str)
                .and_then(Form::named);
            if let Some(form) = form {
                map.insert("pattern".to_owned(), json!(form.pattern));
                map.insert("minLength".to_owned(), json!(form.length.0));
                map.insert("maxLength".to_owned(), json!(form.length.1));
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// `anyOf: [X, null]` is X; what the field itself says goes before what its type says.
fn unwrap_option(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.get("anyOf") else {
        return;
    };
    if let [Value::Object(some), none] = branches.as_slice()
        && none["type"] == "null"
    {
        let some = some.clone();
        map.remove("anyOf");
        for (key, value) in some {
            map.entry(key).or_insert(value);
        }
    }
}

macro_rules! forms {
    ($($name:ident $form:literal;)*) => {$(
        pub(super) fn $name(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": $form})
        }
    )*};
}

forms! {
    aws_name "aws-name";
    tuning_name "tuning-name";
    clone_prefix "clone-prefix";
    tuning_prefix "tuning-prefix";
    evaluation "evaluation";
    image "image";
    role_arn "role-arn";
    topic_arn "topic-arn";
    instance_type "instance-type";
    content_type "content-type";
    word "word";
    namespace "namespace";
    s3_uri "s3-uri";
    s3_folder "s3-folder";
    kms_key "kms-key";
    monitor_schedule "monitor-schedule";
}

macro_rules! lists {
    ($($name:ident $form:literal $least:literal $most:literal;)*) => {$(
        pub(super) fn $name(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "type": "array",
                "items": {"type": "string", "format": $form},
                "minItems": $least,
                "maxItems": $most,
            })
        }
    )*};
}

lists! {
    content_types "content-type" 1 20;
    subnets "vpc-id" 1 16;
    security_groups "vpc-id" 1 5;
    s3_uris "s3-uri" 0 20;
    schedules "aws-name" 0 40;
    principals "principal" 0 50;
}

/// Tags in IAM: a value may be empty.
pub(super) fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "tag-key"},
        "additionalProperties": {"type": "string", "format": "tag-value"},
        "maxProperties": 5,
        "examples": [{"team": "risk-approvers"}],
    })
}

pub(super) fn environment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "variable"},
        "additionalProperties": {"type": "string", "maxLength": 1024},
        "maxProperties": 100,
    })
}

pub(super) fn dimensions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "dimension"},
        "additionalProperties": {"type": "string", "format": "dimension-value"},
        "minProperties": 1,
        "maxProperties": 30,
        "examples": [{"Variant": "{variant}"}],
    })
}

pub(super) fn finding_alarms(generator: &mut SchemaGenerator) -> Schema {
    let kind = generator.subschema_for::<FindingKind>();
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "word"},
        "additionalProperties": kind,
        "maxProperties": 100,
    })
}

pub(super) fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "parameter"},
        "additionalProperties": {"type": "string", "maxLength": 1024},
        "maxProperties": 200,
    })
}

pub(super) fn inputs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "parameter"},
        "additionalProperties": {"type": "string", "format": "s3-uri"},
        "maxProperties": 20,
        "examples": [{"train": "s3://bucket/train/"}],
    })
}

pub(super) fn hyperparameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"type": "string", "format": "word"},
        "additionalProperties": {"type": "string", "maxLength": 2500},
        "maxProperties": 100,
    })
}

pub(super) fn retrain(generator: &mut SchemaGenerator) -> Schema {
    let described = |description: &str, mut schema: Schema| {
        schema.insert("description".to_owned(), json!(description));
        schema
    };
    let pipeline = described("The SageMaker pipeline's name.", aws_name(generator));
    let parameters = described(
        "Parameters of the pipeline's execution; at most 200.",
        parameters(generator),
    );
    let training_job = generator.subschema_for::<CloneRetrain>();
    let event = generator.subschema_for::<EventRetrain>();
    let tuning_job = generator.subschema_for::<TuningRetrain>();
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "pipeline": pipeline,
            "parameters": parameters,
            "training_job": training_job,
            "event": event,
            "tuning_job": tuning_job,
        },
        "oneOf": [
            {"required": ["pipeline"]},
            {"required": ["training_job"]},
            {"required": ["event"]},
            {"required": ["tuning_job"]},
        ],
    })
}

pub(super) fn training(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "tag": {
                "description": "`key=value` of a tag of the job.",
                "type": "string",
                "format": "tag",
            },
            "job_prefix": {
                "description": "The first characters of the job's name.",
                "type": "string",
                "format": "name-prefix",
            },
        },
        "oneOf": [{"required": ["tag"]}, {"required": ["job_prefix"]}],
    })
}
