//! Opens the ledger and the world, and finds a pipeline by what a person calls it.

use jiff::Timestamp;
use tidegate_aws::{AwsWorld, Clients, DynamoLedger, Settings};
use tidegate_core::ledger::{Ledger as _, LedgerError, Route, RouteKind, Snapshot};
use tidegate_core::name::GroupName;

use crate::error::{Place, Problem};

/// A ledger, and which one it is.
#[derive(Debug)]
pub(crate) struct Connection {
    ledger: DynamoLedger,
    world: AwsWorld,
    place: Place,
}

/// Opens the world alone, to ask only: for what needs no ledger.
pub(crate) async fn open_world() -> Result<AwsWorld, Problem> {
    let clients = Clients::from_env().await;
    if clients.dynamodb.config().region().is_none() {
        return Err(Problem::no_region());
    }
    Ok(AwsWorld::new(clients, no_effects(String::new())))
}

/// Opens `SageMaker` and the world, to ask only; the region besides.
pub(crate) async fn open_sagemaker()
-> Result<(aws_sdk_sagemaker::Client, AwsWorld, String), Problem> {
    let clients = Clients::from_env().await;
    let sagemaker = clients.sagemaker.clone();
    let region = sagemaker.config().region().ok_or_else(Problem::no_region)?;
    let region = region.to_string();
    let world = AwsWorld::new(clients, no_effects(String::new()));
    Ok((sagemaker, world, region))
}

/// What the functions are told by their environment is for effects, and none is done here.
fn no_effects(table: String) -> Settings {
    Settings {
        table,
        topic: String::new(),
        shift_function: String::new(),
        scheduler_role: String::new(),
        schedule_group: String::new(),
        anchor_bucket: None,
    }
}

impl Connection {
    /// Opens the ledger in `table`; nothing is called yet.
    pub(crate) async fn open(table: Option<&str>) -> Result<Self, Problem> {
        let table = table
            .filter(|t| !t.trim().is_empty())
            .ok_or_else(Problem::no_table)?;
        let clients = Clients::from_env().await;
        let region = clients
            .dynamodb
            .config()
            .region()
            .ok_or_else(Problem::no_region)?;
        let place = Place {
            table: table.to_owned(),
            region: region.to_string(),
        };
        tracing::info!(
            table = place.table,
            region = place.region,
            "reading the ledger"
        );
        let ledger = DynamoLedger::new(clients.dynamodb.clone(), table);
        Ok(Self {
            ledger,
            world: AwsWorld::new(clients, no_effects(table.to_owned())),
            place,
        })
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> &DynamoLedger {
        &self.ledger
    }

    /// The world, to ask only: no command of this program changes it.
    pub(crate) fn world(&self) -> &AwsWorld {
        &self.world
    }

    /// Which ledger it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// What to tell of the ledger's error.
    pub(crate) fn failed(&self) -> impl Fn(LedgerError) -> Problem + '_ {
        |error| Problem::ledger(&error, &self.place)
    }

    /// The group that a person means by `name`, and its state: a group of that name, else the
    /// group of the pipeline of that name.
    pub(crate) async fn find(&self, name: &str) -> Result<(GroupName, Snapshot), Problem> {
        // What is no name can't be in the ledger either.
        let Ok(group) = GroupName::parse(name) else {
            return Err(Problem::no_pipeline(name));
        };
        if let Some(snapshot) = self
            .ledger
            .load(&group, None)
            .await
            .map_err(self.failed())?
        {
            return Ok((group, snapshot));
        }
        let route = Route {
            kind: RouteKind::Pipeline,
            name: name.to_owned(),
        };
        if let Some(group) = self.ledger.route(&route).await.map_err(self.failed())?
            && let Some(snapshot) = self
                .ledger
                .load(&group, None)
                .await
                .map_err(self.failed())?
        {
            return Ok((group, snapshot));
        }
        Err(Problem::no_pipeline(name))
    }

    /// The groups of all pipelines that are in force, in the order of the pipelines' names.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupName>, Problem> {
        let routes = self
            .ledger
            .routes(RouteKind::Pipeline)
            .await
            .map_err(self.failed())?;
        Ok(routes.into_iter().map(|(_, group)| group).collect())
    }
}

/// The latest time that a ledger speaks of: its clock may be ahead of this machine's.
pub(crate) fn latest<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Option<Timestamp> {
    snapshots
        .into_iter()
        .filter_map(|snapshot| snapshot.head.now)
        .max()
}
