//! `tidegate status`: what serves, what is on its way and how it does.

use std::fmt::Write as _;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_core::ledger::{Ledger as _, Snapshot};
use tidegate_core::monitors::Monitors;
use tidegate_core::name::{
    EndpointName, GroupName, PackageVersion, PipelineName, ScheduleName, StageName,
};
use tidegate_core::pipeline::{Mode, MonitorKind};
use tidegate_core::rollout::{Phase, Rollout, Source};

use crate::answer::Answer;
use crate::args;
use crate::connect::{Connection, latest};
use crate::error::Problem;
use crate::render::{Paint, Screen, Table, clean, count};
use crate::rollout::facts::{GuardStatus, who};

/// How many pipelines are read side by side.
const AT_ONCE: usize = 8;

/// The status of one pipeline, or of all.
pub(crate) async fn run(
    args: &args::Status,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let snapshots: Vec<Snapshot> = match &args.pipeline {
        Some(name) => vec![connection.find(name).await?.1],
        None => stream::iter(connection.groups().await?)
            .map(|group| async move { connection.ledger().load(&group, None).await })
            .buffered(AT_ONCE)
            .try_filter_map(|snapshot| std::future::ready(Ok(snapshot)))
            .try_collect()
            .await
            .map_err(connection.failed())?,
    };
    let screen = screen.no_earlier_than(latest(&snapshots));
    let status = Status {
        pipelines: snapshots.iter().map(PipelineStatus::of).collect(),
    };
    let text = status.text(&screen);
    Answer::new(status, text)
}

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct Status {
    pipelines: Vec<PipelineStatus>,
}

#[derive(Debug, Serialize)]
struct PipelineStatus {
    pipeline: PipelineName,
    group: GroupName,
    /// Whether Tidegate acts, or only says what it would do.
    mode: Mode,
    policy: PolicyStatus,
    /// Audit entries so far.
    entries: u64,
    /// Calls that are decided and not done yet.
    pending_calls: usize,
    stages: Vec<StageStatus>,
}

#[derive(Debug, Serialize)]
struct PolicyStatus {
    version: u32,
    commit: Option<String>,
    at: Timestamp,
    by: String,
}

#[derive(Debug, Serialize)]
struct StageStatus {
    stage: StageName,
    endpoint: EndpointName,
    champion: Option<ChampionStatus>,
    rollout: Option<RolloutStatus>,
    waiting: Option<WaitingStatus>,
    /// The monitors that Tidegate made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    monitors: Vec<MonitorStatus>,
}

#[derive(Debug, Serialize)]
struct ChampionStatus {
    version: PackageVersion,
    package: String,
    since: Timestamp,
}

#[derive(Debug, Serialize)]
struct MonitorStatus {
    name: ScheduleName,
    kind: MonitorKind,
    version: PackageVersion,
    /// Whether it looks at batch transform data.
    batch: bool,
    /// How far it is, for people.
    state: String,
}

#[derive(Debug, Serialize)]
struct WaitingStatus {
    version: PackageVersion,
    package: String,
    approved_at: Timestamp,
    approved_by: Option<String>,
    /// It replaces a version that must not serve any more.
    urgent: bool,
}

