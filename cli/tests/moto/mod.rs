//! A moto server of a test's own, with the ledger's table in it.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_aws::DynamoLedger;
use tidegate_aws::ledger::create_table;

/// How long the server may take to come up on a busy machine.
const STARTUP: Duration = Duration::from_mins(1);

/// A running server; it goes with this value.
pub(crate) struct Moto {
    server: Option<Child>,
    port: u16,
}

impl Moto {
    /// A server with the table `tidegate`.
    pub(crate) async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/moto_server");
        assert!(
            program.exists(),
            "{} is missing: `make setup` makes it",
            program.display()
        );
        let port = free_port();
        let server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self {
            server: Some(server),
            port,
        };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < STARTUP,
                "moto did not come up on port {port}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        create_table(&moto.client(), "tidegate").await.unwrap();
        moto
    }

    /// A server that is not there.
    pub(crate) fn gone() -> Self {
        Self {
            server: None,
            port: free_port(),
        }
    }

    /// What a process needs to reach it.
    pub(crate) fn environment(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            ),
            ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ])
    }

    /// The ledger in a table.
    pub(crate) fn ledger(&self, table: &str) -> DynamoLedger {
        DynamoLedger::new(self.client(), table)
    }

    /// Changes the stored text of an audit entry behind the ledger's back.
    pub(crate) async fn change_entry(
        &self,
        table: &str,
        group: &str,
        n: u64,
        change: impl FnOnce(&str) -> String,
    ) {
        let pk = AttributeValue::S(format!("group#{group}"));
        let sk = AttributeValue::S(format!("audit#{n:010}"));
        let client = self.client();
        let read = client
            .get_item()
            .table_name(table)
            .key("pk", pk.clone())
            .key("sk", sk.clone());
        let mut item = read.send().await.unwrap().item.expect("the entry is there");
        let before = item["doc"].as_s().unwrap().clone();
        let after = change(&before);
        assert_ne!(before, after);
        item.insert("doc".to_owned(), AttributeValue::S(after));
        client
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .send()
            .await
            .unwrap();
    }

    fn client(&self) -> Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .credentials_provider(Credentials::new("testing", "testing", None, None, "test"))
            .build();
        Client::from_conf(config)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
