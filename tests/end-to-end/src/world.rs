//! The whole local world: started in order, ended in order.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::clients::{self, Clients};
use crate::emulator::{Admin, Behaviour, Emulator};
use crate::invoke::Invoke;
use crate::lambda::{FUNCTIONS, Lambda};
use crate::ledger::Ledger;
use crate::moto::Moto;
use crate::place::{Place, RunFolder};
use crate::proxy::Proxy;
use crate::pump::{Delivery, Pump};
use crate::rules::Template;
use crate::{notices, queues};

/// The ledger's table.
pub const TABLE: &str = "tidegate-ledger";
/// The schedule group of ticks.
pub const SCHEDULE_GROUP: &str = "tidegate";
/// The bucket of data, source and models.
pub const BUCKET: &str = "sagemaker-us-east-1-123456789012";

/// The bucket of anchors, with Object Lock as in the template.
pub const ANCHOR_BUCKET: &str = "tidegate-anchors";

/// How the world is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The emulator.
    pub emulator: Behaviour,
    /// The delivery of events.
    pub delivery: Delivery,
}

/// A world in which the functions' calls can go wrong and their processes be killed.
#[derive(Debug, Clone, Copy)]
pub struct Unsafe {
    /// What the names of pipelines begin with (`Proxy::start`).
    pub prefix: &'static str,
    /// Instances of each function.
    pub instances: usize,
    /// How long an event may take a function.
    pub timeout: Duration,
}

/// The running world; it ends with this value.
// Fields are dropped in this order: who calls goes before who is called.
#[derive(Debug)]
pub struct World {
    /// From queues to functions.
    pub pump: Pump,
    /// From people's programs to queues.
    pub invoke: Invoke,
    /// The functions.
    pub lambda: Lambda,
    /// What their calls go through, if faults are wanted.
    pub proxy: Option<Proxy>,
    /// SageMaker and CloudWatch.
    pub emulator: Emulator,
    /// The rest of AWS.
    pub moto: Moto,
    /// Clients of it.
    pub clients: Clients,
    /// The ledger as it is stored.
    pub ledger: Ledger,
    /// The notice topic's ARN.
    pub topic: String,
    /// The checkout.
    pub place: Place,
    /// The run's folder.
    pub run: RunFolder,
}

impl World {
    /// Starts everything and returns when all of it answers.
    pub async fn start(options: &Options) -> Result<Self> {
        Self::begin(options, None).await
    }

    /// The same with a fault proxy before AWS.
    pub async fn start_unsafe(options: &Options, faults: Unsafe) -> Result<Self> {
        Self::begin(options, Some(faults)).await
    }

    async fn begin(options: &Options, faults: Option<Unsafe>) -> Result<Self> {
        let place = Place::find()?;
        let run = place.new_run(false)?;
        let (template, moto) = tokio::try_join!(Template::read(&place), Moto::start(&place, &run))?;
        let emulator = Emulator::start(&place, &run, &moto.url, &options.emulator).await?;
        let clients = Clients::new(&moto.url, &emulator.url);

        clients
            .s3
            .create_bucket()
            .bucket(BUCKET)
            .send()
            .await
            .context("the bucket can't be made")?;
        clients
            .s3
            .create_bucket()
            .bucket(ANCHOR_BUCKET)
            .object_lock_enabled_for_bucket(true)
            .send()
            .await
            .context("the bucket of anchors can't be made")?;
        template.create_table(&clients, TABLE).await?;
        let topic = notices::create_topic(&clients).await?;
        clients
            .scheduler
            .create_schedule_group()
            .name(SCHEDULE_GROUP)
            .send()
            .await?;
        queues::create_all(&clients).await?;
        template.put_rules(&clients).await?;
        template.put_schedules(&clients, SCHEDULE_GROUP).await?;

        let proxy = match faults {
            Some(faults) => Some(Proxy::start(&moto.url, &emulator.url, faults.prefix).await?),
            None => None,
        };
        let environment = match &proxy {
            // Who counts calls to kill a function at each does without those of anchors.
            Some(proxy) => environment(&proxy.url(), &proxy.url(), &topic, ""),
            None => environment(&moto.url, &emulator.url, &topic, ANCHOR_BUCKET),
        };
        template.check_environment(&environment)?;
        let lambda = match faults {
            Some(faults) => {
                let (instances, timeout) = (faults.instances, faults.timeout);
                Lambda::start_hosted(&place, &run, &environment, instances, timeout).await?
            }
            None => Lambda::start(&place, &run, &environment).await?,
        };
        lambda.warm_up().await?;
        let pump = Pump::start(
            &clients,
            &moto.url,
            lambda.invoker(),
            emulator.admin(),
            &template,
            options.delivery,
            faults.map_or(1, |faults| faults.instances),
        );
        let invoke = Invoke::start(&clients, &moto.url).await?;
        let ledger = Ledger::new(&clients, TABLE);
        Ok(Self {
            pump,
            invoke,
            lambda,
            proxy,
            emulator,
            moto,
            clients,
            ledger,
            topic,
            place,
            run,
        })
    }

