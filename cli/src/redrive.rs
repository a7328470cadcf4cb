//! `tidegate redrive`: events that were given up: which, why, and sending them again.
//!
//! Looking takes none away: what is read is given back. What is sent again may have taken effect
//! before; the ledger knows the events that did (docs/how-it-works.md), so a repeat does no harm.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::json;

use crate::answer::Answer;
use crate::error::{Exit, Problem, short};
use crate::render::{Screen, count};

pub(crate) mod args;
mod letter;
mod queues;
mod shown;
#[cfg(test)]
mod tests;

use args::{Command, Redrive, Replay};
use letter::Letter;
use queues::{Held, Queues, Replayed};
use shown::Shown;

/// Lists, shows, sends again or takes away.
pub(crate) async fn run(args: &Redrive, screen: &Screen) -> Result<Answer, Problem> {
    let queues = Queues::open(&args.at).await?;
    tracing::info!(
        stack = queues.stack,
        region = queues.region,
        "reading the dead letters"
    );
    match args.command.as_ref().unwrap_or(&Command::List) {
        Command::List => list(&queues, screen).await,
        Command::Show { id } => show(&queues, id, screen).await,
        Command::Replay(args) => replay(&queues, args, screen).await,
        Command::Drop { id, yes } => drop_one(&queues, id, *yes, screen).await,
    }
}

async fn list(queues: &Queues, screen: &Screen) -> Result<Answer, Problem> {
    let held = queues.hold().await?;
    let problem = queues.give_back(&held, |_| true).await;
    let Queues { stack, region, .. } = queues;
    let mut text = if held.letters.is_empty() {
        format!("No dead letters in the stack {stack}, {region}.\n")
    } else {
        let many = count(held.letters.len() as u64, "dead letter", "dead letters");
        format!("{many} in the stack {stack}, {region}, newest last\n")
    };
    for letter in &held.letters {
        let _ = write!(text, "\n{}", shown::paragraph(letter, stack, screen));
    }
    let json = json!({
        "stack": stack,
        "region": region,
        "letters": held.letters.iter().map(|l| Shown::of(l, stack)).collect::<Vec<_>>(),
        "more": held.are_more,
        "elsewhere": held.elsewhere,
    });
    Ok(Answer::new(json, text)?
        .remarking(beside(&held))
        .with(problem.into_iter().collect()))
}

/// What the list may lack.
fn beside(held: &Held) -> String {
    let mut text = String::new();
    if held.are_more {
        text.push_str("There may be more: --limit lets no more of a queue through.\n");
    }
    if held.elsewhere > 0 {
        let _ = writeln!(
            text,
            "SQS counted {} that somebody looked at, perhaps you a minute ago: what is not here is \
             back in two minutes at the latest.",
            count(held.elsewhere, "letter", "letters")
        );
    }
    text
}

async fn show(queues: &Queues, id: &str, screen: &Screen) -> Result<Answer, Problem> {
    let held = queues.hold().await?;
    let problem = queues.give_back(&held, |_| true).await;
    let letter = find(&held, id)?;
    let text = shown::whole(letter, &queues.stack, screen);
    Ok(
        Answer::new(Shown::with_payload(letter, &queues.stack), text)?
            .with(problem.into_iter().collect()),
    )
}

/// The letter that a person means by its ID, by the start of it or by the id of its event.
fn find<'a>(held: &'a Held, id: &str) -> Result<&'a Letter, Problem> {
    let is_it = |letter: &&Letter| {
        let event = letter.event.as_ref().ok().map(|event| event.id.0.as_str());
        (!id.is_empty() && letter.id.starts_with(&id.to_ascii_lowercase())) || event == Some(id)
    };
    let found: Vec<&Letter> = held.letters.iter().filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let problem = Problem::new(Exit::No, format!("no dead letter {:?}", short(id)));
            let advice = if held.elsewhere > 0 || held.are_more {
                beside(held).replace('\n', " ").trim().to_owned()
            } else {
                "`tidegate redrive` lists them; one that was sent again is no longer there"
                    .to_owned()
            };
            Err(problem.help(advice))
        }
        many => {
            let ids: Vec<&str> = many.iter().map(|letter| letter.id.as_str()).collect();
            Err(Problem::new(
                Exit::No,
                format!("{:?} may be {}", short(id), ids.join(" or ")),
            )
            .help("give more of the ID"))
        }
    }
}

