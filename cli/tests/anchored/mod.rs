//! A trail that was rewritten as a whole, its end in the ledger's head too, is found out by what was
//! anchored of it.

use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use serde_json::Value;
use tidegate_aws::ledger::create_table;
use tidegate_aws::{AwsWorld, Clients, Settings};
use tidegate_core::audit::{Anchors, Tip};
use tidegate_core::ledger::Ledger as _;
use tidegate_core::name::GroupName;
use tidegate_core::world::World as _;

use crate::moto::Moto;
use crate::{POLICY, Said, tidegate};

const HOUR: &str = "2026-11-28T10:02:03Z";

fn clients(moto: &Moto) -> Clients {
    let credentials = Credentials::new("testing", "testing", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(&moto.environment()["AWS_ENDPOINT_URL"])
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    Clients::new(&config, true)
}

/// The world of this moto, which keeps anchors in this bucket.
fn keeper(clients: &Clients, bucket: &str) -> AwsWorld {
    let settings = Settings {
        table: String::new(),
        topic: String::new(),
        shift_function: String::new(),
        scheduler_role: String::new(),
        schedule_group: String::new(),
        anchor_bucket: Some(bucket.to_owned()),
    };
    AwsWorld::new(clients.clone(), settings)
}

fn anchors(tip: Tip) -> Anchors {
    Anchors {
        at: HOUR.parse().unwrap(),
        ends: vec![(GroupName::parse("fraud-detection").unwrap(), tip)],
    }
}

async fn tip(moto: &Moto, table: &str) -> Tip {
    let group = GroupName::parse("fraud-detection").unwrap();
    let snapshot = moto.ledger(table).load(&group, None).await.unwrap();
    snapshot.unwrap().head.tip
}

fn applied(moto: &Moto, table: &str, by: &str) {
    let said = tidegate(moto, table, &["apply", POLICY, "--by", by, "--no-probe"]);
    assert_eq!(said.code, 0, "{}", said.err);
}

/// What `audit verify` says of a table beside anchors.
fn verified(moto: &Moto, table: &str, place: Option<&str>) -> Said {
    let mut args = vec!["audit", "verify"];
    args.extend(place.iter().flat_map(|place| ["--anchors", place]));
    tidegate(moto, table, &args)
}

#[tokio::test]
async fn a_trail_that_was_rewritten_as_a_whole_is_found_by_its_anchors() {
    let moto = Moto::start().await;
    let clients = clients(&moto);
    let s3 = &clients.s3;
    s3.create_bucket().bucket("anchors").send().await.unwrap();
    let none = verified(&moto, "tidegate", Some("s3://anchors"));
    assert_eq!(none.code, 1, "{}", none.err);
    assert!(none.err.contains("there are no anchors in s3://anchors"));

    applied(&moto, "tidegate", "ada");
    let genuine = anchors(tip(&moto, "tidegate").await);
    let keeper = keeper(&clients, "anchors");
    keeper.keep_anchors(&genuine).await.unwrap();
    let whole = verified(&moto, "tidegate", Some("s3://anchors"));
    assert_eq!(whole.code, 0, "{}{}", whole.out, whole.err);
    assert!(
        whole.out.contains("1 entry, 1 of them anchored"),
        "{}",
        whole.out
    );
    assert!(
        whole
            .out
            .contains("compared with 1 anchor in s3://anchors, the newest of 2026-11-28 10:02"),
        "{}",
        whole.out
    );

    // The same story told by somebody else, every hash made anew: whole by itself.
    create_table(&clients.dynamodb, "rewritten").await.unwrap();
    applied(&moto, "rewritten", "eve");
    assert_eq!(verified(&moto, "rewritten", None).code, 0);
    let told = "entry 1 is not the one that was anchored at 2026-11-28T10:02:03Z";
    let found = verified(&moto, "rewritten", Some("s3://anchors"));
    assert_eq!(found.code, 1, "{}", found.out);
    assert!(found.out.contains(told), "{}", found.out);

    // Files say the same, to the command and to the script.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let nothing = verified(&moto, "tidegate", Some(&path("nothing")));
    assert_eq!(nothing.code, 2, "{}", nothing.err);
    assert!(
        nothing.err.contains("help: give --anchors s3://BUCKET"),
        "{}",
        nothing.err
    );
    std::fs::create_dir(folder.path().join("kept")).unwrap();
    std::fs::write(folder.path().join("kept/10.jsonl"), genuine.lines()).unwrap();
    let found = verified(&moto, "rewritten", Some(&path("kept")));
    assert_eq!(
        (found.code, found.out.contains(told)),
        (1, true),
        "{}",
        found.out
    );
    for (table, code) in [("tidegate", 0), ("rewritten", 1)] {
        let export = path(table);
        let said = tidegate(&moto, table, &["audit", "export", "--output", &export]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(script(&export, &path("kept")), code, "{table}");
    }

    // A trail that was cut off, and one that is gone.
    let longer = Tip {
        n: 9,
        ..genuine.ends[0].1.clone()
    };
    std::fs::write(folder.path().join("longer.jsonl"), anchors(longer).lines()).unwrap();
    let cut = verified(&moto, "tidegate", Some(&path("longer.jsonl")));
    assert_eq!(cut.code, 1, "{}", cut.out);
    assert!(cut.out.contains("entry 9 was anchored"), "{}", cut.out);
    assert!(cut.out.contains("the trail was cut off"), "{}", cut.out);
    create_table(&clients.dynamodb, "empty").await.unwrap();
    let args = ["audit", "verify", "--json", "--anchors", "s3://anchors"];
    let gone = tidegate(&moto, "empty", &args);
    assert_eq!(gone.code, 1, "{}", gone.err);
    let json: Value = gone.json();
    assert_eq!(json["anchors"]["count"], 1);
    assert_eq!(json["groups"][0]["whole"], false);
}

/// The exit code of `docs/verify_audit.py`.
fn script(export: &str, anchors: &str) -> i32 {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = std::process::Command::new(here.join("../.venv/bin/python"))
        .arg(here.join("../docs/verify_audit.py"))
        .args([export, "--anchors", anchors])
        .stdout(std::process::Stdio::null())
        .status();
    status.unwrap().code().unwrap()
}