    /// The emulator's admin API.
    pub fn admin(&self) -> &Admin {
        self.emulator.admin()
    }

    /// What users' programs have in their environment: all that the functions have, and where
    /// functions are invoked.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let (moto, emulator) = (&self.moto.url, &self.emulator.url);
        let mut all = environment(moto, emulator, &self.topic, ANCHOR_BUCKET);
        all.push(("AWS_ENDPOINT_URL_LAMBDA", self.invoke.url()));
        all
    }

    /// The schedules of ticks that there are. The template's own bear the name of their function.
    pub async fn ticks(&self) -> Result<Vec<String>> {
        let list = self.clients.scheduler.list_schedules();
        let all = list.group_name(SCHEDULE_GROUP).send().await?.schedules;
        let names = all.into_iter().filter_map(|schedule| schedule.name);
        Ok(names
            .filter(|name| !FUNCTIONS.contains(&name.as_str()))
            .collect())
    }

    /// Fails if a part of it does not run any more.
    pub fn check(&mut self) -> Result<()> {
        self.moto.check()?;
        self.emulator.check()?;
        self.lambda.check()
    }

    /// Runs the built `tidegate` against it; gives the exit code and what it wrote.
    pub async fn tidegate(&self, args: &[&str]) -> Result<(i32, String)> {
        let mut command = Command::new(self.place.program("tidegate")?);
        command
            .args(args)
            .current_dir(self.place.root())
            .env("NO_COLOR", "1")
            .kill_on_drop(true);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"))
        {
            command.env_remove(name);
        }
        let output = command
            .envs(self.environment())
            .output()
            .await
            .context("tidegate can't be started")?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code().unwrap_or(-1), text))
    }

    /// Applies a policy by `tidegate apply`.
    pub async fn apply(&self, name: &str, policy: &str) -> Result<()> {
        let file = self.run.path().join(format!("{name}.toml"));
        std::fs::write(&file, policy)?;
        let (code, text) = self
            .tidegate(&["apply", &file.to_string_lossy(), "--by", "the story"])
            .await?;
        if code != 0 {
            bail!("tidegate apply ended with {code}:\n{text}");
        }
        Ok(())
    }

    /// Sends an event to the default event bus, as anybody in the account can.
    pub async fn put_event(&self, source: &str, detail_type: &str, detail: &Value) -> Result<()> {
        let entry = aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
            .source(source)
            .detail_type(detail_type)
            .detail(detail.to_string())
            .build();
        let put = self
            .clients
            .events
            .put_events()
            .entries(entry)
            .send()
            .await?;
        if put.failed_entry_count() > 0 {
            bail!("the event was refused: {:?}", put.entries());
        }
        Ok(())
    }

    /// Moves a standing clock on by minutes, and lets what follows happen after each.
    pub async fn pass_minutes(&self, minutes: u32) -> Result<()> {
        for _ in 0..minutes {
            self.admin().advance(60).await?;
            self.pump.settle(Duration::from_secs(30)).await?;
        }
        Ok(())
    }

    /// The ends of all logs, for when something went wrong.
    pub fn last_lines(&self, count: usize) -> String {
        self.lambda.last_lines(count) + &self.emulator.last_lines(count / 2)
    }
}

fn environment(
    moto: &str,
    sagemaker: &str,
    topic: &str,
    anchors: &str,
) -> Vec<(&'static str, String)> {
    let mut all = clients::environment(moto, sagemaker);
    all.extend([
        ("TIDEGATE_TABLE", TABLE.to_owned()),
        ("TIDEGATE_TOPIC_ARN", topic.to_owned()),
        (
            "TIDEGATE_SHIFT_FUNCTION_ARN",
            clients::arn("lambda", "function:canary-shift"),
        ),
        (
            "TIDEGATE_SCHEDULER_ROLE_ARN",
            clients::role("tidegate-scheduler"),
        ),
        ("TIDEGATE_SCHEDULE_GROUP", SCHEDULE_GROUP.to_owned()),
        ("TIDEGATE_ANCHOR_BUCKET", anchors.to_owned()),
        ("RUST_LOG", "info".to_owned()),
    ]);
    all
}
