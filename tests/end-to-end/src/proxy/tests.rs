//! Each fault does what it says, against a server that answers with what it was asked.

#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::process::Command;

use super::*;

/// A function's request, as the SDK sends it.
const TARGET: &str = "DynamoDB_20120810.TransactWriteItems";
const AGENT: &str = "aws-sdk-rust/1 app/canary-shift";
const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/dynamodb/aws4_request";
const BODY: &str = r#"{"TransactItems":[{"pk":"group#case-0001"},{}]}"#;

struct Bench {
    proxy: Proxy,
    _echo: Server,
    seen: Arc<AtomicU32>,
    http: reqwest::Client,
}

impl Bench {
    async fn new() -> Self {
        let seen = Arc::new(AtomicU32::new(0));
        let counted = seen.clone();
        let echo = Server::start(move |_, request: Request<Bytes>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { Some(Response::new(request.into_body())) }
        })
        .await
        .unwrap();
        let delay = Duration::from_millis(300);
        let url = echo.url();
        let proxy = Proxy::with_delay(&url, "http://127.0.0.1:9", "case-", delay).await;
        Self {
            proxy: proxy.unwrap(),
            _echo: echo,
            seen,
            http: reqwest::Client::new(),
        }
    }

    fn order(&self, kind: Kind, nth: u32, attempts: u32) {
        self.proxy.order(Fault {
            which: Which {
                function: Some("canary-shift".to_owned()),
                operation: "TransactWriteItems".to_owned(),
                nth,
            },
            pipeline: "case-0001".to_owned(),
            kind,
            attempts,
        });
    }

    async fn call(&self, id: &str, attempt: u32) -> reqwest::Result<(u16, String)> {
        let post = self.http.post(self.proxy.url()).body(BODY);
        let answer = post
            .header("x-amz-target", TARGET)
            .header("user-agent", AGENT)
            .header("authorization", SCOPE)
            .header("amz-sdk-invocation-id", id)
            .header("amz-sdk-request", format!("attempt={attempt}; max=3"))
            .send()
            .await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    fn seen(&self) -> u32 {
        self.seen.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_call_without_a_fault_goes_through_and_is_written_down() {
    let bench = Bench::new().await;
    assert_eq!(bench.call("a", 1).await.unwrap(), (200, BODY.to_owned()));
    let calls = bench.proxy.calls("case-0001");
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].which.to_string(),
        "canary-shift TransactWriteItems 1"
    );
    assert_eq!((calls[0].status, calls[0].fault), (Some(200), None));
    assert!(bench.proxy.calls("case-0002").is_empty());
}

#[tokio::test]
async fn a_dropped_answer_closes_the_connection_after_the_call_went_through() {
    let bench = Bench::new().await;
    bench.order(Kind::DropAnswer, 1, 2);
    assert!(bench.call("a", 1).await.is_err());
    assert!(bench.call("a", 2).await.is_err());
    assert_eq!(bench.call("a", 3).await.unwrap().0, 200);
    assert_eq!(bench.seen(), 3);
    let calls = bench.proxy.calls("case-0001");
    assert_eq!(
        (calls[0].status, calls[0].fault),
        (Some(200), Some(Kind::DropAnswer))
    );
    assert!(calls.iter().all(|call| call.which.nth == 1), "{calls:?}");
}

#[tokio::test]
async fn a_fault_hits_the_call_of_its_number_alone() {
    let bench = Bench::new().await;
    bench.order(Kind::Throttle, 2, 1);
    assert_eq!(bench.call("a", 1).await.unwrap().0, 200);
    let (status, text) = bench.call("b", 1).await.unwrap();
    assert_eq!(status, 400);
    assert!(text.contains("ThrottlingException"), "{text}");
    assert_eq!(bench.call("b", 2).await.unwrap().0, 200);
    assert_eq!(bench.call("c", 1).await.unwrap().0, 200);
    assert_eq!(bench.seen(), 3);
}

