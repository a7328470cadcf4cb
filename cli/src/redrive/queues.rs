//! The queues of dead letters and the functions that they came from: what SQS and Lambda are asked.
//!
//! A letter that is read is hidden from others until it is given back. Sources: SQS's developer
//! guide, "Amazon SQS visibility timeout" and "short and long polling"; the API reference of
//! Lambda's Invoke.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName,
};
use clap::ValueEnum as _;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use jiff::Timestamp;
use tidegate_aws::config::sdk_config;

use super::args::{Function, Where};
use super::letter::{Letter, Message, sorted};
use crate::error::{Exit, Problem, advice};

/// How long a letter is hidden when nobody gives it back, seconds: a reader that is stopped in the
/// middle hides it no longer. Reading the most that `--limit` allows takes less.
const HIDDEN: i32 = 120;
/// A wait of any length makes SQS ask all of its servers, so that no answer is empty by chance.
const WAIT: i32 = 1;
/// The most that SQS takes and gives at once.
const BATCH: u16 = 10;
/// Events that are sent side by side.
const AT_ONCE: usize = 8;

/// Where the dead letters of a stack are, and their functions.
#[derive(Debug)]
pub(crate) struct Queues {
    sqs: aws_sdk_sqs::Client,
    lambda: aws_sdk_lambda::Client,
    pub(crate) stack: String,
    pub(crate) region: String,
    functions: Vec<Function>,
    limit: u16,
}

/// Letters that are hidden from others.
#[derive(Debug)]
pub(crate) struct Held {
    /// Oldest first; copies are together.
    pub(crate) letters: Vec<Letter>,
    /// There may be more than `--limit` let through.
    pub(crate) are_more: bool,
    /// Letters that somebody else is looking at.
    pub(crate) elsewhere: u64,
    urls: BTreeMap<Function, String>,
}

/// What one queue has.
struct Read {
    function: Function,
    url: String,
    messages: Vec<Message>,
    are_more: bool,
    elsewhere: u64,
    /// What ended the reading before its time.
    failed: Option<Problem>,
}

impl Queues {
    /// Finds out where they are; nothing is called yet.
    pub(crate) async fn open(at: &Where) -> Result<Self, Problem> {
        let config = sdk_config().await;
        let region = config.region().ok_or_else(Problem::no_region)?.to_string();
        let functions = match at.function {
            Some(function) => vec![function],
            None => Function::value_variants().to_vec(),
        };
        Ok(Self {
            sqs: aws_sdk_sqs::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            stack: at.stack.clone(),
            region,
            functions,
            limit: at.limit,
        })
    }

    /// The name of a function's queue of dead letters.
    pub(crate) fn queue(&self, function: Function) -> String {
        format!("{}-dlq-{}", self.stack, function.name())
    }

    /// A function's name at Lambda.
    pub(crate) fn function(&self, function: Function) -> String {
        format!("{}-{}", self.stack, function.name())
    }

    /// Reads the letters and hides them; who holds them gives back what is not deleted. If a queue
    /// can't be read, what was taken from the others is given back here.
    pub(crate) async fn hold(&self) -> Result<Held, Problem> {
        let reads = join_all(self.functions.iter().map(|&function| self.read(function))).await;
        let mut held = Held {
            letters: Vec::new(),
            are_more: false,
            elsewhere: 0,
            urls: BTreeMap::new(),
        };
        let mut failed = None;
        for read in reads {
            match read {
                Ok(read) => {
                    held.are_more |= read.are_more;
                    held.elsewhere += read.elsewhere;
                    held.urls.insert(read.function, read.url);
                    failed = failed.or(read.failed);
                    let letter = |message| Letter::read(read.function, message);
                    held.letters.extend(read.messages.into_iter().map(letter));
                }
                Err(problem) => failed = failed.or(Some(problem)),
            }
        }
        held.letters = sorted(held.letters);
        match failed {
            Some(problem) => {
                self.give_back(&held, |_| true).await;
                Err(problem)
            }
            None => Ok(held),
        }
    }

