//! Tuning jobs in rough weather: whatever is lost, doubled, late or crossed, of each the best model
//! is registered, once, and no other.

use serde_json::json;

use super::Tale;
use crate::audit::{Verifier, What};
use crate::event::JobStatus;
use crate::name::{JobName, TuningName};
use crate::world::{BestJob, TuningJob};

/// How many stories a run tells.
const SEEDS: u64 = 60;
/// How many tuning jobs a story has.
const TUNINGS: u64 = 3;
const ROUGH_MINUTES: u64 = 60;
const CALM_MINUTES: u64 = 30;

/// A tuning job of a story: the minutes in which its training jobs end.
struct Search {
    name: TuningName,
    ends: Vec<u64>,
    aucs: Vec<f64>,
}

impl Search {
    fn job(&self, n: usize) -> JobName {
        JobName::parse(&format!("{}-{n:03}", self.name)).unwrap()
    }

    /// The best training job of those that ended until then.
    fn best(&self, minute: u64) -> Option<usize> {
        let ended = (0..self.ends.len()).filter(|n| self.ends[*n] <= minute);
        ended.max_by(|a, b| self.aucs[*a].total_cmp(&self.aucs[*b]))
    }
}

impl Tale {
    fn search(&mut self, n: u64) -> Search {
        let jobs = self.dice.below(4) + 1;
        let ends = (0..jobs).map(|_| self.dice.below(ROUGH_MINUTES)).collect();
        // No two are equal.
        let auc = |n: u64, more: u64| {
            let per_mille = u32::try_from(900 + 10 * more + n).unwrap();
            f64::from(per_mille) / 1_000.0
        };
        Search {
            name: TuningName::parse(&format!("tune-{n}")).unwrap(),
            ends,
            aucs: (0..jobs).map(|n| auc(n, self.dice.below(9))).collect(),
        }
    }

    /// What of a tuning job ends in this minute.
    fn search_goes_on(&mut self, search: &Search, minute: u64) {
        let last = *search.ends.iter().max().unwrap();
        let is_over = minute >= last;
        for (n, end) in search.ends.iter().enumerate() {
            if *end == minute {
                let job = search.job(n);
                self.town.train(job.as_str(), search.aucs[n]);
                let mut state = self.town.0.lock().unwrap();
                state.jobs.get_mut(&job).unwrap().tuning = Some(search.name.clone());
            }
        }
        let best = search.best(minute);
        let described = TuningJob {
            name: search.name.clone(),
            arn: format!(
                "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{}",
                search.name
            ),
            status: if is_over {
                JobStatus::Completed
            } else {
                JobStatus::InProgress
            },
            failure: None,
            tags: [("tidegate:pipeline".to_owned(), "fraud".to_owned())].into(),
            best: best.map(|n| BestJob {
                job: search.job(n),
                objective: None,
            }),
            launched: u32::try_from(search.ends.len()).unwrap(),
            failed: 0,
            stopped: 0,
        };
        self.town
            .0
            .lock()
            .unwrap()
            .tunings
            .insert(search.name.clone(), described);
        for (n, _) in search
            .ends
            .iter()
            .enumerate()
            .filter(|(_, end)| **end == minute)
        {
            let job = search.job(n);
            self.say(format!("{job} ends with auc {}", search.aucs[n]));
            self.post(
                "SageMaker Training Job State Change",
                &json!({
                    "TrainingJobName": job, "TrainingJobStatus": "Completed",
                    "Tags": { "tidegate:pipeline": "fraud" },
                }),
            );
        }
        if minute == last && self.dice.chance(600) {
            self.say(format!("{} ends, and it is told", search.name));
            self.post(
                "SageMaker HyperParameter Tuning Job State Change",
                &json!({
                    "HyperParameterTuningJobName": search.name,
                    "HyperParameterTuningJobStatus": "Completed",
                    "Tags": { "tidegate:pipeline": "fraud" },
                }),
            );
        }
    }

    fn of_each_the_best_is_registered(&self, searches: &[Search]) {
        let packages = self.town.0.lock().unwrap().packages.clone();
        let mut registered: Vec<String> = packages
            .iter()
            .map(|p| p.metadata["tidegate:job"].clone())
            .collect();
        registered.sort_unstable();
        let best = searches
            .iter()
            .map(|s| s.job(s.best(u64::MAX).unwrap()).to_string());
        let best: Vec<String> = best.collect();
        assert_eq!(registered, best, "{}", self.told());
        let entries = self.memory.all_entries(&self.group);
        let ends = entries
            .iter()
            .filter(|e| e.read().unwrap().what == What::TuningEnded);
        assert_eq!(ends.count(), searches.len(), "{}", self.told());
        let head = self.memory.head(&self.group);
        assert!(
            head.tunings.is_empty(),
            "{:?}\n{}",
            head.tunings,
            self.told()
        );
        assert!(
            self.memory.pending(&self.group).is_empty(),
            "{}",
            self.told()
        );
        let mut verifier = Verifier::new();
        for entry in &entries {
            verifier.push(entry).unwrap();
        }
        verifier.finish(&head.tip).unwrap();
    }
}

async fn tell(seed: u64) {
    let mut tale = Tale::begin(seed).await;
    let searches: Vec<Search> = (0..TUNINGS).map(|n| tale.search(n)).collect();
    for minute in 0..ROUGH_MINUTES + CALM_MINUTES {
        tale.town.minute();
        if minute == ROUGH_MINUTES {
            let mut weather = tale.weather.lock().unwrap();
            (weather.throttled, weather.lost) = (0, 0);
        }
        for search in &searches {
            tale.search_goes_on(search, minute);
        }
        if minute % 5 == 0 {
            tale.post_housekeeping();
        }
        tale.deliver().await;
    }
    // What was to come very late.
    for mail in &mut tale.mails {
        mail.at = mail.at.min(tale.town.0.lock().unwrap().now);
    }
    for _ in 0..10 {
        tale.town.minute();
        tale.post_housekeeping();
        tale.deliver().await;
    }
    tale.of_each_the_best_is_registered(&searches);
}

#[test]
fn of_each_tuning_job_the_best_is_registered_once_whatever_happens() {
    let told = |seed: &u64| {
        let story = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(tell(*seed));
        };
        std::panic::catch_unwind(story).is_err()
    };
    let failed: Vec<u64> = (0..SEEDS).filter(told).collect();
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
}