async fn replay(queues: &Queues, args: &Replay, screen: &Screen) -> Result<Answer, Problem> {
    if args.ids.is_empty() && !args.all {
        return Err(
            Problem::new(Exit::Usage, "it isn't said which letters to send again")
                .help("give their IDs, which `tidegate redrive` lists, or --all"),
        );
    }
    let mut held = queues.hold().await?;
    let chosen = chosen(queues, &held, args).await?;
    let is_chosen = |letter: &&Letter| chosen.contains(&letter.id);
    let is_sent = |letter: &&Letter| is_chosen(letter) && (args.force || !letter.is_poison());

    let many = held.letters.iter().filter(is_sent).count() as u64;
    if !args.yes && many > 0 {
        // Others may look while a person thinks.
        queues.give_back(&held, |_| true).await;
        let mut text = String::new();
        for letter in held.letters.iter().filter(is_chosen) {
            let _ = writeln!(text, "{}", shown::paragraph(letter, &queues.stack, screen));
        }
        let question = format!("Send {} again?", count(many, "event", "events"));
        if !asked(&text, &question)? {
            let json = json!({ "replayed": [], "left": chosen, "more": held.are_more });
            return Ok(Answer::new(json, "Nothing was sent.\n")?.ending(Exit::No));
        }
        held = queues.hold().await?;
    }
    let early = queues.give_back(&held, |letter| !is_sent(&letter)).await;
    let mut problems: Vec<Problem> = early.into_iter().collect();
    let done = queues
        .replay(&held, held.letters.iter().filter(is_sent).collect())
        .await;
    let is_refused = |letter: &Letter| {
        let refused = |(one, what): &(&Letter, Replayed)| {
            one.id == letter.id && matches!(what, Replayed::Refused(_))
        };
        done.iter().any(refused)
    };
    problems.extend(queues.give_back(&held, is_refused).await);

    let mut told = Told::default();
    for (letter, what) in done {
        match what {
            Replayed::Accepted => told.sent(letter, screen),
            Replayed::Kept(problem) => {
                told.sent(letter, screen);
                problems.push(problem);
            }
            Replayed::Refused(problem) => {
                told.stays(letter, screen);
                problems.push(problem);
            }
        }
    }
    for letter in held.letters.iter().filter(|l| is_chosen(l) && !is_sent(l)) {
        told.stays(letter, screen);
        problems.push(poison(letter));
    }
    told.answer(&held, problems)
}

/// What became of the letters that were to be sent.
#[derive(Default)]
struct Told {
    text: String,
    replayed: Vec<String>,
    left: Vec<String>,
}

impl Told {
    fn sent(&mut self, letter: &Letter, screen: &Screen) {
        self.replayed.push(letter.id.clone());
        let _ = writeln!(self.text, "sent   {}  {}", letter.id, line(letter, screen));
    }

    fn stays(&mut self, letter: &Letter, screen: &Screen) {
        self.left.push(letter.id.clone());
        let _ = writeln!(self.text, "stays  {}  {}", letter.id, line(letter, screen));
    }

    fn answer(mut self, held: &Held, problems: Vec<Problem>) -> Result<Answer, Problem> {
        if self.text.is_empty() {
            self.text.push_str("There is no dead letter to send.\n");
        }
        let mut remarks = String::new();
        if !self.replayed.is_empty() {
            remarks.push_str(
                "`tidegate history` shows what they lead to; what fails again is back here in some \
                 minutes.\n",
            );
        }
        remarks.push_str(&beside(held));
        let json = json!({ "replayed": self.replayed, "left": self.left, "more": held.are_more });
        Ok(Answer::new(json, self.text)?
            .remarking(remarks)
            .with(problems))
    }
}