    /// Reads one queue until it is empty or the limit is reached.
    async fn read(&self, function: Function) -> Result<Read, Problem> {
        let queue = self.queue(function);
        let asked = self.sqs.get_queue_url().queue_name(&queue).send().await;
        let url = asked.map_err(|error| self.no_queue(&queue, &error))?;
        let url = url.queue_url.unwrap_or_default();
        let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let asked = self.sqs.get_queue_attributes().queue_url(&url);
        let asked = asked.attribute_names(name.clone()).send().await;
        let asked = asked.map_err(|error| failed("GetQueueAttributes", &queue, &error))?;
        let elsewhere = asked.attributes().and_then(|all| all.get(&name));
        let mut read = Read {
            function,
            url,
            messages: Vec::new(),
            are_more: false,
            elsewhere: elsewhere.and_then(|n| n.parse().ok()).unwrap_or(0),
            failed: None,
        };
        let mut known = HashMap::new();
        loop {
            let left = usize::from(self.limit) - read.messages.len();
            if left == 0 {
                read.are_more = true;
                return Ok(read);
            }
            let most = i32::from(BATCH).min(i32::try_from(left).unwrap_or(i32::MAX));
            let answer = self
                .sqs
                .receive_message()
                .queue_url(&read.url)
                .max_number_of_messages(most)
                .wait_time_seconds(WAIT)
                .visibility_timeout(HIDDEN)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_attribute_names("All")
                .send()
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    read.failed = Some(failed("ReceiveMessage", &queue, &error));
                    return Ok(read);
                }
            };
            let before = read.messages.len();
            for message in answer.messages.unwrap_or_default() {
                // SQS may give one twice; the later receipt is the one that counts.
                let id = message.message_id.clone();
                let message = plain(message);
                if let Some(&at) = known.get(&id) {
                    read.messages[at] = message;
                } else {
                    known.insert(id, read.messages.len());
                    read.messages.push(message);
                }
            }
            if read.messages.len() == before {
                return Ok(read);
            }
        }
    }

    /// Gives back the letters that `which` chooses, so that others see them at once. What can't be
    /// given back comes back by itself, which the problem says.
    pub(crate) async fn give_back(
        &self,
        held: &Held,
        which: impl Fn(&Letter) -> bool,
    ) -> Option<Problem> {
        let mut problem = None;
        for (function, url) in &held.urls {
            let of_it = held
                .letters
                .iter()
                .filter(|l| l.function == *function && which(l));
            let receipts: Vec<&String> = of_it.flat_map(|letter| &letter.receipts).collect();
            for batch in receipts.chunks(usize::from(BATCH)) {
                let entries = batch.iter().enumerate().filter_map(|(n, receipt)| {
                    ChangeMessageVisibilityBatchRequestEntry::builder()
                        .id(n.to_string())
                        .receipt_handle(*receipt)
                        .visibility_timeout(0)
                        .build()
                        .ok()
                });
                let change = self.sqs.change_message_visibility_batch().queue_url(url);
                let change = change.set_entries(Some(entries.collect())).send().await;
                if let Err(error) = change {
                    let why = failed("ChangeMessageVisibility", &self.queue(*function), &error);
                    problem = Some(why.help(format!(
                        "the letters that were looked at come back by themselves, in {HIDDEN} seconds"
                    )));
                }
            }
        }
        problem
    }

    /// Sends each letter's event to its function, and deletes the letter if Lambda accepted it;
    /// gives what became of each, in order.
    pub(crate) async fn replay<'a>(
        &self,
        held: &Held,
        letters: Vec<&'a Letter>,
    ) -> Vec<(&'a Letter, Replayed)> {
        stream::iter(letters)
            .map(|letter| async move { (letter, self.replay_one(held, letter).await) })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    async fn replay_one(&self, held: &Held, letter: &Letter) -> Replayed {
        let name = self.function(letter.function);
        let sent = self
            .lambda
            .invoke()
            .function_name(&name)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(letter.payload.as_bytes()))
            .send()
            .await;
        let refused = match sent {
            Ok(answer) if answer.status_code() == 202 => None,
            Ok(answer) => {
                let why = format!("it answered {} instead of 202", answer.status_code());
                Some(Problem::new(Exit::Aws, "Invoke failed").at(name).why(why))
            }
            Err(error) => Some(failed("Invoke", &name, &error)),
        };
        if let Some(mut problem) = refused {
            problem.what = format!("{} was not sent: {}", letter.id, problem.what);
            return Replayed::Refused(problem.help("the letter stays as it was"));
        }
        match self.delete(held, letter).await {
            Ok(()) => Replayed::Accepted,
            Err(problem) => Replayed::Kept(problem.help(
                "the event was sent all the same; the letter comes back, and a repeat does no harm",
            )),
        }
    }

    /// Deletes all copies of a letter.
    pub(crate) async fn delete(&self, held: &Held, letter: &Letter) -> Result<(), Problem> {
        let url = held.urls.get(&letter.function);
        for receipt in &letter.receipts {
            let delete = self.sqs.delete_message().receipt_handle(receipt);
            let deleted = delete.set_queue_url(url.cloned()).send().await;
            let queue = self.queue(letter.function);
            deleted.map_err(|error| failed("DeleteMessage", &queue, &error))?;
        }
        Ok(())
    }

    fn no_queue<E>(&self, queue: &str, error: &SdkError<E>) -> Problem
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        if !code.is_some_and(|code| {
            code.contains("QueueDoesNotExist") || code.contains("NonExistentQueue")
        }) {
            return failed("GetQueueUrl", queue, error);
        }
        Problem::new(
            Exit::Usage,
            format!("there is no queue {queue}, so there is no stack {} here", self.stack),
        )
        .at(format!("region {}", self.region))
        .help("name the installed stack by --stack or TIDEGATE_STACK, and its region by AWS_REGION")
        .help(
            "`aws cloudformation list-stacks --stack-status-filter CREATE_COMPLETE UPDATE_COMPLETE` \
             lists the stacks of a region",
        )
    }
}

/// What became of a letter that was to be sent again.
#[derive(Debug)]
pub(crate) enum Replayed {
    /// Lambda has it, and the letter is gone.
    Accepted,
    /// Lambda has it, and the letter is still there.
    Kept(Problem),
    /// Lambda did not take it, and the letter is still there.
    Refused(Problem),
}

/// A message without the SDK's types.
fn plain(message: aws_sdk_sqs::types::Message) -> Message {
    let sent = message
        .attributes()
        .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp))
        .and_then(|text| text.parse().ok())
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let attributes = message.message_attributes.unwrap_or_default();
    Message {
        body: message.body.unwrap_or_default(),
        attributes: attributes
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.string_value?)))
            .collect(),
        sent,
        receipt: message.receipt_handle.unwrap_or_default(),
    }
}

/// What to tell of a call that failed.
fn failed<E>(call: &str, at: &str, error: &SdkError<E>) -> Problem
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let why = match error.as_service_error() {
        Some(service) => format!(
            "{}: {}",
            service.code().unwrap_or("Unknown"),
            service.message().unwrap_or_default()
        ),
        None => DisplayErrorContext(error).to_string(),
    };
    let mut problem = Problem::new(Exit::Aws, format!("{call} failed"))
        .at(at)
        .why(&why);
    problem.help = advice(&why, None);
    problem
}
