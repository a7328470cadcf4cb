//! The truth about an endpoint by the minute: status, config, weights, and what users met, without
//! the delay of metrics.

use serde_json::{Value, json};

use crate::moment::Moment;
use crate::world::World;

/// More minutes are not told; the latest are.
const MOST_MINUTES: i64 = 7 * 24 * 60;

/// Each minute since the endpoint was created, with the state at its end; `None` without endpoint.
pub(crate) fn of(world: &World, name: &str, now: Moment) -> Option<Value> {
    let endpoint = world.endpoints.get(name)?;
    let history = &endpoint.history;
    let created = history
        .first()
        .map_or(endpoint.created, |(at, _)| *at)
        .minute();
    let first = created.max(now.minute() - MOST_MINUTES);
    let mut minutes = Vec::new();
    let mut next = 0;
    let mut state = json!({});
    for minute in first..=now.minute() {
        let end = Moment::of_minute(minute + 1);
        while let Some((_, changed)) = history.get(next).filter(|(at, _)| *at < end) {
            state = changed.clone();
            next += 1;
        }
        minutes.push(json!({
            "minute": Moment::of_minute(minute).iso(),
            "status": state["status"],
            "config": state["config"],
            "variants": state["variants"],
            "counts": world.metrics.truth(name, minute),
        }));
    }
    Some(json!({"endpoint": name, "minutes": minutes}))
}