/// The IDs that are to be sent. If one is not there, none is sent.
async fn chosen(queues: &Queues, held: &Held, args: &Replay) -> Result<Vec<String>, Problem> {
    if args.all {
        return Ok(held
            .letters
            .iter()
            .map(|letter| letter.id.clone())
            .collect());
    }
    let found: Result<Vec<String>, Problem> = args
        .ids
        .iter()
        .map(|id| find(held, id).map(|letter| letter.id.clone()))
        .collect();
    if found.is_err() {
        queues.give_back(held, |_| true).await;
    }
    found
}

/// Why an event that can't be read is not sent again.
fn poison(letter: &Letter) -> Problem {
    let why = match &letter.event {
        Err(why) if !letter.is_cut => why.to_string(),
        _ => "the event was cut off".to_owned(),
    };
    Problem::new(
        Exit::No,
        format!("{} was not sent: it would fail again", letter.id),
    )
    .why(why)
    .help(format!(
        "`tidegate redrive drop {}` takes it away",
        letter.id
    ))
    .help("--force sends it nevertheless")
}

fn line(letter: &Letter, screen: &Screen) -> String {
    let text = format!("{}: {}", letter.function.name(), letter.about());
    let text = crate::render::clean(&text);
    let most = screen.width.saturating_sub(20);
    if text.chars().count() <= most {
        return text;
    }
    text.chars()
        .take(most.saturating_sub(3))
        .chain("...".chars())
        .collect()
}

async fn drop_one(
    queues: &Queues,
    id: &str,
    yes: bool,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let mut held = queues.hold().await?;
    let found = find(&held, id).map(|letter| letter.id.clone());
    if !yes || found.is_err() {
        queues.give_back(&held, |_| true).await;
    }
    let id = found?;
    let is_it = |letter: &&Letter| letter.id == id;
    let mut text = String::new();
    if !yes {
        if let Some(letter) = held.letters.iter().find(is_it) {
            text = shown::whole(letter, &queues.stack, screen);
        }
        if !asked(&text, "Take this letter away for good?")? {
            return Ok(Answer::new(json!({ "dropped": null }), "It stays.\n")?.ending(Exit::No));
        }
        held = queues.hold().await?;
    }
    let Some(letter) = held.letters.iter().find(is_it) else {
        queues.give_back(&held, |_| true).await;
        return Err(Problem::new(Exit::No, format!("{id} is no longer there")));
    };
    let problem = queues.give_back(&held, |letter| letter.id != id).await;
    queues.delete(&held, letter).await?;
    if yes {
        // It was shown with the question otherwise.
        let _ = writeln!(text, "{}", shown::whole(letter, &queues.stack, screen));
    } else {
        text.clear();
    }
    let _ = writeln!(text, "{id} was taken away.");
    let json = json!({ "dropped": Shown::with_payload(letter, &queues.stack) });
    Ok(Answer::new(json, text)?.with(problem.into_iter().collect()))
}

/// Asks a person on the terminal. Without one there is nobody to ask.
fn asked(about: &str, question: &str) -> Result<bool, Problem> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Problem::new(
            Exit::Usage,
            "nobody can be asked here, and nothing was done",
        )
        .help("--yes does it without asking"));
    }
    let mut stderr = std::io::stderr().lock();
    let mut answer = String::new();
    write!(stderr, "{about}\n{question} [y/N] ")
        .and_then(|()| stderr.flush())
        .and_then(|()| stdin.lock().read_line(&mut answer))
        .map_err(|error| Problem::new(Exit::Usage, "the question can't be asked").why(error))?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
