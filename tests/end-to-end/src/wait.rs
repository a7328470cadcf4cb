//! Waiting for something to be true, with a limit in emulator time and one in real time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::emulator::Admin;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// How long to wait for something.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// In emulator minutes.
    pub minutes: i64,
    /// In real time, however fast the emulator's clock is.
    pub real: Duration,
}

impl Patience {
    /// So many emulator minutes, and a real limit in case the emulator has stopped.
    pub fn minutes(minutes: i64) -> Self {
        Self {
            minutes,
            real: Duration::from_mins(4),
        }
    }
}

/// Asks `look` until it gives something. `what` is what is waited for, in words; `look` may say
/// where it is, for the message when patience ends.
pub async fn until<T>(
    admin: &Admin,
    what: &str,
    patience: Patience,
    mut look: impl AsyncFnMut(&mut String) -> Result<Option<T>>,
) -> Result<T> {
    let (start, real) = (admin.now().await?, Instant::now());
    let mut state = String::new();
    loop {
        // Boxed: what a look holds would otherwise be part of every future that waits.
        if let Some(found) = Box::pin(look(&mut state)).await? {
            return Ok(found);
        }
        let minutes = admin.now().await?.duration_since(start).as_mins();
        if minutes > patience.minutes || real.elapsed() > patience.real {
            bail!(
                "waited for this in vain, {minutes} minutes of the emulator's clock: {what} (last seen: {state})"
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
