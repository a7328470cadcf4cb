//! Monitoring of batch transform jobs: which of what they captured a monitoring job reads.
//!
//! A transform job leaves manifests in `<destination>/input/yyyy/mm/dd/hh` and `.../output/...`, each
//! a list with a prefix and the names of objects below it ("Capture data from batch transform job" in
//! the developer guide). Data quality looks at the input.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use serde_json::{Value, json};

use super::execution::hours;
use crate::app::App;
use crate::json::required;
use crate::moment::Moment;
use crate::storage;

/// The manifests of a time, as URIs.
pub(crate) async fn manifests(
    app: &Arc<App>,
    input: &Value,
    window: (Moment, Moment),
) -> Result<Vec<String>, String> {
    let captured = required(input, "DataCapturedDestinationS3Uri");
    let captured = captured.trim_end_matches('/');
    let (bucket, _) = storage::parse(captured).map_err(|error| error.to_string())?;
    let mut manifests = Vec::new();
    for hour in hours(window.0, window.1) {
        let folder = format!("{captured}/input/{}/", hour.hour_folder());
        let aws = app.aws().map_err(|error| error.to_string())?;
        let keys = storage::list(&aws.s3, &folder).await;
        let keys = keys.map_err(|error| format!("{error:#}"))?;
        manifests.extend(keys.into_iter().map(|key| format!("s3://{bucket}/{key}")));
    }
    Ok(manifests)
}

/// The objects that a manifest lists.
///
/// # Errors
/// It can't be read, or is no manifest.
pub(crate) async fn listed(s3: &Client, manifest: &str) -> anyhow::Result<Vec<String>> {
    let content = storage::read(s3, manifest).await?;
    let lines: Vec<Value> = serde_json::from_slice(&content).with_context(|| {
        format!("{manifest} is no manifest: a list of a prefix and names was expected")
    })?;
    let (first, names) = lines
        .split_first()
        .with_context(|| format!("the manifest {manifest} is empty"))?;
    let prefix = first["prefix"]
        .as_str()
        .with_context(|| format!("the manifest {manifest} begins with no prefix"))?;
    let names = names.iter().filter_map(Value::as_str);
    Ok(names.map(|name| format!("{prefix}{name}")).collect())
}

/// The inputs of a processing job that reads these manifests.
pub(crate) fn sources(input: &Value, manifests: &[String]) -> Vec<Value> {
    let local = required(input, "LocalPath");
    let numbered = manifests.iter().enumerate();
    let sources = numbered.map(|(index, manifest)| {
        json!({
            "InputName": format!("batch_transform_input_{}", index + 1),
            "AppManaged": false,
            "S3Input": {
                "S3Uri": manifest, "LocalPath": format!("{local}/{}", index + 1),
                "S3DataType": "ManifestFile", "S3InputMode": "File",
                "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None",
            },
        })
    });
    sources.collect()
}

/// `dataset_format` ("Container contract inputs"): of batch transform it is that of the data itself.
pub(crate) fn dataset_format(input: &Value) -> Value {
    let format = &input["DatasetFormat"];
    let flag = |holder: &str, member: &str| {
        let is_set = format[holder][member].as_bool().unwrap_or(false);
        json!(is_set.to_string())
    };
    if format.get("Csv").is_some() {
        json!({"csv": {"header": flag("Csv", "Header")}})
    } else if format.get("Json").is_some() {
        json!({"json": {"line": flag("Json", "Line")}})
    } else {
        json!({"parquet": {}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_datas_own() {
        let of = |format: Value| dataset_format(&json!({"DatasetFormat": format})).to_string();
        assert_eq!(
            of(json!({"Csv": {"Header": true}})),
            r#"{"csv":{"header":"true"}}"#
        );
        assert_eq!(of(json!({"Json": {}})), r#"{"json":{"line":"false"}}"#);
        assert_eq!(of(json!({"Parquet": {}})), r#"{"parquet":{}}"#);
    }
}
