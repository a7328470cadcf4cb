//! The story of `make run`: five versions of a real classifier, from training to serving and back.
//!
//! Six acts, told live while they happen. Each thing that is told is also checked; the first that
//! is not so ends the story with an error.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::emulator::{Behaviour, next_hour};
use crate::lambda::FUNCTIONS;
use crate::project::{Project, put};
use crate::pump::Delivery;
use crate::world::{BUCKET, Options, World};

mod acts;
mod drift;
mod follow;
mod held_out;
mod last_act;
mod monitor_run;
mod monitoring;
mod report;
mod spark;
mod teller;

pub use report::Report;
pub use teller::Teller;

/// The project whose models are delivered.
const PROJECT: &str = "tumours";
/// The endpoint that they are delivered to.
const ENDPOINT: &str = "tumours-prod";
/// The stage in the policy.
const STAGE: &str = "production";
/// The SageMaker pipeline that trains again.
const RETRAINING: &str = "tumours-retrain";
/// Where in the bucket a retraining writes how good the champion is on its data.
const EVALUATIONS: &str = "tumours/evaluations";
/// Requests a minute that users send.
const TRAFFIC: u32 = 240;

/// What is needed to tell it.
#[derive(Debug)]
pub struct Story {
    world: World,
    project: Project,
    teller: Teller,
    report: Report,
    payloads: Vec<String>,
}

impl Story {
    /// Brings up the world for it.
    pub async fn prepare(speed: f64) -> Result<Self> {
        let real = Instant::now();
        let teller = Teller::on_stdout();
        teller.title("Tidegate: from a training job to all traffic, and back");
        let options = Options {
            emulator: Behaviour {
                speed,
                duplicate_events: true,
                start: Some(next_hour()),
                ..Behaviour::default()
            },
            delivery: Delivery { twice: true },
        };
        let world = World::start(&options).await?;
        let project = Project::read(&world.place, PROJECT)?;
        let data = world.run.path().join("export");
        project.export(&world.place, &data).await?;
        project
            .upload(&world.clients, BUCKET, &format!("{PROJECT}/data"), &data)
            .await?;
        let payloads = project.payloads()?;
        teller.plain(&format!(
            "moto, sagemaker-local and {} functions are up after {:.1} s. {}",
            FUNCTIONS.len(),
            real.elapsed().as_secs_f64(),
            pace(speed),
        ));
        teller.plain(
            "Every event is delivered twice, some late. What is trained and served is real:",
        );
        teller.plain(&project.about);
        Ok(Self {
            world,
            project,
            teller,
            report: Report::default(),
            payloads,
        })
    }

    /// Tells it.
    pub async fn tell(&mut self) -> Result<()> {
        let real = Instant::now();
        let told = Box::pin(self.acts()).await;
        self.report.seconds = real.elapsed().as_secs_f64();
        self.report.deliveries = self.world.pump.tallies();
        if told.is_err() {
            // What people were told until then; the reason of the failure counts more than this.
            let _ = self.new_notices().await;
        }
        self.report.failure = told.as_ref().err().map(|why| format!("{why:#}"));
        told
    }

    /// What happened, for programs.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The world that it happened in, to look around in.
    pub fn into_world(self) -> World {
        self.world
    }

    /// The world that it happened in.
    pub fn world(&self) -> &World {
        &self.world
    }

    async fn acts(&mut self) -> Result<()> {
        let smoke = put(
            &self.world.clients,
            BUCKET,
            &format!("{PROJECT}/smoke"),
            self.project.smoke()?,
        )
        .await?;
        self.world.apply(PROJECT, &self.policy(&smoke)).await?;
        Box::pin(self.first_version())
            .await
            .context("act 1: the first version")?;
        Box::pin(self.better_version())
            .await
            .context("act 2: a better version")?;
        Box::pin(self.bad_server())
            .await
            .context("act 3: a version that fails in serving")?;
        Box::pin(self.worse_version())
            .await
            .context("act 4: a version that is worse")?;
        Box::pin(self.drift()).await.context("act 5: drift")?;
        Box::pin(self.trail())
            .await
            .context("act 6: the audit trail")
    }

    /// The policy. Its minutes are short, since a minute is a second here; what is usual in earnest
    /// stands beside them.
    fn policy(&self, smoke: &str) -> String {
        let (gate, serve) = (&self.project.gate, &self.project.serve);
        let capture = monitoring::capture();
        format!(
            r#"[pipeline]
name = "{PROJECT}"
group = "{PROJECT}"

[gate]
require = [
  {{ metric = "{}", at_least = {}, champion_minus_at_most = {} }},
]
approval = "automatic"

[serve]
environment = {{ SAGEMAKER_PROGRAM = "{}" }}
content_types = ["{}"]
response_types = ["application/json"]

[[stage]]
name = "{STAGE}"
endpoint = "{ENDPOINT}"
instance = {{ type = "ml.m5.large", count = 1 }}
strategy = {{ canary = [5, 25, 50], minutes = 3, min_requests = 20 }}  # usually 10 minutes, 100 requests
bake_minutes = 5                                                       # usually 30
watch_minutes = 3                                                      # usually 10
smoke = ["{smoke}"]
smoke_content_type = "{}"

[[stage.guard]]
metric = "model_errors"
ceiling = 0.02

{capture}
[monitor]
on_drift = {{ retrain = {{ pipeline = "{RETRAINING}", parameters = {{ ChampionJob = "{{champion_job}}" }} }}, cooldown_hours = 24, at_most_per_month = 4 }}
"#,
            gate.metric,
            gate.at_least,
            gate.champion_minus_at_most,
            serve.program,
            serve.content_type,
            serve.content_type,
        )
    }

    async fn now(&self) -> Result<Timestamp> {
        self.world.admin().now().await
    }

    /// Says something with the emulator's time.
    async fn say(&self, who: &str, text: &str) -> Result<()> {
        self.teller.line(self.now().await?, who, text);
        Ok(())
    }

    /// Checks something that has to be so, and says it.
    fn check(&mut self, is_so: bool, what: &str) -> Result<()> {
        self.report.checks.push((what.to_owned(), is_so));
        self.teller.check(is_so, what);
        anyhow::ensure!(is_so, "this should be so and is not: {what}");
        Ok(())
    }
}

fn pace(speed: f64) -> String {
    let minute = Duration::from_secs_f64(60.0 / speed.max(0.01));
    format!("A minute passes in {:.2} s.", minute.as_secs_f64())
}
