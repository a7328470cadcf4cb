//! What the stories look at in the end.

use anyhow::{Result, ensure};
use tidegate_core::rollout::Rollout;
use tidegate_end_to_end::emulator::TrueMinute;
use tidegate_end_to_end::world::World;

use crate::common::{describe, parts, schedules, serving};

/// A variant's share of the traffic while it was there, percent, each change once.
pub(crate) fn shares(minutes: &[TrueMinute], variant: &str) -> Vec<u32> {
    let mut shares: Vec<u32> = minutes
        .iter()
        .filter_map(|minute| {
            let variants = minute.variants.as_ref()?;
            let total: f64 = variants.values().map(|variant| variant.weight).sum();
            let share = 100.0 * variants.get(variant)?.weight / total;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a percentage"
            )]
            Some(share.round() as u32)
        })
        .collect();
    shares.dedup();
    shares
}

/// Checks that a candidate has its endpoint to itself, and that nothing else of its group is left.
pub(crate) async fn serves_alone(
    world: &World,
    group: &str,
    variant: &str,
    rollout: &Rollout,
) -> Result<()> {
    let variants = serving(world, group).await?;
    ensure!(
        variants.len() == 1 && variants[0].0 == variant,
        "{variant} of {group} does not serve alone: {variants:?}"
    );
    let config = describe(world, group).await?.endpoint_config_name;
    ensure!(
        config.as_deref() == Some(rollout.served_config()),
        "{group} serves by {config:?}"
    );
    let (models, configs) = parts(world, group).await?;
    ensure!(
        models == [rollout.model.as_str()] && configs == [rollout.served_config()],
        "old parts of {group} were left: {models:?}, {configs:?}"
    );
    does_not_tick(world, rollout).await
}

pub(crate) async fn does_not_tick(world: &World, rollout: &Rollout) -> Result<()> {
    let ticking = schedules(world).await?;
    ensure!(
        !ticking.iter().any(|name| name.contains(&rollout.id.0)),
        "{} is over and still ticks: {ticking:?}",
        rollout.id.0
    );
    Ok(())
}
