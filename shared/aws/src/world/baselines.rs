//! The drift baselines that a package brings (`DriftCheckBaselines` in the SageMaker API reference),
//! by the kind of monitor that compares with them.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{DriftCheckBaselines, FileSource, MetricsSource};
use tidegate_core::pipeline::MonitorKind;
use tidegate_core::world::BaselineFiles;

/// The baselines of a package; a kind that it says nothing of is left out. For bias the constraints
/// of after training count, which are on what the model answers.
pub(super) fn by_kind(found: Option<DriftCheckBaselines>) -> BTreeMap<MonitorKind, BaselineFiles> {
    let Some(found) = found else {
        return BTreeMap::new();
    };
    let metrics = |source: Option<MetricsSource>| source.and_then(|s| s.s3_uri);
    let file = |source: Option<FileSource>| source.and_then(|s| s.s3_uri);
    let data = found.model_data_quality.map(|d| BaselineFiles {
        constraints: metrics(d.constraints),
        statistics: metrics(d.statistics),
        config: None,
    });
    let quality = found.model_quality.map(|q| BaselineFiles {
        constraints: metrics(q.constraints),
        statistics: metrics(q.statistics),
        config: None,
    });
    let bias = found.bias.map(|b| BaselineFiles {
        constraints: metrics(b.post_training_constraints),
        statistics: None,
        config: file(b.config_file),
    });
    let attribution = found.explainability.map(|e| BaselineFiles {
        constraints: metrics(e.constraints),
        statistics: None,
        config: file(e.config_file),
    });
    [
        (MonitorKind::DataQuality, data),
        (MonitorKind::ModelQuality, quality),
        (MonitorKind::Bias, bias),
        (MonitorKind::Attribution, attribution),
    ]
    .into_iter()
    .filter_map(|(kind, files)| Some((kind, files?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_sagemaker::types::{DriftCheckBias, DriftCheckModelDataQuality};

    use super::*;

    fn source(uri: &str) -> MetricsSource {
        MetricsSource::builder().s3_uri(uri).build()
    }

    #[test]
    fn a_package_says_what_its_monitors_compare_with() {
        let data = DriftCheckModelDataQuality::builder()
            .statistics(source("s3://b/statistics.json"))
            .constraints(source("s3://b/constraints.json"));
        let bias = DriftCheckBias::builder()
            .config_file(FileSource::builder().s3_uri("s3://b/config.json").build())
            .pre_training_constraints(source("s3://b/before.json"))
            .post_training_constraints(source("s3://b/after.json"));
        let found = DriftCheckBaselines::builder()
            .model_data_quality(data.build())
            .bias(bias.build());
        let kinds = by_kind(Some(found.build()));
        let some = |uri: &str| Some(uri.to_owned());
        assert_eq!(kinds.len(), 2);
        assert_eq!(
            kinds[&MonitorKind::DataQuality].statistics,
            some("s3://b/statistics.json")
        );
        assert_eq!(
            kinds[&MonitorKind::Bias],
            BaselineFiles {
                constraints: some("s3://b/after.json"),
                statistics: None,
                config: some("s3://b/config.json"),
            }
        );
        assert!(by_kind(None).is_empty());
    }
}
