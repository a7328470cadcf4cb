//! One pipeline of a story, and its policy as a file says it.

use std::fmt::Write as _;

use serde::Serialize;
use tidegate_core::pipeline::{self, Policy};

use super::monitors::Watching;

/// One pipeline of a story.
#[derive(Debug, Clone, Serialize)]
// Each of its booleans is a choice of the policy of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct Plan {
    /// Its place; names are made of it.
    pub index: usize,
    /// Its stages, 1 to 3.
    pub stages: usize,
    /// The canary's shares.
    pub canary: Vec<u8>,
    /// The shortest time of a step, minutes.
    pub minutes: u32,
    /// The fewest requests of a step.
    pub min_requests: u64,
    /// The bake, minutes.
    pub bake: u32,
    /// The watch after the reduction, minutes.
    pub watch: u32,
    /// `settle_minutes`.
    pub settle: u32,
    /// `warmup_minutes`.
    pub warmup: u32,
    /// `newer_approval = "replace"`.
    pub replaces: bool,
    /// `rolled_back_package = "reject"`.
    pub rejects: bool,
    /// `approval = "manual"`.
    pub is_manual: bool,
    /// `on_low_traffic`.
    pub on_low_traffic: &'static str,
    /// The guards: 0 the default, 1 with a ceiling, 2 with latency as well.
    pub guards: u8,
    /// Whether the canary is smoke tested.
    pub has_smoke: bool,
    /// Whether jobs are recognised by their names, not by a tag.
    pub by_prefix: bool,
    /// `cooldown_hours` of retrainings; none without retraining.
    pub cooldown_hours: Option<u32>,
    /// `on_alarm = "tell"`.
    pub only_tells: bool,
    /// Requests a minute to each endpoint.
    pub traffic: u64,
    /// Whether people made the last stage's endpoint before.
    pub is_adopted: bool,
    /// Whether the policy says the instances of the last stage.
    pub says_instance: bool,
    /// The monitors of each stage.
    pub watching: Watching,
}

/// What people change of a policy later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Edits {
    /// The last stage has another name.
    pub is_renamed: bool,
    /// The first stage is left out, if there are two.
    pub is_shorter: bool,
    /// So much longer a bake, minutes.
    pub more_bake: u32,
    /// `newer_approval` is the other.
    pub is_flipped: bool,
}

impl Plan {
    /// The pipeline's name.
    pub fn name(&self) -> String {
        format!("p{}", self.index)
    }

    /// Its model package group.
    pub fn group(&self) -> String {
        format!("g{}", self.index)
    }

    /// The endpoint of a stage.
    pub fn endpoint(&self, stage: usize) -> String {
        format!("{}-{}", self.name(), self.stage_word(stage))
    }

    fn stage_word(&self, stage: usize) -> &'static str {
        match (self.stages, stage) {
            (2 | 3, 0) => "staging",
            (3, 2) => "edge",
            _ => "production",
        }
    }

    /// The name of a training job.
    pub fn job(&self, n: u32) -> String {
        format!("{}-train-{n}", self.name())
    }

    /// The policy, as the parser makes it of a file.
    ///
    /// # Panics
    /// If the parser refuses it: a bug here or there.
    pub fn policy(&self, edits: Edits) -> Policy {
        let text = self.text(edits);
        pipeline::parse(&text, "story.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn text(&self, edits: Edits) -> String {
        let mut text = format!(
            "[pipeline]\nname = \"{}\"\ngroup = \"{}\"\nnewer_approval = \"{}\"\n\
             rolled_back_package = \"{}\"\n",
            self.name(),
            self.group(),
            if self.replaces == edits.is_flipped {
                "queue"
            } else {
                "replace"
            },
            if self.rejects { "reject" } else { "leave" },
        );
        if self.by_prefix {
            let _ = writeln!(
                text,
                "training = {{ job_prefix = \"{}-train-\" }}",
                self.name()
            );
        }
        let _ = write!(
            text,
            "\n[gate]\nrequire = [{{ metric = \"validation:auc\", at_least = 0.9 }}]\n\
             approval = \"{}\"\n",
            if self.is_manual {
                "manual"
            } else {
                "automatic"
            }
        );
        text.push_str("\n[monitor]\n");
        if self.watching != Watching::No {
            let theirs = self.endpoint(self.stages - 1);
            let _ = writeln!(text, "schedules = [\"{theirs}-data\"]");
        }
        if self.only_tells {
            text.push_str("on_alarm = \"tell\"\n");
        }
        if let Some(hours) = self.cooldown_hours {
            let _ = writeln!(
                text,
                "on_drift = {{ retrain = {{ pipeline = \"retrain\" }}, cooldown_hours = {hours}, \
                 at_most_per_month = 3 }}"
            );
        }
        let first = usize::from(edits.is_shorter && self.stages > 1);
        for stage in first..self.stages {
            self.write_stage(&mut text, stage, edits);
        }
        text
    }

    fn write_stage(&self, text: &mut String, stage: usize, edits: Edits) {
        let is_last = stage + 1 == self.stages;
        let name = if is_last && edits.is_renamed {
            "live"
        } else {
            self.stage_word(stage)
        };
        let instance = if is_last && !self.says_instance {
            String::new()
        } else {
            let count = stage + 1;
            format!("instance = {{ type = \"ml.m5.large\", count = {count} }}\n")
        };
        let shares: Vec<String> = self.canary.iter().map(u8::to_string).collect();
        let _ = write!(
            text,
            "\n[[stage]]\nname = \"{name}\"\nendpoint = \"{}\"\n{instance}\
             strategy = {{ canary = [{}], minutes = {}, min_requests = {}, on_low_traffic = \"{}\" }}\n\
             bake_minutes = {}\nwatch_minutes = {}\n",
            self.endpoint(stage),
            shares.join(", "),
            self.minutes,
            self.min_requests,
            self.on_low_traffic,
            self.bake + edits.more_bake,
            self.watch,
        );
        if self.has_smoke {
            text.push_str("smoke = [\"s3://models/smoke.csv\"]\n");
        }
        let _ = writeln!(
            text,
            "judge = {{ settle_minutes = {}, warmup_minutes = {} }}",
            self.settle, self.warmup
        );
        if self.guards > 0 {
            text.push_str("\n[[stage.guard]]\nmetric = \"model_errors\"\nceiling = 0.02\n");
        }
        if self.guards > 1 {
            text.push_str("\n[[stage.guard]]\nslower_than_ms = 200\n");
        }
        let baseline = match self.watching {
            Watching::No => return,
            Watching::Files => {
                "{ constraints = \"s3://models/c.json\", statistics = \"s3://models/s.json\" }"
            }
            Watching::Job => "{ data = \"s3://models/training\" }",
        };
        let _ = write!(
            text,
            "\n[[stage.monitor]]\nkind = \"data_quality\"\n\
             role = \"arn:aws:iam::123456789012:role/monitor\"\n\
             image = \"1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-model-monitor-analyzer\"\n\
             to = \"s3://models/monitoring\"\nbaseline = {baseline}\n"
        );
    }
}
