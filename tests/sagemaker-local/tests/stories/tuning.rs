//! Tuning jobs: real training jobs with hyperparameters of the ranges, and the best of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::processes::{job, world};
use crate::support::Emulator;

const METRIC: &str = "validation:gain";

/// A tuning job of so many training jobs, whose factors are drawn from a range.
pub(crate) fn tuning(name: &str, jobs: u32, least: i32, most: i32) -> Value {
    let mut definition = job("x", "1");
    let Value::Object(members) = &mut definition else {
        panic!()
    };
    members.remove("TrainingJobName");
    members.remove("Tags");
    let mut fixed = members.remove("HyperParameters").unwrap();
    fixed.as_object_mut().unwrap().remove("factor");
    members.insert("StaticHyperParameters".into(), fixed);
    definition["AlgorithmSpecification"]["MetricDefinitions"] =
        json!([{"Name": METRIC, "Regex": "validation:gain=([-0-9.]+)"}]);
    json!({
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": METRIC},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"IntegerParameterRanges": [
                {"Name": "factor", "MinValue": least.to_string(), "MaxValue": most.to_string()}]},
        },
        "TrainingJobDefinition": definition,
        "Tags": [{"Key": "tidegate:pipeline", "Value": "fraud"}],
    })
}

async fn described(emulator: &Emulator, name: &str) -> Value {
    let input = json!({ "HyperParameterTuningJobName": name });
    emulator.ok("DescribeHyperParameterTuningJob", input).await
}

