//! A canary that somebody else shifts: how one is recognised, and what it is compared with.
//!
//! An endpoint with two variants that both have traffic is taken for a champion and a canary. From
//! then on it is watched (`watch`): judged by the same evidence as a rollout of Tidegate's own, and
//! nothing of it is touched.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::names::observation_id;
use super::{Incumbent, Observed, Phase, Rollout, judge, start};
use crate::audit::What;
use crate::candidate::{Candidate, of_package};
use crate::decision::Note;
use crate::event::EndpointStatus;
use crate::facts::{Facts, Known};
use crate::head::Head;
use crate::name::{GroupName, PackageVersion};
use crate::notice::Severity;
use crate::pipeline::Stage;
use crate::world::{Effect, Endpoint, EndpointConfig, Question, Variant};

mod watch;

pub(crate) use watch::{look, needs_to_watch, refused};

/// The end of an observed canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// When it was seen.
    pub at: Timestamp,
    /// What they did.
    pub theirs: Theirs,
}

/// What somebody else did with a canary in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theirs {
    /// They gave it all the traffic.
    Promoted,
    /// They took the traffic away from it.
    TookBack,
    /// They changed the endpoint so that champion and canary are not both known any more, or it
    /// doesn't serve.
    Changed,
    /// They deleted the endpoint.
    Deleted,
    /// They left it at the same share for a day.
    Left,
}

/// What is seen of an endpoint that Tidegate observes.
pub(crate) enum Sighting {
    /// Facts are missing; ask [`needs_to_see`].
    Unknown,
    /// There is no canary, for this reason.
    Quiet(String),
    /// There is something that can't be judged; people are told once of each key.
    Unfit(String, Box<Note>),
    /// A canary: its observation begins.
    Began(Box<Rollout>, Box<Note>),
}

/// The variant that has all the traffic of an endpoint, if one has.
pub(crate) fn carrier(endpoint: &Endpoint) -> Option<&str> {
    let mut serving = endpoint.variants.iter().filter(|v| v.weight > 0.0);
    let only = serving.next().filter(|_| serving.next().is_none())?;
    (endpoint.status == EndpointStatus::InService).then_some(only.name.as_str())
}

/// What has to be known before a stage's endpoint can be looked at, given what is known.
pub(crate) fn needs_to_see(
    stage: &Stage,
    group: &GroupName,
    head: &Head,
    facts: &Facts,
    now: Timestamp,
) -> Vec<Question> {
    let mut questions = vec![Question::Endpoint(stage.endpoint.clone())];
    let Some(endpoint) = facts.endpoint(&stage.endpoint).is() else {
        return questions;
    };
    let Some(variants) = pair(endpoint) else {
        return questions;
    };
    questions.push(Question::EndpointConfig {
        name: endpoint.config.clone(),
    });
    let Some(config) = facts.config(&endpoint.config).is() else {
        return questions;
    };
    for name in variants.iter().filter_map(|v| model_in(config, &v.name)) {
        questions.push(Question::Model {
            name: name.to_owned(),
        });
    }
    let sides = Sides::of(variants, stage, group, head, facts, endpoint);
    if let Some(sides) = sides.filter(|s| !s.is_left(head, endpoint)) {
        questions.extend(sides.canary_package.map(|arn| Question::Package {
            arn: arn.to_owned(),
        }));
        questions.push(start::history_question(stage, &sides.baseline.name, now));
    }
    questions
}

