//! What every part of the emulator shares.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};

use crate::args::Args;
use crate::aws::Aws;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::moment::{Moment, Span};
use crate::record::Recorder;
use crate::schedules::Timetable;
use crate::shapes::Model;
use crate::world::{Due, World};

/// The emulator.
pub(crate) struct App {
    pub(crate) args: Args,
    pub(crate) clock: Clock,
    pub(crate) model: Model,
    pub(crate) aws: Option<Aws>,
    pub(crate) http: reqwest::Client,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) data_dir: PathBuf,
    pub(crate) timetable: Mutex<Timetable>,
    /// Held by who does what is due, so that time is driven by one at a time.
    pub(crate) driving: AsyncMutex<()>,
    /// Held by who sends events, so that their order is kept.
    pub(crate) sending: AsyncMutex<()>,
    /// Wakes the driver when something new may be due sooner.
    pub(crate) wake: Notify,
    world: Mutex<World>,
}

impl App {
    pub(crate) async fn new(args: Args, data_dir: PathBuf) -> anyhow::Result<Arc<Self>> {
        let model = Model::of_python(&args.python)?;
        let aws = match &args.aws_endpoint {
            Some(endpoint) => Some(Aws::at(endpoint).await),
            None => None,
        };
        let recorder = args.record.as_deref().map(Recorder::to).transpose()?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(u64::from(args.invocation_timeout_real_seconds)))
            .connect_timeout(Duration::from_secs(2))
            .pool_max_idle_per_host(64)
            .no_proxy()
            .build()
            .context("the HTTP client for model servers")?;
        let start = args.start.unwrap_or_else(Moment::real);
        let metrics = Metrics::new(args.metric_delay_seconds, args.seed);
        let world = World::new(args.seed, args.duplicate_events, metrics);
        Ok(Arc::new(Self {
            clock: Clock::new(start, args.speed),
            model,
            aws,
            http,
            recorder,
            data_dir,
            timetable: Mutex::default(),
            driving: AsyncMutex::new(()),
            sending: AsyncMutex::new(()),
            wake: Notify::new(),
            world: Mutex::new(world),
            args,
        }))
    }

    /// The state. Never hold the guard over an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts work down and wakes the driver.
    pub(crate) fn schedule(&self, at: Moment, due: Due) {
        self.world().schedule(at, due);
        self.wake.notify_one();
    }

    /// Sleeps on the emulator's clock.
    pub(crate) async fn sleep(&self, span: Span) {
        let (sender, receiver) = oneshot::channel();
        self.schedule(self.clock.now() + span, Due::Wake(sender));
        // The sender is dropped only when the emulator ends.
        let _ended = receiver.await;
    }

    /// The clients of moto, or the reason why something that needs them fails.
    pub(crate) fn aws(&self) -> anyhow::Result<&Aws> {
        self.aws.as_ref().context("this needs S3: start sagemaker-local with --aws-endpoint")
    }
}