/// Moves the clock until the tuning job has ended.
pub(crate) async fn ended(emulator: &Emulator, name: &str) -> Value {
    let began = Instant::now();
    loop {
        let described = described(emulator, name).await;
        let status = described["HyperParameterTuningJobStatus"].as_str().unwrap();
        if !["InProgress", "Stopping"].contains(&status) {
            return described;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{described}");
        emulator.advance(30).await;
    }
}

#[tokio::test]
async fn a_tuning_job_runs_real_training_jobs_and_names_the_best() {
    let (moto, emulator) = world(&[]).await;
    let queue = moto.event_queue().await;
    let asked = tuning("tune", 4, 1, 1000);
    emulator.ok("CreateHyperParameterTuningJob", asked).await;
    let done = ended(&emulator, "tune").await;
    assert_eq!(done["HyperParameterTuningJobStatus"], "Completed", "{done}");
    assert_eq!(done["TrainingJobStatusCounters"]["Completed"], 4);
    assert_eq!(done["ObjectiveStatusCounters"]["Succeeded"], 4);
    let list = json!({
        "HyperParameterTuningJobName": "tune", "SortBy": "FinalObjectiveMetricValue",
        "SortOrder": "Descending", "MaxResults": 100,
    });
    let list = emulator
        .ok("ListTrainingJobsForHyperParameterTuningJob", list)
        .await;
    let rows = list["TrainingJobSummaries"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(
        done["BestTrainingJob"]["TrainingJobName"],
        rows[0]["TrainingJobName"]
    );
    let value = |row: &Value| {
        let metric = &row["FinalHyperParameterTuningJobObjectiveMetric"];
        metric["Value"].as_f64().unwrap()
    };
    assert!(
        rows.windows(2)
            .all(|pair| value(&pair[0]) >= value(&pair[1]))
    );

    let best = rows[0]["TrainingJobName"].as_str().unwrap();
    assert!(best.starts_with("tune-00"), "{best}");
    let best = emulator
        .ok("DescribeTrainingJob", json!({ "TrainingJobName": best }))
        .await;
    assert_eq!(best["TuningJobArn"], done["HyperParameterTuningJobArn"]);
    let drawn = best["HyperParameters"]["factor"].as_str().unwrap();
    assert_eq!(best["HyperParameters"]["_tuning_objective_metric"], METRIC);
    assert_eq!(rows[0]["TunedHyperParameters"], json!({ "factor": drawn }));
    assert!((value(&rows[0]) - drawn.parse::<f64>().unwrap() / 10.0).abs() < 1e-9);

    let events = moto.drain(&queue).await;
    let of = |kind: &str| -> Vec<Value> {
        let all = events.iter().filter(|event| event["detail-type"] == kind);
        all.map(|event| event["detail"].clone()).collect()
    };
    let told = of("SageMaker HyperParameter Tuning Job State Change");
    let statuses: Vec<_> = told
        .iter()
        .map(|e| &e["HyperParameterTuningJobStatus"])
        .collect();
    assert_eq!(statuses, ["InProgress", "Completed"]);
    assert!(told[1].get("BestTrainingJob").is_none());
    assert!(told[1]["CreationTime"].is_string());
    // Its training jobs carry its tags, and their events do not say whose they are.
    let jobs = of("SageMaker Training Job State Change");
    assert!(
        jobs.iter()
            .all(|e| e["Tags"] == json!({"tidegate:pipeline": "fraud"}))
    );
    assert!(jobs.iter().all(|e| e.get("TuningJobArn").is_none()));
}

#[tokio::test]
async fn a_tuning_job_whose_training_jobs_all_fail_has_failed() {
    let (_moto, emulator) = world(&[]).await;
    let asked = tuning("tune", 2, -9, -1);
    emulator.ok("CreateHyperParameterTuningJob", asked).await;
    let done = ended(&emulator, "tune").await;
    assert_eq!(done["HyperParameterTuningJobStatus"], "Failed");
    let why = done["FailureReason"].as_str().unwrap();
    assert!(why.starts_with("All training jobs failed"), "{why}");
    assert!(done.get("BestTrainingJob").is_none());
    assert_eq!(done["TrainingJobStatusCounters"]["NonRetryableError"], 2);
}

#[tokio::test]
async fn a_tuning_job_that_is_stopped_stops_its_training_jobs() {
    let (_moto, emulator) = world(&[]).await;
    let asked = tuning("tune", 50, 1, 9);
    emulator.ok("CreateHyperParameterTuningJob", asked).await;
    let name = json!({ "HyperParameterTuningJobName": "tune" });
    emulator
        .ok("StopHyperParameterTuningJob", name.clone())
        .await;
    let done = ended(&emulator, "tune").await;
    assert_eq!(done["HyperParameterTuningJobStatus"], "Stopped");
    assert!(
        done["TrainingJobStatusCounters"]["Stopped"]
            .as_u64()
            .unwrap()
            <= 2
    );
    let error = emulator.refused("StopHyperParameterTuningJob", name).await;
    assert!(error.message.contains("Stopped"), "{}", error.message);
}

#[tokio::test]
async fn a_tuning_job_that_makes_no_sense_is_refused() {
    let (_moto, emulator) = world(&[]).await;
    let mut both = tuning("tune", 1, 1, 9);
    both["TrainingJobDefinitions"] = json!([both["TrainingJobDefinition"]]);
    let mut reserved = tuning("tune", 1, 1, 9);
    reserved["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"] =
        json!(METRIC);
    let mut other = tuning("tune", 1, 1, 9);
    other["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] =
        json!("loss");
    let mut long = tuning("tune", 1, 1, 9);
    long["HyperParameterTuningJobName"] = json!("x".repeat(33));
    for (asked, said) in [
        (both, "Exactly one"),
        (reserved, "reserved"),
        (other, "not among the metric definitions"),
        (long, "32"),
    ] {
        let error = emulator
            .refused("CreateHyperParameterTuningJob", asked)
            .await;
        assert_eq!(error.code, "ValidationException");
        assert!(error.message.contains(said), "{}", error.message);
    }
    emulator
        .ok("CreateHyperParameterTuningJob", tuning("tune", 1, 1, 9))
        .await;
    let again = tuning("Tune", 1, 1, 9);
    let error = emulator
        .refused("CreateHyperParameterTuningJob", again)
        .await;
    assert_eq!(error.code, "ResourceInUse");
    let absent = json!({ "HyperParameterTuningJobName": "nobody" });
    let error = emulator
        .refused("DescribeHyperParameterTuningJob", absent)
        .await;
    assert_eq!(error.code, "ResourceNotFound");
}
