//! What runs in the local world, and how to work with it.

use std::time::Duration;

use anyhow::Result;
use tidegate_end_to_end::world::{BUCKET, World};

/// Prints the `export` lines and what runs, and stays until it is stopped.
pub(crate) async fn show(world: &mut World) -> Result<()> {
    println!("# Tidegate's local world is up. In another shell:");
    stay(world).await
}

/// Prints how to work with a world, and stays until it is stopped or a part of it ends.
pub(crate) async fn stay(world: &mut World) -> Result<()> {
    println!();
    for (name, value) in world.environment() {
        // For the functions alone.
        if ![
            "RUST_LOG",
            "TIDEGATE_SHIFT_FUNCTION_ARN",
            "TIDEGATE_SCHEDULER_ROLE_ARN",
        ]
        .contains(&name)
        {
            println!("export {name}={value}");
        }
    }
    println!(
        "export SAGEMAKER_ROLE={}",
        tidegate_end_to_end::clients::role("SageMakerExecutionRole")
    );
    println!("export BUCKET={BUCKET}");
    println!(
        "export PATH=\"{}:$PATH\"",
        world
            .place
            .program("tidegate")?
            .parent()
            .unwrap_or(world.place.root())
            .display()
    );
    println!();
    println!(
        "# moto (DynamoDB, S3, SNS, SQS, EventBridge, Scheduler)  {}",
        world.moto.url
    );
    println!(
        "# sagemaker-local (SageMaker, its runtime, CloudWatch)   {}",
        world.emulator.url
    );
    println!(
        "# functions (cargo lambda watch)                         {}",
        world.lambda.url
    );
    println!(
        "# logs                                                   {}",
        world.run.path().join("log").display()
    );
    println!("# docs/try-it.md walks through it. Ctrl-C ends it.");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.check()?;
    }
}
