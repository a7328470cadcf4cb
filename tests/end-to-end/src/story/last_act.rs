//! Act 6: the trail of what happened can be trusted, and nothing is left behind.

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::{PROJECT, Story};
use crate::lambda::FUNCTIONS;
use crate::queues;

impl Story {
    /// Act 6.
    pub(super) async fn trail(&mut self) -> Result<()> {
        self.teller
            .act(6, "the audit trail is whole, and a changed entry is caught");
        self.verify().await?;
        self.explained().await?;
        self.nothing_is_left().await?;
        self.conformance().await?;

        self.new_notices().await?;
        self.teller.plain("\nWhat people were told, by SNS:");
        for (number, told) in self.report.notices.iter().enumerate() {
            let severity = told.severity.as_deref().unwrap_or("?");
            self.teller.plain(&format!(
                "{:>4}. {severity:<8} {}",
                number + 1,
                told.subject
            ));
        }
        self.check(
            !self.report.notices.is_empty(),
            "people were told of it all",
        )
    }

    async fn verify(&mut self) -> Result<()> {
        let entries = self.world.ledger.entries(PROJECT).await?;
        let (code, text) = self.world.tidegate(&["audit", "verify", PROJECT]).await?;
        self.say("you", "tidegate audit verify").await?;
        self.teller.plain(&text);
        self.report.audit.entries = entries.len();
        self.report.audit.whole = code == 0;
        self.check(
            code == 0,
            &format!("all {} entries are as they were written", entries.len()),
        )?;

        let (sk, text) = entries
            .get(entries.len() / 2)
            .context("there are audit entries")?;
        let changed = changed(text)?;
        self.world.ledger.overwrite(PROJECT, sk, &changed).await?;
        self.say("someone", &format!("changes one word of {sk} in DynamoDB"))
            .await?;
        let (code, words) = self.world.tidegate(&["audit", "verify", PROJECT]).await?;
        self.world.ledger.overwrite(PROJECT, sk, text).await?;
        self.teller.plain(&words);
        self.report.audit.change_was_caught = code == 1;
        self.report.audit.words = words;
        self.check(code == 1, "the change is caught")?;
        let (code, _) = self.world.tidegate(&["audit", "verify", PROJECT]).await?;
        self.check(code == 0, "put back, the trail is whole again")
    }

    /// Who asks where the champion comes from is told, down to its data.
    async fn explained(&mut self) -> Result<()> {
        let champion = format!("{PROJECT}/5");
        let before = format!("{PROJECT}/2");
        self.say("you", &format!("tidegate lineage {champion}"))
            .await?;
        let (code, tree) = self.world.tidegate(&["lineage", &champion]).await?;
        self.teller.plain(&tree);
        let is_told = code == 0 && tree.contains("data ") && !tree.contains("not recorded");
        self.check(
            is_told,
            "the champion is traced down to the versions of its data",
        )?;
        self.say("you", &format!("tidegate diff {before} {champion}"))
            .await?;
        let (code, diff) = self.world.tidegate(&["diff", &before, &champion]).await?;
        self.teller.plain(&diff);
        self.check(
            code == 0 && diff.contains("metric"),
            "what it differs in from the champion before is told",
        )
    }

    async fn nothing_is_left(&mut self) -> Result<()> {
        let clients = self.world.clients.clone();
        let pending = self.world.ledger.pending(PROJECT).await?;
        let ticks = self.world.ticks().await?;
        self.check(
            pending == 0 && ticks.is_empty(),
            "nothing is pending, no rollout ticks any more",
        )?;
        let models = clients.sagemaker.list_models().send().await?;
        let configs = clients.sagemaker.list_endpoint_configs().send().await?;
        let is_tidy = models.models().len() == 1 && configs.endpoint_configs().len() == 1;
        self.check(
            is_tidy,
            "one model and one endpoint config are left: the champion's",
        )?;
        let mut dead = Vec::new();
        for function in FUNCTIONS {
            dead.extend(queues::take_dead_letters(&clients, &self.world.moto.url, function).await?);
        }
        self.check(dead.is_empty(), "no event was given up")
    }

    /// Every request and answer of the emulator against the service models that botocore ships.
    async fn conformance(&mut self) -> Result<()> {
        let script = self
            .world
            .place
            .root()
            .join("tests/sagemaker-local/conformance/check.py");
        let mut command = Command::new(self.world.place.python()?);
        command
            .arg(script)
            .arg(&self.world.emulator.record)
            .kill_on_drop(true);
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let summary = text.lines().last().unwrap_or_default().to_owned();
        if !output.status.success() {
            let first: Vec<&str> = text.lines().take(20).collect();
            bail!(
                "the emulator is not as AWS's service models say:\n{}",
                first.join("\n")
            );
        }
        self.check(true, &format!("as AWS's service models say: {summary}"))
    }
}

/// An entry's text with one letter of its reason changed.
fn changed(text: &str) -> Result<String> {
    let mut entry: serde_json::Value = serde_json::from_str(text)?;
    let body = entry.get_mut("body").context("an entry has a body")?;
    let words = body
        .as_str()
        .context("a body is text")?
        .replacen("tumours", "tumors", 1);
    *body = words.into();
    Ok(entry.to_string())
}