/// Looks at the endpoint of a stage that has no rollout.
pub(crate) fn see(
    stage: &Stage,
    group: &GroupName,
    head: &Head,
    facts: &Facts,
    now: Timestamp,
) -> Sighting {
    let endpoint = match facts.endpoint(&stage.endpoint) {
        Known::NotAsked => return Sighting::Unknown,
        Known::Missing => {
            return Sighting::Quiet(format!("the endpoint {} does not exist", stage.endpoint));
        }
        Known::Is(endpoint) => endpoint,
    };
    let Some(variants) = pair(endpoint) else {
        return no_pair(endpoint);
    };
    let config = match facts.config(&endpoint.config) {
        Known::NotAsked => return Sighting::Unknown,
        Known::Missing => None,
        Known::Is(config) => Some(config),
    };
    if let Some(unfit) = unfit(endpoint, variants, config) {
        return unfit;
    }
    let Some(sides) = Sides::of(variants, stage, group, head, facts, endpoint) else {
        return Sighting::Unknown;
    };
    let share = sides.share();
    if sides.is_left(head, endpoint) {
        return Sighting::Quiet(format!(
            "{} has stood at {share} % of {} for a day already",
            sides.canary.name, endpoint.name
        ));
    }
    let rollout = observation(&sides, stage, group, facts, endpoint, share, now);
    let note = began(&rollout, &sides, share);
    Sighting::Began(Box::new(rollout), Box::new(note))
}

/// The first calls of an observation: Tidegate's own ticks.
pub(crate) fn first_calls(rollout: &Rollout, group: &GroupName) -> Vec<Effect> {
    vec![Effect::StartTicks {
        group: group.clone(),
        stage: rollout.stage.clone(),
        rollout: rollout.id.clone(),
    }]
}

/// What is to be remembered of an observation that ended because the canary was left as it is: the
/// same sight does not begin another.
pub(crate) fn left(rollout: &Rollout) -> Option<String> {
    let Phase::Observed { over, .. } = &rollout.phase else {
        return None;
    };
    let (_, share) = rollout.weights.last()?;
    (over.theirs == Theirs::Left).then(|| left_key(&rollout.config, *share))
}

fn left_key(config: &str, share: u8) -> String {
    format!("left/{config}/{share}")
}

/// The two variants of an endpoint that is `InService`, if it has two and both have traffic.
fn pair(endpoint: &Endpoint) -> Option<&[Variant; 2]> {
    let both: &[Variant; 2] = endpoint.variants.as_slice().try_into().ok()?;
    let serve = endpoint.status == EndpointStatus::InService
        && both.iter().all(|v| v.weight.is_finite() && v.weight > 0.0);
    serve.then_some(both)
}

fn no_pair(endpoint: &Endpoint) -> Sighting {
    let name = &endpoint.name;
    if endpoint.status != EndpointStatus::InService {
        return Sighting::Quiet(format!("the endpoint {name} is {:?}", endpoint.status));
    }
    let n = endpoint.variants.len();
    let serving = endpoint.variants.iter().filter(|v| v.weight > 0.0).count();
    if n > 2 && serving > 1 {
        return cannot_judge(
            endpoint,
            "variants",
            &format!(
                "{name} has {n} variants: a canary is judged beside one champion, so Tidegate \
                 judges endpoints with two."
            ),
        );
    }
    Sighting::Quiet(format!("no canary has traffic on {name}"))
}

/// What keeps two variants from being judged.
fn unfit(
    endpoint: &Endpoint,
    variants: &[Variant; 2],
    config: Option<&EndpointConfig>,
) -> Option<Sighting> {
    let name = &endpoint.name;
    if let Some(serverless) = variants.iter().find(|v| v.serverless) {
        let why = format!(
            "The variant {} of {name} is serverless; Tidegate judges canaries on instances.",
            serverless.name
        );
        return Some(cannot_judge(endpoint, "serverless", &why));
    }
    let without = config.and_then(|config| {
        let mut all = variants.iter();
        all.find(|v| model_in(config, &v.name).is_none())
    })?;
    let why = format!(
        "The variant {} of {name} has no model of its own (inference components): Tidegate judges \
         models.",
        without.name
    );
    Some(cannot_judge(endpoint, "components", &why))
}

fn cannot_judge(endpoint: &Endpoint, what: &str, why: &str) -> Sighting {
    let note = Note::new(What::Observing, why, json!({ "endpoint": endpoint }))
        .endpoint(&endpoint.name)
        .tell(
            Severity::Info,
            format!("Observed: a canary on {} is not judged", endpoint.name),
            vec![why.to_owned()],
        );
    let key = format!("{what}/{}/{}", endpoint.name, endpoint.config);
    Sighting::Unfit(key, Box::new(note))
}

