//! What holds between the keys of a stage's monitors, and no schema can say.

use super::{Baseline, ModelMonitor, MonitorKind};
use crate::pipeline::{Policy, Stage};

/// The most monitors of a policy: what is kept of them has to fit into the state.
const MOST: usize = 20;

/// Calls `error` if the stages have too many together.
pub(in crate::pipeline) fn check_all(policy: &Policy, error: &mut impl FnMut(&str, String)) {
    let n: usize = policy.stages.iter().map(|s| s.monitors.len()).sum();
    if n > MOST {
        error(
            "stage",
            format!("have {n} monitors together; a pipeline has {MOST} at most"),
        );
    }
}

/// Calls `error` with the dotted key and the message for each rule that is broken.
pub(in crate::pipeline) fn check(stage: &Stage, path: &str, error: &mut impl FnMut(&str, String)) {
    for (index, monitor) in stage.monitors.iter().enumerate() {
        let path = format!("{path}.monitor[{index}]");
        let earlier = &stage.monitors[..index];
        if let Some(first) = earlier.iter().position(|each| is_same(each, monitor)) {
            let of_batch = match &monitor.batch {
                Some(batch) => format!(" of batch data in {}", batch.captured),
                None => String::new(),
            };
            error(
                &format!("{path}.kind"),
                format!(
                    "is {}{of_batch}, as monitor[{first}] is; a champion has one monitor of each \
                     kind, and one of each kind and `batch`",
                    monitor.kind
                ),
            );
        }
        check_monitor(monitor, &path, error);
        if let Some(baseline) = &monitor.baseline {
            let path = format!("{path}.baseline");
            check_baseline(baseline, monitor.kind, &path, error);
        }
    }
}

/// Whether both look at the same thing in the same data.
fn is_same(one: &ModelMonitor, other: &ModelMonitor) -> bool {
    let captured = |m: &ModelMonitor| {
        let batch = m.batch.as_ref();
        batch.map(|b| b.captured.trim_end_matches('/').to_owned())
    };
    one.kind == other.kind && captured(one) == captured(other)
}

fn check_monitor(monitor: &ModelMonitor, path: &str, error: &mut impl FnMut(&str, String)) {
    let kind = monitor.kind;
    let is_of_model = kind == MonitorKind::ModelQuality;
    let of = [
        (
            "ground_truth",
            monitor.ground_truth.is_some(),
            kind.needs_labels(),
        ),
        ("problem", monitor.problem.is_some(), is_of_model),
        ("config", monitor.config.is_some(), kind.takes_config()),
        (
            "label_delay_hours",
            monitor.label_delay_hours > 0,
            kind.needs_labels(),
        ),
    ];
    for (key, _, _) in of.iter().filter(|(_, is_given, fits)| *is_given && !fits) {
        error(
            &format!("{path}.{key}"),
            format!("is not for a monitor of {kind}; leave it out"),
        );
    }
    if kind.needs_labels() && monitor.ground_truth.is_none() {
        error(
            &format!("{path}.ground_truth"),
            format!(
                "is missing; a monitor of {kind} merges answers with labels: give the S3 prefix \
                 where they are, ground_truth = \"s3://bucket/prefix\""
            ),
        );
    }
    if is_of_model && monitor.problem.is_none() {
        error(
            &format!("{path}.problem"),
            "is missing; expected one of \"regression\", \"binary\", \"multiclass\"".to_owned(),
        );
    }
    if is_of_model && monitor.inference.is_none() && monitor.probability.is_none() {
        error(
            path,
            "has neither `inference` nor `probability`: say where the prediction is in an answer, \
             for example inference = \"0\" for the first column"
                .to_owned(),
        );
    }
    if monitor.threshold.is_some() && monitor.probability.is_none() {
        error(
            &format!("{path}.threshold"),
            "is of a `probability`, which is not given: say where it is in an answer, for example \
             probability = \"0\" for the first column, or leave the threshold out"
                .to_owned(),
        );
    }
    let most = monitor.every_hours() * 60;
    if monitor.max_minutes > most {
        error(
            &format!("{path}.max_minutes"),
            format!(
                "is {}; a job may not take longer than the {most} minutes until the next",
                monitor.max_minutes
            ),
        );
    }
}

fn check_baseline(
    baseline: &Baseline,
    kind: MonitorKind,
    path: &str,
    error: &mut impl FnMut(&str, String),
) {
    let is_data = baseline.channel.is_some() || baseline.data.is_some();
    let is_of_model = kind == MonitorKind::ModelQuality;
    let columns = [
        ("label", baseline.label.is_some()),
        ("inference", baseline.inference.is_some()),
        ("probability", baseline.probability.is_some()),
    ];
    for (key, _) in columns.iter().filter(|(_, is_given)| *is_given) {
        if !(is_data && is_of_model) {
            error(
                &format!("{path}.{key}"),
                "is of the data of a baseline of model quality; leave it out".to_owned(),
            );
        }
    }
    let has_prediction = baseline.inference.is_some() || baseline.probability.is_some();
    if is_data && is_of_model && (baseline.label.is_none() || !has_prediction) {
        error(
            path,
            "has to say where label and prediction are in the data: give `label`, and `inference` \
             or `probability`"
                .to_owned(),
        );
    }
    if baseline.statistics.is_some() && (is_data || kind != MonitorKind::DataQuality) {
        error(
            &format!("{path}.statistics"),
            "goes with the `constraints` of data quality alone; leave it out".to_owned(),
        );
    }
    let is_constraints = baseline.constraints.is_some();
    if is_constraints && baseline.statistics.is_none() && kind == MonitorKind::DataQuality {
        error(
            path,
            "has no `statistics`: without statistics.json no drift of data is found; give \
             statistics = \"s3://bucket/prefix/statistics.json\""
                .to_owned(),
        );
    }
}
