//! Data capture: requests and answers of an endpoint as lines of JSON in S3, by the sampling, the
//! parts and the content types of its `DataCaptureConfig` (developer guide, "Capture data").
//!
//! Lines reach S3 two minutes late, as AWS's do, in the folder of the hour in which they were made.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use axum::body::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::app::App;
use crate::drive::Pace;
use crate::json::{list, text};
use crate::moment::{Moment, Span};
use crate::runtime::Request;
use crate::storage;
use crate::world::{Due, World};

/// "The delivery of captured data to Amazon S3 can require a couple of minutes."
const DELIVERY: Span = Span::seconds(120);
/// More lines of one endpoint and minute are not kept: a test's hours must stay small.
const MOST_A_MINUTE: u32 = 200;

/// Lines on their way to S3, by endpoint.
pub(crate) struct Captures {
    /// Without S3 nothing is captured.
    enabled: bool,
    rng: StdRng,
    buffers: BTreeMap<String, Buffer>,
}

#[derive(Default)]
struct Buffer {
    /// The latest minute, and how many of its lines were kept.
    minute: i64,
    kept: u32,
    /// The lines by the folder they go to, with when the first was made.
    folders: BTreeMap<String, (Moment, String)>,
}

impl Captures {
    pub(crate) fn new(enabled: bool, seed: u64) -> Self {
        Self {
            enabled,
            rng: StdRng::seed_from_u64(seed),
            buffers: BTreeMap::new(),
        }
    }

    /// A random version 4 UUID.
    fn id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.random())
            .into_uuid()
            .to_string()
    }

    /// Whether a request is among those sampled, and still fits into its minute.
    fn takes(&mut self, endpoint: &str, config: &Value, at: Moment) -> bool {
        let percentage = config
            .get("InitialSamplingPercentage")
            .and_then(Value::as_f64);
        let buffer = self.buffers.entry(endpoint.to_owned()).or_default();
        if buffer.minute != at.minute() {
            buffer.minute = at.minute();
            buffer.kept = 0;
        }
        let chosen = self.rng.random::<f64>() * 100.0 < percentage.unwrap_or(100.0);
        let taken = chosen && buffer.kept < MOST_A_MINUTE;
        buffer.kept += u32::from(taken);
        taken
    }
}

/// Where an endpoint's captured data goes, if it captures.
pub(crate) fn destination(config: &Value) -> Option<&str> {
    let enabled = config.get("EnableCapture").and_then(Value::as_bool);
    text(config, "DestinationS3Uri").filter(|_| enabled != Some(false))
}

/// The folder of one variant and hour below a destination.
pub(crate) fn folder(destination: &str, endpoint: &str, variant: &str, at: Moment) -> String {
    format!(
        "{}/{endpoint}/{variant}/{}",
        destination.trim_end_matches('/'),
        at.hour_folder()
    )
}

/// Takes a request that was answered well, if its endpoint captures it. The answer is its content
/// type and body.
pub(crate) fn take(
    world: &mut World,
    endpoint: &str,
    variant: &str,
    at: Moment,
    request: &Request,
    answer: impl FnOnce() -> (String, Bytes),
) {
    let captures = &mut world.captures;
    let config = world
        .endpoints
        .get(endpoint)
        .and_then(|endpoint| endpoint.capture.as_ref());
    let Some((config, destination)) = config
        .filter(|_| captures.enabled)
        .and_then(|config| Some((config, destination(config)?)))
    else {
        return;
    };
    if !captures.takes(endpoint, config, at) {
        return;
    }
    let line = line(config, at, request, &answer(), &captures.id());
    let folder = folder(destination, endpoint, variant, at);
    let buffer = captures.buffers.entry(endpoint.to_owned()).or_default();
    let first = buffer.folders.is_empty();
    let (_, lines) = buffer.folders.entry(folder).or_insert((at, String::new()));
    lines.push_str(&line);
    lines.push('\n');
    if first {
        world.schedule(
            at + DELIVERY,
            Due::Captures {
                endpoint: endpoint.to_owned(),
            },
        );
    }
}

fn line(
    config: &Value,
    at: Moment,
    request: &Request,
    answer: &(String, Bytes),
    id: &str,
) -> String {
    let mode = |wanted: &str| {
        list(config, "CaptureOptions").iter().any(|option| {
            let mode = text(option, "CaptureMode").unwrap_or_default();
            mode == wanted || mode == "InputAndOutput"
        })
    };
    let mut data = json!({});
    if mode("Input") {
        let content_type = request.content_type.as_deref().unwrap_or_default();
        data["endpointInput"] = part(config, "INPUT", content_type, &request.body);
    }
    if mode("Output") {
        data["endpointOutput"] = part(config, "OUTPUT", &answer.0, &answer.1);
    }
    let mut meta = json!({"eventId": id, "inferenceTime": at.iso_seconds()});
    if let Some(given) = &request.inference_id {
        meta["inferenceId"] = json!(given);
    }
    json!({"captureData": data, "eventMetadata": meta, "eventVersion": "0"}).to_string()
}