fn model_in<'a>(config: &'a EndpointConfig, variant: &str) -> Option<&'a str> {
    let mut variants = config.variants.iter();
    variants.find(|v| v.name == variant)?.model.as_deref()
}

/// Which variant is which, and why.
struct Sides<'a> {
    baseline: &'a Variant,
    baseline_model: &'a str,
    baseline_version: Option<PackageVersion>,
    canary: &'a Variant,
    canary_model: &'a str,
    /// The canary's package, if it is of the pipeline's group.
    canary_package: Option<&'a str>,
    /// How the baseline was chosen, for people.
    how: String,
}

impl<'a> Sides<'a> {
    /// None while the models are not known yet.
    fn of(
        variants: &'a [Variant; 2],
        stage: &Stage,
        group: &GroupName,
        head: &Head,
        facts: &'a Facts,
        endpoint: &Endpoint,
    ) -> Option<Self> {
        let config = match facts.config(&endpoint.config) {
            Known::NotAsked => return None,
            known => known.is(),
        };
        let model = |variant: &Variant| {
            let name = config.and_then(|c| model_in(c, &variant.name));
            name.unwrap_or_default()
        };
        let models = [model(&variants[0]), model(&variants[1])];
        let mut packages = [None, None];
        for (package, name) in packages.iter_mut().zip(models) {
            if name.is_empty() {
                continue;
            }
            *package = match facts.model(name) {
                Known::NotAsked => return None,
                known => known
                    .is()
                    .and_then(|m| m.package.as_deref())
                    .filter(|arn| version_in(arn, group).is_some()),
            };
        }
        let versions = packages.map(|p| version_in(p?, group));
        let (b, how) = baseline(variants, models, versions, stage, head);
        let c = 1 - b;
        Some(Self {
            baseline: &variants[b],
            baseline_model: models[b],
            baseline_version: versions[b],
            canary: &variants[c],
            canary_model: models[c],
            canary_package: packages[c],
            how,
        })
    }

    /// The canary's share, percent.
    fn share(&self) -> u8 {
        share(self.baseline.weight, self.canary.weight)
    }

    /// Whether this was watched before and has stood as it is for a day.
    fn is_left(&self, head: &Head, endpoint: &Endpoint) -> bool {
        let key = left_key(&endpoint.config, self.share());
        head.findings.contains(&key)
    }
}

/// The baseline's place, and why it is taken for it: the one that had the traffic before.
fn baseline(
    variants: &[Variant; 2],
    models: [&str; 2],
    versions: [Option<PackageVersion>; 2],
    stage: &Stage,
    head: &Head,
) -> (usize, String) {
    let name = |i: usize| &variants[i].name;
    let place = |is: &dyn Fn(usize) -> bool| (0..2).find(|i| is(*i));
    let carrier = head.carriers.get(&stage.endpoint);
    if let Some(i) = place(&|i| carrier == Some(name(i))) {
        return (i, format!("{} had all the traffic before", name(i)));
    }
    let champion = head.champions.get(&stage.name);
    let is_champion =
        |i: usize| champion.is_some_and(|c| &c.variant == name(i) && c.model == models[i]);
    if let Some(i) = place(&is_champion) {
        return (i, format!("{} is what Tidegate deployed before", name(i)));
    }
    if variants[0].weight > variants[1].weight {
        return (0, format!("{} has the greater share", name(0)));
    }
    if variants[1].weight > variants[0].weight {
        return (1, format!("{} has the greater share", name(1)));
    }
    match versions {
        [Some(a), Some(b)] if a != b => {
            let older = usize::from(b < a);
            let why = "both have the same share, and its version is the older one";
            (older, format!("{}: {why}", name(older)))
        }
        _ => (
            0,
            format!("both have the same share, and {} is named first", name(0)),
        ),
    }
}

