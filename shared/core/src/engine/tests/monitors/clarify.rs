//! Bias and attribution: Clarify makes the baseline, with the model of the version that serves.

use crate::name::ScheduleName;
use std::collections::BTreeMap;

use super::{baseline_ends, housekeepings, only, phases, there, with};
use crate::engine::tests::findings::notices;
use crate::event::Approval;
use crate::monitors::Phase;
use crate::pipeline::MonitorKind;
use crate::world::{AnalysisSpec, BaselineFiles, BaselineSpec, RunStatus, WorldErrorKind};

const CLARIFIED: &str = r#"
[[stage.monitor]]
kind = "attribution"
role = "arn:aws:iam::123456789012:role/monitor"
image = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
to = "s3://reports/fraud/"
config = "s3://configs/analysis.json"
baseline = { channel = "train" }
"#;

#[tokio::test]
async fn the_baseline_of_clarify_is_made_with_the_model_that_serves() {
    let mut story = with(CLARIFIED).await;
    story.deploy_first().await;
    housekeepings(&mut story, 2).await;
    let champion = story.ledger.head(&story.group).champions[&story.stage].clone();
    let expected = |job: &ScheduleName| AnalysisSpec {
        template: "s3://configs/analysis.json".to_owned(),
        model: champion.model.clone(),
        folder: job.clone(),
    };
    {
        let state = story.town.0.lock().unwrap();
        let [spec] = state.baseline_specs.as_slice() else {
            panic!("{:?}", state.baseline_specs);
        };
        assert_eq!(spec.analysis.as_ref(), Some(&expected(&spec.name)));
        assert_eq!(spec.data, "s3://data/train-1/");
        assert!(state.set_up.is_empty(), "the baseline is not there yet");
    }
    baseline_ends(&story, RunStatus::Succeeded, None);
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    let name = there(&story).into_keys().next().unwrap();
    {
        let state = story.town.0.lock().unwrap();
        assert_eq!(
            state.specs[0].baseline,
            BaselineFiles {
                constraints: Some(format!("s3://reports/fraud/baselines/{name}/analysis.json")),
                statistics: None,
                config: Some(format!(
                    "s3://reports/fraud/configs/{name}/monitor/analysis_config.json"
                )),
            }
        );
        assert_eq!(state.specs[0].analysis, None, "the job's are used");
    }
    // The next version is explained with its own model.
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    housekeepings(&mut story, 3).await;
    let second = story.ledger.head(&story.group).champions[&story.stage].clone();
    assert_ne!(second.model, champion.model);
    let state = story.town.0.lock().unwrap();
    let models: Vec<&str> = state
        .baseline_specs
        .iter()
        .filter_map(|spec| Some(spec.analysis.as_ref()?.model.as_str()))
        .collect();
    assert_eq!(models, [&champion.model, &second.model]);
}

#[tokio::test]
async fn a_version_that_comes_back_is_explained_with_its_new_model() {
    let mut story = with(CLARIFIED).await;
    story.deploy_first().await;
    housekeepings(&mut story, 2).await;
    story.trained("train-2", 0.96).await;
    story.package(2).await;
    story.until_quiet().await;
    housekeepings(&mut story, 3).await;
    story.town.set_approval(2, Approval::Rejected);
    story.package(2).await;
    story.until_quiet().await;
    assert_eq!(story.champion(), 1);
    housekeepings(&mut story, 3).await;
    // What was written for the model before stays as it is, and so does the job of that name.
    let state = story.town.0.lock().unwrap();
    let [first, _, back] = state.baseline_specs.as_slice() else {
        panic!("{:?}", state.baseline_specs);
    };
    let analysis = |spec: &BaselineSpec| spec.analysis.clone().unwrap();
    assert_ne!(analysis(back).model, analysis(first).model);
    assert_ne!(analysis(back).folder, analysis(first).folder);
    assert_ne!(back.name, first.name);
}

#[tokio::test]
async fn a_packages_own_analysis_is_used_with_the_model_that_serves() {
    let mut story = with(CLARIFIED).await;
    story.deploy_first().await;
    let own = BaselineFiles {
        constraints: Some("s3://own/analysis.json".to_owned()),
        statistics: None,
        config: Some("s3://own/analysis_config.json".to_owned()),
    };
    let baselines = BTreeMap::from([(MonitorKind::Attribution, own)]);
    story.town.0.lock().unwrap().packages[0].drift_baselines = baselines;
    housekeepings(&mut story, 2).await;
    assert_eq!(only(&story), (1, true));
    let name = there(&story).into_keys().next().unwrap();
    let model = story.ledger.head(&story.group).champions[&story.stage]
        .model
        .clone();
    let state = story.town.0.lock().unwrap();
    assert!(state.baseline_specs.is_empty());
    let spec = &state.specs[0];
    let template = "s3://own/analysis_config.json".to_owned();
    let folder = spec.name.clone();
    let expected = AnalysisSpec {
        template,
        model,
        folder,
    };
    assert_eq!(spec.analysis, Some(expected));
    assert_eq!(
        spec.baseline.constraints.as_deref(),
        Some("s3://own/analysis.json")
    );
    let config = format!("s3://reports/fraud/configs/{name}/monitor/analysis_config.json");
    assert_eq!(spec.baseline.config, Some(config));
}

#[tokio::test]
async fn what_clarify_can_not_work_with_is_told_once() {
    let lines = CLARIFIED.replace("config = \"s3://configs/analysis.json\"\n", "");
    let mut story = with(&lines).await;
    story.deploy_first().await;
    housekeepings(&mut story, 3).await;
    let told = notices(&story, "monitor-failed");
    assert_eq!(told.len(), 1);
    let why = "names no analysis config of feature attribution drift";
    assert!(told[0].text().contains(why), "{}", told[0].text());
    // A template that can't do is a refusal of the call.
    let mut story = with(CLARIFIED).await;
    let refused = ("CreateProcessingJob", (1, WorldErrorKind::Refused));
    story.town.0.lock().unwrap().faults.calls.extend([refused]);
    story.deploy_first().await;
    housekeepings(&mut story, 4).await;
    assert_eq!(notices(&story, "monitor-failed").len(), 1);
    assert!(matches!(
        phases(&story)[..],
        [Phase::Failed { made: false, .. }]
    ));
    story.check();
}
