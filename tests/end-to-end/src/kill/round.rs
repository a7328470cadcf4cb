//! Some pipelines side by side, from the training job until all is over.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::outcome::{Left, Outcome};
use super::plan::Case;
use super::stories::{self, Story};
use super::{PREFIX, patience};
use crate::lambda::FUNCTIONS;
use crate::proxy::Call;
use crate::world::{SCHEDULE_GROUP, World};
use crate::{notices, queues};

/// Emulator minutes after which a story that is not over is taken as it is: about twice what it
/// takes without faults.
const MOST_MINUTES: u32 = 50;
/// Minutes after the end: the third attempt of an event comes three minutes after its first.
const AFTERMATH: u32 = 4;
/// Minutes within which people's endpoints serve.
const MOST_TO_SERVE: u32 = 3;

/// Pipelines that begin together.
pub(super) struct Round<'a> {
    number: &'a mut u32,
    members: Vec<Member>,
}

struct Member {
    name: String,
    story: Story,
    case: Option<Case>,
    is_over: bool,
}

/// How a pipeline ended.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) story: Story,
    pub(super) case: Option<Case>,
    pub(super) outcome: Outcome,
    /// The functions' calls that mention it.
    pub(super) calls: Vec<Call>,
}

impl<'a> Round<'a> {
    /// Without members; `number` is the last that a pipeline was named by.
    pub(super) fn new(number: &'a mut u32) -> Self {
        Self {
            number,
            members: Vec::new(),
        }
    }

    /// Adds a pipeline: a case, or a story without a fault.
    pub(super) fn add(&mut self, case: Option<Case>, story: Story) {
        *self.number += 1;
        self.members.push(Member {
            name: format!("{PREFIX}{:04}", self.number),
            story,
            case,
            is_over: false,
        });
    }

    /// The pipelines' names.
    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|m| m.name.clone()).collect()
    }

    /// Runs it to its end.
    pub(super) async fn run(self, world: &mut World) -> Result<Vec<Ended>> {
        self.begin(world).await?;
        self.go_on(world).await
    }

    /// Goes on to its end, once it has begun.
    pub(super) async fn go_on(mut self, world: &mut World) -> Result<Vec<Ended>> {
        for _ in 0..MOST_MINUTES {
            self.pass_minute(world).await?;
            self.look(world).await?;
            if self.members.iter().all(|member| member.is_over) {
                break;
            }
        }
        for _ in 0..AFTERMATH {
            self.pass_minute(world).await?;
        }
        world.check()?;
        self.end(world).await
    }

    /// Until the training jobs run.
    pub(super) async fn begin(&self, world: &World) -> Result<()> {
        stories::prepare(world).await?;
        let proxy = world.proxy.as_ref().context("the world has a proxy")?;
        // Before anything of them is heard: even the event of people's endpoint is looked into.
        for member in &self.members {
            if let Some(case) = &member.case {
                proxy.order(case.fault(&member.name));
            }
        }
        let mut files = Vec::new();
        for member in &self.members {
            files.push(stories::set_up(world, &member.name, member.story).await?);
        }
        let mut words = vec!["apply", "--no-probe", "--by", "the matrix"];
        words.extend(files.iter().map(String::as_str));
        let (code, text) = world.tidegate(&words).await?;
        if code != 0 {
            bail!("tidegate apply ended with {code}:\n{text}");
        }
        for _ in 0..MOST_TO_SERVE {
            self.pass_minute(world).await?;
        }
        for member in &self.members {
            stories::users(world, &member.name, true).await?;
            stories::train(world, &member.name).await?;
        }
        Ok(())
    }

    pub(super) async fn pass_minute(&self, world: &World) -> Result<()> {
        world.admin().advance(60).await?;
        world.pump.settle(patience(self.members.len())).await
    }

    /// Sees whose story is over; its users go home.
    async fn look(&mut self, world: &World) -> Result<()> {
        for member in self.members.iter_mut().filter(|member| !member.is_over) {
            let head = world.ledger.head(&member.name).await?;
            let is_open = !head.rollouts.is_empty() || !head.waiting.is_empty();
            if is_open || head.approvals.is_empty() {
                continue;
            }
            member.is_over = world.ledger.pending(&member.name).await? == 0
                && !world.ledger.finished(&member.name).await?.is_empty();
            if member.is_over {
                stories::users(world, &member.name, false).await?;
            }
        }
        Ok(())
    }

    async fn end(self, world: &World) -> Result<Vec<Ended>> {
        let proxy = world.proxy.as_ref().context("the world has a proxy")?;
        let mut left = left(world).await?;
        let mut all = Vec::new();
        for member in self.members {
            if !member.is_over {
                stories::users(world, &member.name, false).await?;
            }
            proxy.forget(&member.name);
            let left = left.remove(&member.name).unwrap_or_default();
            all.push(Ended {
                outcome: Outcome::read(world, &member.name, left).await?,
                calls: proxy.calls(&member.name),
                name: member.name,
                story: member.story,
                case: member.case,
            });
        }
        Ok(all)
    }
}

/// What is in the queues and among the schedules, by pipeline.
async fn left(world: &World) -> Result<BTreeMap<String, Left>> {
    let mut all: BTreeMap<String, Left> = BTreeMap::new();
    for told in notices::take(&world.clients, &world.moto.url).await? {
        let id = told.id.context("a notice has an id")?;
        let what = told.what.context("a notice says what it is about")?;
        if let Some(name) = named(&id) {
            all.entry(name).or_default().notices.insert(what);
        }
    }
    for function in FUNCTIONS {
        let dead = queues::take_dead_letters(&world.clients, &world.moto.url, function).await?;
        for record in dead {
            let event = &record["requestPayload"];
            if event["tidegate"] == "tick" {
                continue;
            }
            let kind = event["detail-type"].as_str().unwrap_or("an event");
            let why = crate::pump::reason(&record["responsePayload"]);
            if let Some(name) = named(&event.to_string()) {
                all.entry(name)
                    .or_default()
                    .dead
                    .push(format!("{function}: {kind}: {why}"));
            }
        }
    }
    let client = &world.clients.scheduler;
    let list = client.list_schedules().group_name(SCHEDULE_GROUP);
    for one in list.send().await?.schedules {
        let Some(schedule) = one.name else { continue };
        let get = client.get_schedule().group_name(SCHEDULE_GROUP);
        // It may have been deleted since.
        let found = get.name(&schedule).send().await.ok();
        let input = found
            .and_then(|found| found.target?.input)
            .unwrap_or_default();
        let input: Value = serde_json::from_str(&input).unwrap_or_default();
        if let Some(name) = input["group"].as_str() {
            all.entry(name.to_owned())
                .or_default()
                .schedules
                .push("a schedule".to_owned());
        }
    }
    Ok(all)
}

/// The pipeline that a text names.
fn named(text: &str) -> Option<String> {
    let rest = &text[text.find(PREFIX)?..];
    let digits = rest[PREFIX.len()..].bytes().take_while(u8::is_ascii_digit);
    Some(rest[..PREFIX.len() + digits.count()].to_owned())
}
