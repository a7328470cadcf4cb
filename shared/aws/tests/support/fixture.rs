//! The world with moto and the emulator behind it, for the tests of one effect or question.

use serde_json::{Value, json};
use tidegate_aws::{AwsWorld, Clients};

use super::Server;

/// All of them; they end with it.
pub(crate) struct Fixture {
    pub(crate) world: AwsWorld,
    pub(crate) clients: Clients,
    emulator: Server,
    _moto: Server,
}

/// A world with an empty bucket named `bucket`.
pub(crate) async fn fixture() -> Fixture {
    let moto = super::moto();
    let emulator = super::sagemaker_local(&moto);
    let clients = super::clients_of_both(&moto, &emulator);
    let create = clients.s3.create_bucket().bucket("bucket");
    create.send().await.unwrap();
    Fixture {
        world: AwsWorld::new(clients.clone(), super::settings("arn:aws:sns:::t")),
        clients,
        emulator,
        _moto: moto,
    }
}

impl Fixture {
    /// An order to the emulator's admin API.
    pub(crate) fn order(&self, path: &str, body: &Value) {
        super::order(&self.emulator, path, body);
    }

    /// Moves the emulator's clock on.
    pub(crate) fn minutes_pass(&self, minutes: u32) {
        let seconds = f64::from(minutes) * 60.0;
        self.order("/clock", &json!({ "advance_seconds": seconds }));
    }
}