/// The version that a package's ARN names, if it is of this group. SageMaker writes the group in
/// lower case there.
fn version_in(arn: &str, group: &GroupName) -> Option<PackageVersion> {
    let (_, name) = arn.rsplit_once(":model-package/")?;
    let (of, version) = name.split_once('/')?;
    let version = version.parse().ok().filter(|v| *v > 0)?;
    of.eq_ignore_ascii_case(group.as_str())
        .then_some(PackageVersion(version))
}

/// The canary's share, whole percent: 100 only if it has all, 0 only if it has none.
fn share(baseline: f64, canary: f64) -> u8 {
    let total = baseline + canary;
    if !(total > 0.0 && canary > 0.0) {
        return 0;
    }
    if baseline <= 0.0 {
        return 100;
    }
    let percent = (100.0 * canary / total).round().clamp(1.0, 99.0);
    // Between 1 and 99, and whole.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let percent = percent as u8;
    percent
}

fn candidate(sides: &Sides<'_>, group: &GroupName, facts: &Facts, now: Timestamp) -> Candidate {
    let arn = sides.canary_package.unwrap_or_default();
    if let Some(package) = facts.package(arn).is() {
        return of_package(package);
    }
    Candidate {
        // Without a version, 0 stands for none: no package has it.
        version: version_in(arn, group).unwrap_or(PackageVersion(0)),
        package: arn.to_owned(),
        approved_at: now,
        approved_by: None,
        metrics: crate::gate::Metrics::new(),
        job: None,
        artifact: None,
        finding: None,
    }
}

fn observation(
    sides: &Sides<'_>,
    stage: &Stage,
    group: &GroupName,
    facts: &Facts,
    endpoint: &Endpoint,
    share: u8,
    now: Timestamp,
) -> Rollout {
    let history = start::history(stage, &sides.baseline.name, facts, now);
    Rollout {
        id: observation_id(group, &stage.name, &sides.canary.name, now),
        stage: stage.name.clone(),
        endpoint: stage.endpoint.clone(),
        candidate: candidate(sides, group, facts, now),
        model: sides.canary_model.to_owned(),
        canary: sides.canary.name.clone(),
        incumbent: Some(Incumbent {
            version: sides.baseline_version,
            config: endpoint.config.clone(),
            variant: sides.baseline.name.clone(),
            model: sides.baseline_model.to_owned(),
            count: sides.baseline.count.max(1),
            ours: false,
        }),
        config: endpoint.config.clone(),
        final_config: endpoint.config.clone(),
        final_variant: sides.canary.name.clone(),
        plan: stage.clone(),
        urgent: false,
        replaces: false,
        phase: Phase::Observing { over: None },
        started: now,
        ended: None,
        attempts: 0,
        refused: None,
        evidence: judge::fresh_evidence(stage, &history),
        alone: Vec::new(),
        past: None,
        crossed: None,
        observed: Some(Observed {
            model: sides.canary_model.to_owned(),
            told_safe: false,
        }),
        history,
        judged_until: Some(judge::floor_minute(now)),
        minutes: Vec::new(),
        weights: vec![(now, share)],
        went_back_by_own_config: false,
        told_of_wait: false,
        asked: None,
        unanswered: None,
    }
}

fn began(rollout: &Rollout, sides: &Sides<'_>, share: u8) -> Note {
    let (name, endpoint) = (rollout.name(), &rollout.endpoint);
    let baseline = sides.baseline_version.map_or_else(
        || format!("the variant {}", sides.baseline.name),
        |v| format!("{v} (variant {})", sides.baseline.name),
    );
    let compared = format!("It is compared with {baseline}: {}.", sides.how);
    let why = format!("{name} has {share} % of the traffic of {endpoint}.");
    Note::new(
        What::Observing,
        format!("{why} {compared}"),
        json!({
            "share": share,
            "canary": { "variant": rollout.canary, "model": rollout.model },
            "baseline": rollout.incumbent,
            "how": sides.how,
        }),
    )
    .rollout(rollout)
    .tell(
        Severity::Info,
        format!("Observed: {name} is a canary on {endpoint} with {share} %"),
        vec![
            compared,
            "Tidegate judges it every minute, says what it would do, and changes nothing."
                .to_owned(),
        ],
    )
}