/// A body as text where the config names its content type, else in base64.
fn part(config: &Value, mode: &str, content_type: &str, body: &Bytes) -> Value {
    let plain = content_type.split(';').next().unwrap_or_default().trim();
    let named = |member: &str| {
        config
            .get("CaptureContentTypeHeader")
            .is_some_and(|header| list(header, member).iter().any(|one| one == plain))
    };
    let encoding = match std::str::from_utf8(body) {
        Ok(_) if named("CsvContentTypes") => "CSV",
        Ok(_) if named("JsonContentTypes") => "JSON",
        _ => "BASE64",
    };
    let data = if encoding == "BASE64" {
        base64(body)
    } else {
        String::from_utf8_lossy(body).into_owned()
    };
    json!({"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding})
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

/// Writes what waits of an endpoint to S3.
pub(crate) async fn deliver(app: &Arc<App>, endpoint: &str, pace: Pace) {
    let files = take_files(&mut app.world(), endpoint);
    let app = app.clone();
    let write = async move {
        for (uri, lines) in files {
            let body = ByteStream::from(lines.into_bytes());
            let written = match app.aws() {
                Ok(aws) => storage::write(&aws.s3, &uri, body).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                tracing::warn!(error = format!("{error:#}"), "captured data is lost");
            }
        }
    };
    match pace {
        Pace::ByHand => write.await,
        Pace::Live => {
            tokio::spawn(write);
        }
    }
}

/// `08/47-32-106-<id>.jsonl`: a file is named after its first line.
fn take_files(world: &mut World, endpoint: &str) -> Vec<(String, String)> {
    let captures = &mut world.captures;
    let Some(buffer) = captures.buffers.get_mut(endpoint) else {
        return Vec::new();
    };
    let folders = std::mem::take(&mut buffer.folders);
    folders
        .into_iter()
        .map(|(folder, (first, lines))| {
            let millis = first.as_millis().rem_euclid(3_600_000);
            let (minute, second) = (millis / 60_000, millis / 1000 % 60);
            let name = format!(
                "{minute:02}-{second:02}-{:03}-{}",
                millis % 1000,
                captures.id()
            );
            (format!("{folder}/{name}.jsonl"), lines)
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(body: &'static str) -> Request {
        Request {
            content_type: Some("text/csv; charset=utf-8".to_owned()),
            body: Bytes::from_static(body.as_bytes()),
            ..Request::default()
        }
    }

    #[test]
    fn a_line_is_as_the_guide_shows_it() {
        let config = json!({
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        });
        let at = Moment::parse("2026-03-01T12:34:56.789Z").unwrap();
        let answer = ("application/json".to_owned(), Bytes::from_static(b"[0]"));
        let line: Value =
            serde_json::from_str(&line(&config, at, &request("1,2"), &answer, "id")).unwrap();
        assert_eq!(
            line,
            json!({
                "captureData": {
                    "endpointInput": {"observedContentType": "text/csv; charset=utf-8", "mode": "INPUT", "data": "1,2", "encoding": "CSV"},
                    "endpointOutput": {"observedContentType": "application/json", "mode": "OUTPUT", "data": "WzBd", "encoding": "BASE64"},
                },
                "eventMetadata": {"eventId": "id", "inferenceTime": "2026-03-01T12:34:56Z"},
                "eventVersion": "0",
            })
        );
    }

    #[test]
    fn base64_is_the_standard_one() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_share_of_requests_is_taken_and_no_more_than_a_minute_holds() {
        let mut captures = Captures::new(true, 1);
        let at = Moment::from_millis(0);
        let mut taken = |config: &Value, at| {
            (0..1000)
                .filter(|_| captures.takes("e", config, at))
                .count()
        };
        let tenth = taken(&json!({"InitialSamplingPercentage": 10}), at);
        assert!((70..130).contains(&tenth), "{tenth}");
        assert_eq!(taken(&json!({"InitialSamplingPercentage": 0}), at), 0);
        let next = at + Span::seconds(60);
        assert_eq!(taken(&json!({"InitialSamplingPercentage": 100}), next), 200);
    }

    #[test]
    fn a_capture_that_is_switched_off_has_no_destination() {
        let config = json!({"EnableCapture": true, "DestinationS3Uri": "s3://b/c/"});
        assert_eq!(destination(&config), Some("s3://b/c/"));
        let at = Moment::parse("2026-03-01T09:59:59Z").unwrap();
        assert_eq!(
            folder("s3://b/c/", "e", "v1", at),
            "s3://b/c/e/v1/2026/03/01/09"
        );
        assert_eq!(
            destination(&json!({"EnableCapture": false, "DestinationS3Uri": "s3://b/c"})),
            None
        );
    }
}
