//! A retrained model that does not come to serve, whatever the reason: what led to its training is
//! there still, and people hear so, once for each model.

use serde_json::json;

use super::ancestry::tag_value;
use crate::audit::What;
use crate::candidate::{Candidate, of_package};
use crate::decision::{Decision, Note};
use crate::head::Head;
use crate::name::{EndpointName, PackageVersion};
use crate::notice::Severity;
use crate::world::Package;

/// How many versions are remembered that others registered of a retraining's jobs.
const MOST_MODELS: usize = 20;

/// A retrained model that does not serve.
pub(crate) struct Lost<'a> {
    /// The finding that led to it.
    pub(crate) finding: &'a str,
    /// Its training job, if its package names it.
    pub(crate) job: Option<&'a str>,
    /// Its version, if it has one.
    pub(crate) version: Option<PackageVersion>,
    /// The endpoint, where the retraining is not known any more.
    pub(crate) endpoint: &'a EndpointName,
    /// What became of it, as a clause without its subject.
    pub(crate) end: &'static str,
    /// Why.
    pub(crate) why: &'a str,
}

/// Tells people of a candidate that is lost, if it was trained because of a finding.
pub(crate) fn lost(
    candidate: &Candidate,
    endpoint: &EndpointName,
    end: &'static str,
    why: &str,
    decision: &mut Decision,
) {
    if let Some(finding) = &candidate.finding {
        let lost = Lost {
            finding,
            job: candidate.job.as_deref(),
            version: Some(candidate.version),
            endpoint,
            end,
            why,
        };
        lost.tell(decision);
    }
}

impl Lost<'_> {
    /// Tells people that what led to the retraining remains, once.
    pub(crate) fn tell(self, decision: &mut Decision) {
        let head = &mut decision.head;
        let version = self.version.map(|version| version.to_string());
        let key = self.job.or(version.as_deref()).unwrap_or_default();
        if head.is_known_finding(&format!("drift-remains/{key}")) {
            return;
        }
        let retraining = head.retraining.as_deref();
        let retraining = retraining.filter(|r| tag_value(&r.finding) == self.finding);
        let endpoint = retraining.map_or(self.endpoint, |r| &r.endpoint);
        let parent = retraining.and_then(|r| r.parent);
        let who = version
            .clone()
            .unwrap_or_else(|| format!("The model of {key}"));
        let line = format!(
            "{who}, trained again after {}, is not shipped: {}.",
            self.finding,
            self.why.trim_end_matches('.')
        );
        let next = "What serves stays, and what led to the retraining remains. Look at the data, \
                    the features or the thresholds.";
        let model =
            version.map_or_else(|| "model".to_owned(), |version| format!("model {version}"));
        let headline = format!(
            "Drift remains on {endpoint}: the retrained {model} {}",
            self.end
        );
        let facts = json!({
            "job": self.job,
            "finding": self.finding,
            "parent": parent.map(|parent| parent.to_string()),
        });
        let note = Note::new(What::DriftRemains, line.clone(), facts).endpoint(endpoint);
        let note = note.tell(Severity::Action, headline, vec![line, next.to_owned()]);
        decision.notes.push(match self.version {
            Some(version) => note.version(version),
            None => note,
        });
    }
}

/// The finding that a package's model was trained because of: as its metadata says, or, where
/// somebody else registered it, as its job was known when it was gated.
pub(crate) fn finding_of(head: &Head, package: &Package) -> Option<String> {
    of_package(package).finding.or_else(|| {
        let retraining = head.retraining.as_ref()?;
        let is_its = retraining.models.contains(&package.version);
        is_its.then(|| tag_value(&retraining.finding))
    })
}

/// Remembers that somebody else registered a model of the newest retraining.
pub(crate) fn remember_model(head: &mut Head, version: PackageVersion) {
    if let Some(retraining) = &mut head.retraining {
        retraining.models.insert(version);
        while retraining.models.len() > MOST_MODELS {
            retraining.models.pop_first();
        }
    }
}