/// A rollout in short, running or finished.
#[derive(Debug, Serialize)]
pub(crate) struct RolloutStatus {
    pub(crate) id: String,
    /// None for a canary that somebody else deployed without a package of the group.
    pub(crate) version: Option<PackageVersion>,
    /// The candidate, for people.
    pub(crate) name: String,
    pub(crate) stage: StageName,
    pub(crate) endpoint: EndpointName,
    /// The phase, a word of the ledger's.
    pub(crate) phase: String,
    /// The phase for people.
    pub(crate) phase_text: String,
    /// Why it ended so or is taken back.
    pub(crate) why: Option<String>,
    /// The candidate's share of traffic now, percent.
    pub(crate) weight: u8,
    /// Its share over time.
    pub(crate) weights: Vec<Weight>,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// Minutes that were judged, as far as they are kept.
    pub(crate) minutes: usize,
    /// Somebody else shifts the traffic, and Tidegate only judges.
    pub(crate) observed: bool,
    /// What it is compared with once it has all the traffic.
    pub(crate) compared_with: Option<Source>,
    pub(crate) guards: Vec<GuardStatus>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Weight {
    pub(crate) at: Timestamp,
    pub(crate) percent: u8,
}

impl PipelineStatus {
    fn of(snapshot: &Snapshot) -> Self {
        let Snapshot {
            applied,
            head,
            pending,
            ..
        } = snapshot;
        let stages = applied.policy.stages.iter().map(|stage| StageStatus {
            stage: stage.name.clone(),
            endpoint: stage.endpoint.clone(),
            champion: head
                .champions
                .get(&stage.name)
                .map(|champion| ChampionStatus {
                    version: champion.candidate.version,
                    package: champion.candidate.package.clone(),
                    since: champion.since,
                }),
            rollout: head.rollouts.get(&stage.name).map(RolloutStatus::of),
            waiting: head.waiting.get(&stage.name).map(|waiting| WaitingStatus {
                version: waiting.candidate.version,
                package: waiting.candidate.package.clone(),
                approved_at: waiting.candidate.approved_at,
                approved_by: waiting.candidate.approved_by.clone(),
                urgent: waiting.urgent,
            }),
            monitors: MonitorStatus::of(&head.monitors, &stage.endpoint),
        });
        Self {
            pipeline: applied.policy.pipeline.name.clone(),
            group: applied.policy.pipeline.group.clone(),
            mode: applied.policy.pipeline.mode,
            policy: PolicyStatus {
                version: applied.version,
                commit: applied.commit.clone(),
                at: applied.at,
                by: applied.by.clone(),
            },
            entries: head.tip.n,
            pending_calls: pending.len(),
            stages: stages.collect(),
        }
    }
}

impl MonitorStatus {
    fn in_words(&self) -> String {
        let (kind, version, state) = (self.kind, self.version, clean(&self.state));
        let of_batch = if self.batch { " of batch data" } else { "" };
        format!("{kind}{of_batch} of {version}: {state}")
    }

    fn of(monitors: &Monitors, endpoint: &EndpointName) -> Vec<Self> {
        let of_endpoint = monitors
            .kept
            .iter()
            .filter(|(_, kept)| &kept.endpoint == endpoint);
        of_endpoint
            .map(|(name, kept)| Self {
                name: name.clone(),
                kind: kept.kind,
                version: kept.version,
                batch: kept.batch,
                state: kept.in_words(),
            })
            .collect()
    }
}

impl RolloutStatus {
    /// A rollout in short, with the guards that saw anything.
    pub(crate) fn of(rollout: &Rollout) -> Self {
        let mut status = Self::with_all_guards(rollout);
        status.guards.retain(GuardStatus::saw_anything);
        status
    }

    /// A rollout in short, with all its guards.
    pub(crate) fn with_all_guards(rollout: &Rollout) -> Self {
        let why = match &rollout.phase {
            Phase::RollingBack { why, .. }
            | Phase::RolledBack { why }
            | Phase::Superseded { why } => Some(why.sentence.clone()),
            Phase::Failed { why } | Phase::Observed { why, .. } => Some(why.clone()),
            _ => None,
        };
        Self {
            id: rollout.id.to_string(),
            version: rollout.version(),
            name: who(rollout),
            stage: rollout.stage.clone(),
            endpoint: rollout.endpoint.clone(),
            phase: phase_word(&rollout.phase),
            phase_text: rollout.phase_word(),
            why,
            weight: rollout.weights.last().map_or(0, |(_, percent)| *percent),
            weights: rollout
                .weights
                .iter()
                .map(|&(at, percent)| Weight { at, percent })
                .collect(),
            started: rollout.started,
            ended: rollout.ended,
            minutes: rollout.minutes.len(),
            observed: rollout.observed.is_some(),
            compared_with: rollout.past.as_ref().map(|past| past.source),
            guards: GuardStatus::all(rollout),
        }
    }

    /// The guard that objects most: the one that took the canary back, else the one that is nearest
    /// to it.
    fn worst(&self) -> Option<&GuardStatus> {
        self.guards.iter().max_by(|a, b| {
            let found = |g: &GuardStatus| g.crossed.is_some();
            let near = |g: &GuardStatus| g.harm - g.needed;
            found(a).cmp(&found(b)).then(near(a).total_cmp(&near(b)))
        })
    }