#[tokio::test]
async fn a_fault_of_no_function_counts_the_calls_of_all() {
    let bench = Bench::new().await;
    let mut fault = Fault {
        which: Which {
            function: Some("housekeeping".to_owned()),
            operation: "TransactWriteItems".to_owned(),
            nth: 1,
        },
        pipeline: "case-0001".to_owned(),
        kind: Kind::Error500,
        attempts: 1,
    };
    bench.proxy.order(fault.clone());
    assert_eq!(bench.call("a", 1).await.unwrap().0, 200);
    fault.which = Which {
        function: None,
        nth: 2,
        ..fault.which
    };
    bench.proxy.order(fault);
    assert_eq!(bench.call("b", 1).await.unwrap().0, 500);
}

#[tokio::test]
async fn refusals_let_nothing_through() {
    let bench = Bench::new().await;
    bench.order(Kind::Error500, 1, 1);
    bench.order(Kind::Conflict, 2, 1);
    assert_eq!(bench.call("a", 1).await.unwrap().0, 500);
    let (status, text) = bench.call("b", 1).await.unwrap();
    assert_eq!(status, 400);
    assert!(text.contains("TransactionConflict"), "{text}");
    assert_eq!(bench.seen(), 0);
}

#[tokio::test]
async fn a_late_answer_is_late() {
    let bench = Bench::new().await;
    bench.order(Kind::Delay, 1, 1);
    let start = Instant::now();
    assert_eq!(bench.call("a", 1).await.unwrap().0, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn all_calls_of_a_slow_pipeline_are_slow_until_they_are_not() {
    let bench = Bench::new().await;
    bench.proxy.slow_down("case-0002", FOR_EVER);
    let slow = Duration::from_millis(50);
    bench.proxy.slow_down("case-0001", slow);
    for id in ["a", "b"] {
        let start = Instant::now();
        assert_eq!(bench.call(id, 1).await.unwrap().0, 200);
        assert!(start.elapsed() >= slow);
    }
    bench.proxy.slow_down("case-0001", FOR_EVER);
    let unanswered = tokio::time::timeout(slow, bench.call("c", 1)).await;
    assert!(unanswered.is_err());
    assert_eq!(bench.seen(), 2, "it went through");
    bench.proxy.be_quick();
    assert_eq!(bench.call("d", 1).await.unwrap().0, 200);
}

#[tokio::test]
async fn what_is_taken_back_does_not_happen() {
    let bench = Bench::new().await;
    bench.order(Kind::Error500, 1, 1);
    bench.proxy.forget("case-0001");
    assert_eq!(bench.call("a", 1).await.unwrap().0, 200);
}

/// A process of its own makes the call, and would wait for the answer.
async fn killed(kind: Kind) -> (Option<i32>, u32) {
    use std::os::unix::process::ExitStatusExt as _;

    let bench = Bench::new().await;
    bench.order(kind, 1, 1);
    let address = bench.proxy.server.address;
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; printf 'POST / HTTP/1.1\\r\\nhost: x\\r\\nx-amz-target: {TARGET}\\r\\n\
         user-agent: {AGENT}\\r\\nauthorization: {SCOPE}\\r\\ncontent-length: {}\\r\\n\\r\\n%s' '{BODY}' >&3; \
         read -r line <&3; sleep 20",
        address.ip(),
        address.port(),
        BODY.len(),
    );
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .arg(script)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let wait = async { command.spawn().unwrap().wait().await.unwrap() };
    let status = tokio::time::timeout(Duration::from_secs(15), wait)
        .await
        .unwrap();
    (status.signal(), bench.seen())
}

#[tokio::test]
async fn a_process_is_killed_before_its_call_goes_through() {
    assert_eq!(killed(Kind::KillBefore).await, (Some(9), 0));
}

#[tokio::test]
async fn a_process_is_killed_when_its_call_has_gone_through() {
    assert_eq!(killed(Kind::KillAfter).await, (Some(9), 1));
}
