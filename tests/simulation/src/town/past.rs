//! What AWS shows of a moment ago: its reads are eventually consistent. `CreateEndpoint` in the
//! SageMaker API reference says so of what a call depends on; of descriptions it promises nothing.

use tidegate_core::event::JobStatus;
use tidegate_core::name::JobName;
use tidegate_core::world::{Endpoint, Package, TrainingJob, WorldError, WorldErrorKind};

use super::{Town, refusal, time_of};
use crate::dice::mix;
use crate::fault::Fault;

/// How long ago what is shown may be, milliseconds. No change of an endpoint is over sooner.
pub(crate) const LAG: i64 = 5_000;

/// What something was until some time.
#[derive(Debug)]
pub(crate) struct Past<T>(Vec<(i64, Option<T>)>);

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Past<T> {
    /// It changes now, and was this.
    pub(crate) fn was(&mut self, now: i64, this: Option<T>) {
        self.0.retain(|(until, _)| now - until < LAG);
        self.0.push((now, this));
    }

    /// What it was then, if it has changed since.
    fn at(&self, then: i64) -> Option<&Option<T>> {
        let was = self.0.iter().find(|(until, _)| *until > then);
        was.map(|(_, this)| this)
    }
}

impl Town {
    /// The moment that a description is of, if it is not of now.
    fn lag(&mut self, newest: Option<i64>, key: u64) -> Option<i64> {
        let is_new = newest.is_some_and(|at| self.now - at < LAG);
        (is_new && self.strikes(Fault::StaleDescribe, key)).then(|| {
            let span = u64::try_from(LAG).unwrap_or(1);
            self.now - i64::try_from(self.luck(mix(key, 11), span)).unwrap_or_default()
        })
    }

    /// An endpoint changes now.
    pub(super) fn endpoint_was(&mut self, name: &str) {
        let this = self.aws.endpoints.get(name).map(|p| p.is.clone());
        let past = self.aws.past_endpoints.entry(name.to_owned()).or_default();
        past.was(self.now, this);
        if let Some(place) = self.aws.endpoints.get_mut(name) {
            place.is.modified = Some(time_of(self.now));
        }
    }

    /// `DescribeEndpoint`.
    pub(crate) fn described_endpoint(&mut self, name: &str, key: u64) -> Option<Endpoint> {
        let past = self.aws.past_endpoints.get(name);
        let newest = past.and_then(|p| p.0.last()).map(|(until, _)| *until);
        if let Some(then) = self.lag(newest, key) {
            let past = self.aws.past_endpoints.get(name);
            if let Some(was) = past.and_then(|p| p.at(then)) {
                return was.clone();
            }
        }
        self.aws.endpoints.get(name).map(|p| p.is.clone())
    }

    /// A package changes now.
    pub(super) fn package_was(&mut self, arn: &str) {
        let this = self.aws.packages.get(arn).map(|p| p.package.clone());
        let past = self.aws.past_packages.entry(arn.to_owned()).or_default();
        past.was(self.now, this);
    }

    /// `DescribeModelPackage`.
    pub(crate) fn described_package(&mut self, arn: &str, key: u64) -> Option<Package> {
        let past = self.aws.past_packages.get(arn);
        let newest = past.and_then(|p| p.0.last()).map(|(until, _)| *until);
        if let Some(then) = self.lag(newest, key) {
            let past = self.aws.past_packages.get(arn);
            if let Some(was) = past.and_then(|p| p.at(then)) {
                return was.clone();
            }
        }
        self.aws.packages.get(arn).map(|p| p.package.clone())
    }

    /// `DescribeTrainingJob`.
    pub(crate) fn described_job(&mut self, job: &JobName, key: u64) -> Option<TrainingJob> {
        let found = self.aws.jobs.get(job)?.clone();
        let ended = found.ended.map(jiff::Timestamp::as_millisecond);
        if self.lag(ended, key).is_none() {
            return Some(found);
        }
        Some(TrainingJob {
            status: JobStatus::InProgress,
            ended: None,
            artifact: None,
            metrics: std::collections::BTreeMap::new(),
            ..found
        })
    }

    /// A config or model was made now.
    pub(super) fn is_made(&mut self, name: &str) {
        self.aws.made_at.insert(name.to_owned(), self.now);
    }

    /// Whether a description does not show a config or model that was made a moment ago.
    pub(crate) fn is_not_seen_yet(&mut self, name: &str, key: u64) -> bool {
        let made = self.aws.made_at.get(name).copied();
        made.is_some_and(|at| self.now - at < LAG) && self.strikes(Fault::StaleDescribe, key)
    }

    /// A call may not find what it needs and what was made a moment ago.
    pub(crate) fn must_be_found(
        &mut self,
        needs: &[&str],
        call: &str,
        key: u64,
    ) -> Result<(), WorldError> {
        let made = |name: &&&str| {
            let made = self.aws.made_at.get(**name);
            made.is_some_and(|at| self.now - at < LAG)
        };
        let Some(new) = needs.iter().find(made) else {
            return Ok(());
        };
        if !self.strikes(Fault::NotYet, key) {
            return Ok(());
        }
        let why = format!("Could not find \"{new}\".");
        Err(refusal(WorldErrorKind::Gone, call, why))
    }
}