    fn line(&self, screen: &Screen) -> String {
        let mut line = format!("{} {}", self.name, self.phase_text);
        if self.weight > 0 {
            let _ = write!(line, " at {} %", self.weight);
        }
        let _ = write!(line, ", started {}", screen.age(self.started));
        let why = self.why.as_deref().unwrap_or_default();
        // A canary that a guard takes back has that guard's sentence as its reason.
        if let Some(worst) = self.worst()
            && !why.contains(&worst.sentence)
        {
            let _ = write!(line, "; {}", worst.sentence);
        }
        if !why.is_empty() {
            let _ = write!(line, "; {why}");
        }
        line
    }
}

/// The phase as the ledger spells it.
pub(crate) fn phase_word(phase: &Phase) -> String {
    let json = serde_json::to_value(phase).unwrap_or_default();
    json["phase"].as_str().unwrap_or("unknown").to_owned()
}

impl Status {
    fn text(&self, screen: &Screen) -> String {
        if self.pipelines.is_empty() {
            return "No pipeline is in force yet: `tidegate apply FILE` puts one in force.\n"
                .to_owned();
        }
        let blocks: Vec<String> = self.pipelines.iter().map(|p| p.text(screen)).collect();
        blocks.join("\n")
    }
}

impl PipelineStatus {
    fn text(&self, screen: &Screen) -> String {
        let Self {
            pipeline,
            group,
            policy,
            ..
        } = self;
        let name = screen.paint(Paint::Bold, pipeline.as_str());
        let mode = match self.mode {
            Mode::Act => "",
            Mode::Observe => ", mode observe: it judges and tells, and changes nothing",
        };
        let mut text = format!(
            "{name}  group {group}, policy {} of {} by {}{mode}\n",
            policy.version,
            screen.time(policy.at),
            clean(&policy.by),
        );
        let mut table = Table::new(&["STAGE", "ENDPOINT", "CHAMPION", "WAITING", "ROLLOUT"]);
        let nothing = || ("-".to_owned(), Paint::Dim);
        for stage in &self.stages {
            table.row([
                (stage.stage.to_string(), Paint::Plain),
                (stage.endpoint.to_string(), Paint::Plain),
                stage.champion.as_ref().map_or_else(nothing, |champion| {
                    (
                        format!("{}, {}", champion.version, screen.age(champion.since)),
                        Paint::Good,
                    )
                }),
                stage.waiting.as_ref().map_or_else(nothing, |waiting| {
                    let urgent = if waiting.urgent { ", urgent" } else { "" };
                    (format!("{}{urgent}", waiting.version), Paint::Busy)
                }),
                stage.rollout.as_ref().map_or_else(nothing, |rollout| {
                    let taken_back = rollout.phase == "rolling_back" || rollout.phase == "failed";
                    let paint = if taken_back { Paint::Bad } else { Paint::Busy };
                    (rollout.line(screen), paint)
                }),
            ]);
        }
        text.push_str(&table.render(screen, 2));
        for stage in self.stages.iter().filter(|s| !s.monitors.is_empty()) {
            let _ = writeln!(text, "  Monitors of {}:", stage.endpoint);
            for monitor in &stage.monitors {
                let _ = writeln!(text, "    {}", monitor.in_words());
            }
        }
        if self.pending_calls > 0 {
            let calls = count(self.pending_calls as u64, "call is", "calls are");
            let _ = writeln!(text, "  {calls} decided and not done yet.");
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tidegate_core::evidence::{Evidence, Minute, Rule, needed};
    use tidegate_core::pipeline::{CountMetric, GuardMetric};
    use tidegate_core::rollout::{Against, GuardReport};

    const RULE: Rule = Rule {
        alpha: 0.01,
        beta: 0.05,
        tolerated_ratio: 1.0,
        margin_ratio: 1.5,
    };

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stage(name: &str) -> StageStatus {
        StageStatus {
            stage: StageName::parse(name).unwrap(),
            endpoint: EndpointName::parse(&format!("fraud-{name}")).unwrap(),
            champion: None,
            rollout: None,
            waiting: None,
            monitors: Vec::new(),
        }
    }

    pub(crate) fn canary() -> RolloutStatus {
        let guard = |metric, bad, baseline_bad| {
            let mut evidence = Evidence::new(&RULE, None, 1.0);
            evidence.add(&Minute::from([12_840, baseline_bad, 3_210, bad]));
            let metric = GuardMetric::Metric(metric);
            let report = GuardReport {
                guard: metric.words(),
                key: metric.key(),
                of: metric.of_what().to_owned(),
                against: Against::Champion,
                needed: needed(&RULE, 2),
                crossed: None,
                report: evidence.report(false),
            };
            GuardStatus::of(&report, "v12", RULE.beta)
        };
        RolloutStatus {
            id: "production-v12-0011223344".to_owned(),
            version: Some(PackageVersion(12)),
            name: "v12".to_owned(),
            stage: StageName::parse("production").unwrap(),
            endpoint: EndpointName::parse("fraud-production").unwrap(),
            phase: "step".to_owned(),
            phase_text: "step 2".to_owned(),
            why: None,
            weight: 25,
            weights: vec![Weight {
                at: time("2026-11-24T21:20:00Z"),
                percent: 25,
            }],
            started: time("2026-11-24T21:06:00Z"),
            ended: None,
            minutes: 12,
            observed: false,
            compared_with: None,
            guards: vec![
                guard(CountMetric::ServerErrors, 1, 9),
                guard(CountMetric::ModelErrors, 12, 15),
            ],
        }
    }

    fn status() -> Status {
        let mut production = stage("production");
        production.champion = Some(ChampionStatus {
            version: PackageVersion(11),
            package: "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud-detection/11"
                .to_owned(),
            since: time("2026-11-12T08:00:00Z"),
        });
        production.waiting = Some(WaitingStatus {
            version: PackageVersion(13),
            package: "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud-detection/13"
                .to_owned(),
            approved_at: time("2026-11-24T21:30:00Z"),
            approved_by: None,
            urgent: false,
        });
        production.rollout = Some(canary());
        Status {
            pipelines: vec![PipelineStatus {
                pipeline: PipelineName::parse("fraud").unwrap(),
                group: GroupName::parse("fraud-detection").unwrap(),
                mode: Mode::Act,
                policy: PolicyStatus {
                    version: 3,
                    commit: None,
                    at: time("2026-11-20T10:00:00Z"),
                    by: "ada".to_owned(),
                },
                entries: 40,
                pending_calls: 1,
                stages: vec![stage("staging"), production],
            }],
        }
    }

    #[test]
    fn a_status_fits_100_columns_and_says_how_a_canary_does() {
        let screen = Screen {
            width: 100,
            color: false,
            now: time("2026-11-24T21:36:00Z"),
        };
        let text = status().text(&screen);
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_pipeline_that_only_observes_says_so() {
        let screen = Screen {
            width: 100,
            color: false,
            now: time("2026-11-24T21:36:00Z"),
        };
        let mut status = status();
        assert!(!status.text(&screen).contains("observe"));
        status.pipelines[0].mode = Mode::Observe;
        assert!(status.text(&screen).contains("mode observe: it judges"));
    }

    #[test]
    fn a_status_in_json_has_all_of_it() {
        insta::assert_json_snapshot!(status());
    }

    #[test]
    fn each_monitor_of_an_endpoint_has_a_line_with_how_far_it_is() {
        let screen = Screen {
            width: 100,
            color: false,
            now: time("2026-11-24T21:36:00Z"),
        };
        let monitor = |kind, batch, state: &str| MonitorStatus {
            name: ScheduleName::parse("tidegate-fraud-data-v11-0011223344").unwrap(),
            kind,
            version: PackageVersion(11),
            batch,
            state: state.to_owned(),
        };
        let mut status = status();
        status.pipelines[0].stages[1].monitors = vec![
            monitor(MonitorKind::DataQuality, true, "stopped by hand"),
            monitor(MonitorKind::ModelQuality, false, "paused"),
        ];
        let lines = "  Monitors of fraud-production:\n    data quality of batch data of v11: stopped \
                     by hand\n    model quality of v11: paused\n";
        let text = status.text(&screen);
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn no_pipelines_is_said_with_what_to_do() {
        let screen = Screen {
            width: 100,
            color: false,
            now: Timestamp::UNIX_EPOCH,
        };
        let text = Status {
            pipelines: Vec::new(),
        }
        .text(&screen);
        assert!(text.contains("tidegate apply"), "{text}");
    }
}
