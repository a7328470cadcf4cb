//! `sagemaker-local`: the part of SageMaker and CloudWatch that no local tool has.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::args::Args;
use crate::world::Due;

mod admin;
mod app;
mod args;
mod arn;
mod aws;
mod capture;
mod clock;
mod cloudwatch;
mod configs;
mod definition;
mod deployment;
mod drive;
mod endpoint;
mod endpoints;
mod errors;
mod events;
mod execution;
mod expression;
mod faults;
mod fleet;
mod http;
mod iam;
mod json;
mod lineage;
mod listing;
mod metrics;
mod models;
mod moment;
mod monitor;
mod packages;
mod page;
mod pipelines;
mod policies;
mod processing;
mod processing_run;
mod protocols;
mod record;
mod resource;
mod runtime;
mod sagemaker;
mod schedules;
mod script;
mod server;
mod shadow;
mod shapes;
mod statistics;
mod storage;
mod tags;
mod timeline;
mod traffic;
mod training;
mod training_run;
mod tuning;
mod tuning_plan;
mod tuning_run;
mod validate;
mod violation;
mod world;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "sagemaker_local=info".into()),
        )
        .init();
    // Removed, with all in it, when it is dropped at the end.
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("sagemaker-local-")
                .tempdir()?,
        ),
    };
    let data_dir = match (&args.data_dir, &temporary) {
        (Some(given), _) => given.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => std::env::temp_dir(),
    };
    std::fs::create_dir_all(&data_dir)
        .with_context(|| format!("can't make the folder {}", data_dir.display()))?;
    let data_dir = data_dir.canonicalize()?;
    let (port, outlive_parent) = (args.port, args.outlive_parent);
    let app = App::new(args, data_dir).await?;
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("can't listen on port {port}; give another with --port"))?;
    let address = listener.local_addr()?;
    app.schedule(app.clock.now(), Due::ReadSchedules);
    tokio::spawn(drive::run(app.clone()));
    {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{}",
            serde_json::json!({"listening": format!("http://{address}")})
        )?;
        out.flush()?;
    }
    tokio::select! {
        served = axum::serve(listener, http::router(app.clone())) => served?,
        () = ended(outlive_parent) => {}
    }
    stop_processes(&app);
    Ok(())
}

/// Waits for SIGINT, SIGTERM, or the end of the process that started this one.
async fn ended(outlive_parent: bool) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        tracing::error!("signals can't be received");
        return;
    };
    let parent = rustix::process::getppid();
    let orphaned = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !outlive_parent && rustix::process::getppid() != parent {
                return;
            }
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = orphaned => {}
    }
}

/// Servers end when their supervisors are dropped with the runtime; jobs are told here.
fn stop_processes(app: &Arc<App>) {
    let world = app.world();
    for endpoint in world.endpoints.values() {
        let new = endpoint.deployment.iter().flat_map(|new| &new.variants);
        endpoint
            .variants
            .iter()
            .chain(new)
            .for_each(|variant| variant.fleet.stop());
    }
    world.jobs.values().for_each(training::Job::kill);
}
