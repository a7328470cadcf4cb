//! What a monitor compares with: the package's own drift baselines, else what the policy names, else
//! what a baselining job makes of data. For bias and attribution the job is Clarify's, whose config
//! is made of the package's or the policy's (`analysis.rs`).

use super::Wanted;
use crate::case::Case;
use crate::facts::Known;
use crate::monitors::analysis::{self, Use};
use crate::name::{JobName, ScheduleName};
use crate::pipeline::MonitorKind;
use crate::world::{AnalysisSpec, BaselineFiles, Question};

/// Where a baseline is.
pub(super) enum Source {
    /// Facts are missing.
    Unknown,
    /// It is there, from here; Clarify's config is made of that template.
    Files(BaselineFiles, Option<AnalysisSpec>, String),
    /// It has to be made of this data, with Clarify by that template.
    Data(String, Option<AnalysisSpec>),
    /// There is none, for this reason.
    None(String),
}

/// What has to be known to tell.
pub(super) fn needs(wanted: &Wanted<'_>) -> Vec<Question> {
    let arn = wanted.package.clone();
    let mut questions = vec![Question::Package { arn }];
    let baseline = wanted.monitor.baseline.as_ref();
    if baseline.is_some_and(|b| b.channel.is_some()) {
        questions.extend(training_job(wanted).map(Question::TrainingJob));
    }
    questions
}

/// The folder of the baseline that is made.
pub(super) fn output(wanted: &Wanted<'_>, job: &ScheduleName) -> String {
    let to = wanted.monitor.to.trim_end_matches('/');
    format!("{to}/baselines/{job}")
}

/// What a baselining job has made.
pub(super) fn made(wanted: &Wanted<'_>, job: &ScheduleName) -> BaselineFiles {
    let folder = output(wanted, job);
    let file = |name: &str| Some(format!("{folder}/{name}"));
    if wanted.monitor.kind.takes_config() {
        return BaselineFiles {
            constraints: file("analysis.json"),
            statistics: None,
            config: config_of(wanted, job),
        };
    }
    BaselineFiles {
        constraints: file("constraints.json"),
        statistics: file("statistics.json"),
        config: None,
    }
}

/// Where the monitor's own analysis config is: each try has its own.
fn config_of(wanted: &Wanted<'_>, job: &ScheduleName) -> Option<String> {
    let is_clarify = wanted.monitor.kind.takes_config();
    is_clarify.then(|| analysis::place(wanted.monitor, job, Use::Monitor))
}

fn training_job(wanted: &Wanted<'_>) -> Option<JobName> {
    JobName::parse(wanted.job.as_deref()?).ok()
}

/// Where the baseline of a monitor is; `job` is the name of what would make it.
pub(super) fn source(case: &Case<'_>, wanted: &Wanted<'_>, job: &ScheduleName) -> Source {
    let (monitor, kind) = (wanted.monitor, wanted.monitor.kind);
    let own = match case.facts.package(&wanted.package) {
        Known::NotAsked => return Source::Unknown,
        Known::Missing => None,
        Known::Is(package) => package.drift_baselines.get(&kind),
    };
    let own = own.cloned().unwrap_or_default();
    let config = own.config.or_else(|| monitor.config.clone());
    if kind.takes_config() && config.is_none() {
        return Source::None(format!(
            "The package of {} names no analysis config of {kind} (DriftCheckBaselines), and the \
             policy's monitor no `config`.",
            wanted.version
        ));
    }
    let files = |constraints: &str, statistics: Option<String>| BaselineFiles {
        constraints: Some(constraints.to_owned()),
        statistics: statistics.filter(|_| kind == MonitorKind::DataQuality),
        config: config_of(wanted, job),
    };
    let analysis = config.filter(|_| kind.takes_config());
    let analysis = analysis.map(|template| AnalysisSpec {
        template,
        model: wanted.model.clone(),
        folder: job.clone(),
    });
    if let Some(constraints) = &own.constraints {
        let from = "the package's drift baselines".to_owned();
        return Source::Files(files(constraints, own.statistics.clone()), analysis, from);
    }
    let Some(baseline) = &monitor.baseline else {
        return Source::None(format!(
            "The package of {} names no baseline of {kind} (DriftCheckBaselines), and the policy's \
             monitor has no `baseline`.",
            wanted.version
        ));
    };
    if let Some(constraints) = &baseline.constraints {
        let given = files(constraints, baseline.statistics.clone());
        return Source::Files(given, analysis, constraints.clone());
    }
    match (&baseline.data, &baseline.channel) {
        (Some(data), _) => Source::Data(data.clone(), analysis),
        (None, Some(channel)) => of_channel(case, wanted, channel, analysis),
        (None, None) => Source::None("The policy's `baseline` names nothing.".to_owned()),
    }
}

fn of_channel(
    case: &Case<'_>,
    wanted: &Wanted<'_>,
    channel: &str,
    analysis: Option<AnalysisSpec>,
) -> Source {
    let version = wanted.version;
    let Some(job) = training_job(wanted) else {
        return Source::None(format!(
            "The package of {version} names no training job (tidegate:job), so its channel \
             {channel} is not known. Give the baseline's `data` in the policy."
        ));
    };
    match case.facts.training_job(&job) {
        Known::NotAsked => Source::Unknown,
        Known::Missing => Source::None(format!(
            "The training job {job} of {version} can't be read any more, so its channel {channel} \
             is not known."
        )),
        Known::Is(described) => {
            if let Some(uri) = described.inputs.get(channel) {
                return Source::Data(uri.clone(), analysis);
            }
            let there: Vec<&str> = described.inputs.keys().map(String::as_str).collect();
            Source::None(format!(
                "The training job {job} of {version} has no channel {channel} in S3; it has {}.",
                if there.is_empty() {
                    "none".to_owned()
                } else {
                    there.join(", ")
                }
            ))
        }
    }
}
