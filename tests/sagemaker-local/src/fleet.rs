//! The instances of one variant: model servers as processes, or a script in their place.
//!
//! A variant is up when every container of every instance answers `GET /ping` with 200; one whose
//! image can't serve never does, and its deployment fails as AWS's would.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::sync::watch;

use crate::app::App;
use crate::json::text;
use crate::script::Script;
use crate::server::{self, Container, Server};
use crate::world::Due;

/// How long requests under way may keep a fleet, in real time.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// A variant's instances.
pub(crate) struct Fleet {
    pub(crate) endpoint: String,
    pub(crate) variant: String,
    /// Names the fleet's folder; no two fleets share one.
    id: u64,
    pub(crate) backend: Backend,
    /// A seeded script has draws of its own.
    pub(crate) script_rng: Mutex<Option<StdRng>>,
    instances: Mutex<Vec<Instance>>,
    turn: AtomicUsize,
    /// Counts calls of [`scale`]; the report of an earlier one is void.
    scaling: AtomicU64,
    state: watch::Sender<State>,
}

/// What answers.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    /// Answers in process.
    Scripted(Box<Script>),
    /// One server process per container and instance.
    Servers(Vec<Container>),
    /// Never answers /ping, for this reason.
    Never(String),
}

/// Whether a fleet is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Ready,
    Failed(String),
}

/// One instance: its containers in the order in which a request passes them.
struct Instance {
    servers: Vec<Arc<Server>>,
    /// Dropped or set to true: the servers end.
    stop: watch::Sender<bool>,
}

