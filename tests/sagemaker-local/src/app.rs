//! What every part of the emulator shares.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot, watch};

use crate::args::Args;
use crate::aws::Aws;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::moment::{Moment, Span};
use crate::record::Recorder;
use crate::schedules::Timetable;
use crate::shapes::Model;
use crate::world::{Due, World};

/// Time that is moved by hand waits for working tasks no longer than this.
const LONGEST_WORK: Duration = Duration::from_mins(10);

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
    /// How many tasks do something in real time that time moved by hand waits for.
    work: watch::Sender<usize>,
    world: Mutex<World>,
}

/// Held by a task while it works in real time.
pub(crate) struct Working(Arc<App>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.work.send_modify(|count| *count -= 1);
    }
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
            .timeout(Duration::from_secs(u64::from(
                args.invocation_timeout_real_seconds,
            )))
            .connect_timeout(Duration::from_secs(2))
            .pool_max_idle_per_host(64)
            .no_proxy()
            .build()
            .context("the HTTP client for model servers")?;
        let start = args.start.unwrap_or_else(Moment::real);
        let metrics = Metrics::new(args.metric_delay_seconds, args.seed);
        let world = World::new(args.seed, args.duplicate_events, metrics, aws.is_some());
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
            work: watch::Sender::new(0),
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

    /// A task begins to work.
    pub(crate) fn working(self: &Arc<Self>) -> Working {
        self.work.send_modify(|count| *count += 1);
        Working(self.clone())
    }

    /// Waits until no task works; at most so long, in real time, that a stuck one is no end.
    pub(crate) async fn idle(&self) {
        let mut work = self.work.subscribe();
        let idle = work.wait_for(|count| *count == 0);
        if tokio::time::timeout(LONGEST_WORK, idle).await.is_err() {
            tracing::warn!("time moves on although some job is still at work");
        }
    }

    /// Sleeps on the emulator's clock: stops to work, and works again after.
    pub(crate) async fn sleep(&self, span: Span, working: Working) -> Option<Working> {
        let (sender, receiver) = oneshot::channel();
        self.schedule(self.clock.now() + span, Due::Wake(sender));
        drop(working);
        receiver.await.ok()
    }

    /// The clients of moto, or the reason why something that needs them fails.
    pub(crate) fn aws(&self) -> anyhow::Result<&Aws> {
        self.aws
            .as_ref()
            .context("this needs S3: start sagemaker-local with --aws-endpoint")
    }
}