impl Fleet {
    /// A fleet without instances for a model's containers.
    pub(crate) fn planned(endpoint: &str, variant: &str, containers: &[Value]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let backend = backend(variant, containers);
        let script_rng = match &backend {
            Backend::Scripted(script) => script.seed.map(StdRng::seed_from_u64),
            _ => None,
        };
        Self {
            endpoint: endpoint.to_owned(),
            variant: variant.to_owned(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            backend,
            script_rng: Mutex::new(script_rng),
            instances: Mutex::default(),
            turn: AtomicUsize::new(0),
            scaling: AtomicU64::new(0),
            state: watch::Sender::new(State::Starting),
        }
    }

    /// The shortest emulator time that a script wants to come up in.
    pub(crate) fn start_seconds(&self) -> Option<f64> {
        match &self.backend {
            Backend::Scripted(script) => script.start_seconds,
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits, in real time, until the fleet is up or has failed.
    pub(crate) async fn settled(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as the fleet.
        let _closed = state.wait_for(|state| *state != State::Starting).await;
    }

    /// How many instances there are, up or not.
    pub(crate) fn size(&self) -> u32 {
        match &self.backend {
            Backend::Servers(_) => u32::try_from(self.lock().len()).unwrap_or(u32::MAX),
            // Scripted instances cost nothing; there are always as many as wanted.
            _ => u32::MAX,
        }
    }

    /// The servers of the instance whose turn it is.
    pub(crate) fn next_instance(&self) -> Option<Vec<Arc<Server>>> {
        let instances = self.lock();
        if instances.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        instances
            .get(turn % instances.len())
            .map(|instance| instance.servers.clone())
    }

    /// Ends all servers.
    pub(crate) fn stop(&self) {
        self.scaling.fetch_add(1, Ordering::Relaxed);
        for instance in self.lock().drain(..) {
            instance.stop.send_replace(true);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a fleet's servers once the requests that were routed to it are answered: a deployment loses
/// none. Requests hold on to their fleet; nobody else does any more.
pub(crate) async fn drain(fleet: Arc<Fleet>) {
    let started = Instant::now();
    while Arc::strong_count(&fleet) > 1 && started.elapsed() < LONGEST_DRAIN {
        tokio::time::sleep(DRAIN_PAUSE).await;
    }
    fleet.stop();
}

/// Brings a fleet to a number of instances; `report` is put down when it is up or has failed.
pub(crate) fn scale(app: &Arc<App>, fleet: &Arc<Fleet>, count: u32, report: Option<Due>) {
    let call = fleet.scaling.fetch_add(1, Ordering::Relaxed) + 1;
    let containers = match &fleet.backend {
        Backend::Scripted(script) if script.fail_ping => {
            fleet
                .state
                .send_replace(State::Failed(no_ping(&fleet.variant)));
            return;
        }
        Backend::Scripted(_) => {
            fleet.state.send_replace(State::Ready);
            return;
        }
        Backend::Never(reason) => {
            fleet.state.send_replace(State::Failed(reason.clone()));
            return;
        }
        Backend::Servers(containers) => containers.clone(),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let surplus: Vec<Instance> = {
        let mut instances = fleet.lock();
        let keep = count.min(instances.len());
        instances.drain(keep..).collect()
    };
    for instance in surplus {
        instance.stop.send_replace(true);
    }
    if fleet.lock().len() == count {
        fleet.state.send_replace(State::Ready);
        return;
    }
    fleet.state.send_replace(State::Starting);
    let (app, fleet) = (app.clone(), fleet.clone());
    tokio::spawn(async move {
        let outcome = grow(&app, &fleet, &containers, count, call).await;
        if fleet.scaling.load(Ordering::Relaxed) != call {
            return; // Stopped or scaled again meanwhile.
        }
        fleet.state.send_replace(match outcome {
            Ok(()) => State::Ready,
            Err(error) => State::Failed(error),
        });
        if let Some(report) = report {
            app.schedule(app.clock.now(), report);
        }
    });
}

async fn grow(
    app: &Arc<App>,
    fleet: &Arc<Fleet>,
    containers: &[Container],
    count: usize,
    call: u64,
) -> Result<(), String> {
    let home = app
        .data_dir
        .join("endpoints")
        .join(&fleet.endpoint)
        .join(format!(
            "{}-{}-{}",
            fleet.variant,
            std::process::id(),
            fleet.id
        ));
    let roots = server::prepare(app, containers, &home)
        .await
        .map_err(|error| format!("{error:#}"))?;
    let mut new = Vec::new();
    {
        let mut instances = fleet.lock();
        while instances.len() < count && fleet.scaling.load(Ordering::Relaxed) == call {
            let (stop, stopped) = watch::channel(false);
            let label = format!("{}-{}", fleet.endpoint, fleet.variant);
            let servers: Vec<_> = containers
                .iter()
                .zip(&roots)
                .map(|(container, root)| {
                    server::start(app, container, root, &label, stopped.clone())
                })
                .collect();
            new.extend(servers.iter().cloned());
            instances.push(Instance { servers, stop });
        }
    }
    for server in new {
        if let Err(log) = server.up().await {
            tracing::warn!(
                endpoint = fleet.endpoint,
                variant = fleet.variant,
                log,
                "no ping"
            );
            return Err(no_ping(&fleet.variant));
        }
    }
    Ok(())
}

/// What AWS answers for a server that never got healthy.
fn no_ping(variant: &str) -> String {
    format!(
        "The primary container for production variant {variant} did not pass the ping health check. Please check CloudWatch logs for this endpoint."
    )
}

fn backend(variant: &str, containers: &[Value]) -> Backend {
    let script = containers
        .iter()
        .find_map(|container| text(container.get("Environment")?, "SAGEMAKER_LOCAL_SCRIPT"));
    if let Some(script) = script {
        return match serde_json::from_str(script) {
            Ok(script) => Backend::Scripted(Box::new(script)),
            Err(error) => Backend::Never(format!("SAGEMAKER_LOCAL_SCRIPT is not valid: {error}")),
        };
    }
    let cannot = containers
        .iter()
        .filter_map(|container| text(container, "Image"))
        .any(|image| !can_serve(image));
    if cannot {
        return Backend::Never(no_ping(variant));
    }
    Backend::Servers(containers.iter().map(Container::of).collect())
}

/// Whether an image has a model server: AWS's images for training alone are named `...-training`.
fn can_serve(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    let repository = name.split(['@', ':']).next().unwrap_or(name);
    !repository.ends_with("-training")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn training_images_can_not_serve() {
        assert!(!can_serve(
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.1-cpu-py310"
        ));
        assert!(can_serve(
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310"
        ));
        assert!(can_serve(
            "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
        ));
    }

    #[test]
    fn a_script_takes_the_place_of_servers() {
        let containers = [
            json!({"Image": "x", "Environment": {"SAGEMAKER_LOCAL_SCRIPT": "{\"error_rate\":0.5}"}}),
        ];
        assert!(matches!(backend("v1", &containers), Backend::Scripted(_)));
        let broken = [json!({"Image": "x", "Environment": {"SAGEMAKER_LOCAL_SCRIPT": "{"}})];
        assert!(matches!(backend("v1", &broken), Backend::Never(_)));
    }
}
