//! Artifacts and anchors in S3, against moto.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, DefaultRetention, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule, ServerSideEncryption,
};
use tidegate_aws::{AwsWorld, Clients, Settings};
use tidegate_core::artifact::{Artifact, Found};
use tidegate_core::audit::{Anchors, Tip};
use tidegate_core::name::GroupName;
use tidegate_core::world::{Answer, Question, World};

fn world(clients: &Clients, bucket: &str) -> AwsWorld {
    let settings = Settings {
        anchor_bucket: Some(bucket.to_owned()),
        ..support::settings("")
    };
    AwsWorld::new(clients.clone(), settings)
}

async fn artifact(world: &AwsWorld, uri: &str) -> Artifact {
    let uri = uri.to_owned();
    match world.ask(&Question::Artifact { uri }).await.unwrap() {
        Answer::Artifact(artifact) => *artifact,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_artifact_is_told_by_its_etag_and_where_it_is() {
    let moto = support::moto();
    let clients = support::clients(&moto);
    let s3 = &clients.s3;
    s3.create_bucket().bucket("models").send().await.unwrap();
    let abroad = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::EuWest1)
        .build();
    s3.create_bucket()
        .bucket("abroad")
        .create_bucket_configuration(abroad)
        .send()
        .await
        .unwrap();
    let put = async |key: &str, body: &str, key_id: Option<&str>| {
        s3.put_object()
            .bucket("models")
            .key(key)
            .body(body.as_bytes().to_vec().into())
            .set_server_side_encryption(key_id.map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(key_id.map(str::to_owned))
            .send()
            .await
            .unwrap()
    };
    put("m.tar.gz", "one", None).await;
    let world = AwsWorld::new(clients.clone(), support::settings(""));
    let first = artifact(&world, "s3://models/m.tar.gz").await;
    assert_eq!(first.region.as_deref(), Some("us-east-1"));
    let object = first.object().unwrap().clone();
    assert_eq!((object.bytes, object.kms_key), (3, None));
    assert!(!object.etag.is_empty() && !object.etag.contains('"'));

    put("m.tar.gz", "two", None).await;
    let second = artifact(&world, "s3://models/m.tar.gz").await;
    assert_ne!(second.object().unwrap().etag, object.etag);

    let key = "arn:aws:kms:us-east-1:123456789012:key/1";
    put("k.tar.gz", "three", Some(key)).await;
    let encrypted = artifact(&world, "s3://models/k.tar.gz").await;
    assert_eq!(encrypted.object().unwrap().kms_key.as_deref(), Some(key));

    // A longer key that begins the same is another object.
    assert_eq!(
        artifact(&world, "s3://models/m.tar").await.found,
        Found::Missing
    );
    let nowhere = artifact(&world, "s3://nowhere/m.tar.gz").await;
    assert_eq!((nowhere.region, nowhere.found), (None, Found::Missing));
    let abroad = artifact(&world, "s3://abroad/m.tar.gz").await;
    assert_eq!(abroad.region.as_deref(), Some("eu-west-1"));
    let odd = artifact(&world, "https://models/m.tar.gz").await;
    assert!(matches!(odd.found, Found::Unseen { .. }), "{odd:?}");
}

/// A server that refuses everything, and says where the bucket is, as S3 does. Gives its URL.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // All of a HEAD request comes at once.
            let _ = stream.read(&mut [0; 8_192]);
            let _ = stream.write_all(
                b"HTTP/1.1 403 Forbidden\r\nx-amz-bucket-region: eu-west-1\r\n\
                  Content-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    url
}

#[tokio::test]
async fn a_bucket_that_may_not_be_looked_at_still_says_where_it_is() {
    let clients = Clients::new(&support::config(&refusing()), true);
    let world = AwsWorld::new(clients, support::settings(""));
    let theirs = artifact(&world, "s3://theirs/m.tar.gz").await;
    assert_eq!(theirs.region.as_deref(), Some("eu-west-1"));
    assert!(matches!(theirs.found, Found::Unseen { .. }), "{theirs:?}");
}

#[tokio::test]
async fn a_model_that_is_not_compressed_is_all_that_lies_under_its_prefix() {
    let moto = support::moto();
    let clients = support::clients(&moto);
    let s3 = &clients.s3;
    s3.create_bucket().bucket("models").send().await.unwrap();
    let put = async |key: &str, body: &str| {
        let body = body.as_bytes().to_vec();
        let put = s3.put_object().bucket("models").key(key).body(body.into());
        put.send().await.unwrap()
    };
    put("m/weights/1", "one").await;
    put("m/weights/2", "four").await;
    put("m2/weights", "other").await;
    let world = AwsWorld::new(clients.clone(), support::settings(""));
    let first = artifact(&world, "s3://models/m/").await;
    let object = first.object().unwrap().clone();
    assert_eq!((object.bytes, object.kms_key), (7, None));
    assert_eq!(first, artifact(&world, "s3://models/m/").await);
    put("m/weights/2", "five").await;
    let second = artifact(&world, "s3://models/m/").await;
    assert_ne!(second.object().unwrap().etag, object.etag);
    let none = artifact(&world, "s3://models/x/").await;
    assert_eq!(none.found, Found::Missing);
    let nowhere = artifact(&world, "s3://nowhere/m/").await;
    assert_eq!((nowhere.region, nowhere.found), (None, Found::Missing));
}

fn anchors(n: u64) -> Anchors {
    let tip = Tip {
        n,
        ..Tip::default()
    };
    Anchors {
        at: "2026-11-28T10:02:03Z".parse().unwrap(),
        ends: vec![(GroupName::parse("fraud").unwrap(), tip)],
    }
}

#[tokio::test]
async fn an_anchor_that_is_kept_stays_whatever_is_put_above_it() {
    let moto = support::moto();
    let clients = support::clients(&moto);
    let s3 = &clients.s3;
    s3.create_bucket()
        .bucket("anchors")
        .object_lock_enabled_for_bucket(true)
        .send()
        .await
        .unwrap();
    let retention = DefaultRetention::builder()
        .mode(ObjectLockRetentionMode::Compliance)
        .days(365)
        .build();
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(
            ObjectLockRule::builder()
                .default_retention(retention)
                .build(),
        )
        .build();
    s3.put_object_lock_configuration()
        .bucket("anchors")
        .object_lock_configuration(lock)
        .send()
        .await
        .unwrap();
    let world = world(&clients, "anchors");
    world.keep_anchors(&anchors(7)).await.unwrap();
    // The same hour again, by a function that was tried twice: the first stays.
    world.keep_anchors(&anchors(8)).await.unwrap();
    let kept = |mut all: Vec<tidegate_core::audit::Anchor>| {
        all.sort_by_key(|anchor| anchor.n);
        all.iter().map(|anchor| anchor.n).collect::<Vec<_>>()
    };
    assert_eq!(kept(world.anchors("anchors").await.unwrap()), [7]);

    // A locked version can't be deleted.
    let versions = s3.list_object_versions().bucket("anchors").send().await;
    let version = versions.unwrap().versions.unwrap().remove(0);
    let key = version.key.unwrap();
    assert_eq!(key, "anchors/2026-11-28T10Z.jsonl");
    let denied = s3
        .delete_object()
        .bucket("anchors")
        .key(&key)
        .version_id(version.version_id.unwrap())
        .send()
        .await;
    assert!(denied.is_err(), "{denied:?}");

    // A delete marker hides it, and another is put there: both are read.
    let hidden = s3.delete_object().bucket("anchors").key(&key).send().await;
    hidden.unwrap();
    world.keep_anchors(&anchors(9)).await.unwrap();
    assert_eq!(kept(world.anchors("anchors").await.unwrap()), [7, 9]);
}

#[tokio::test]
async fn without_a_bucket_nothing_is_kept_and_a_bucket_that_is_gone_is_told() {
    let moto = support::moto();
    let clients = support::clients(&moto);
    let none = AwsWorld::new(clients.clone(), support::settings(""));
    none.keep_anchors(&anchors(7)).await.unwrap();
    let gone = world(&clients, "gone");
    let error = gone.keep_anchors(&anchors(7)).await.unwrap_err();
    assert!(error.message.contains("NoSuchBucket"), "{error}");
    assert!(gone.anchors("gone").await.is_err());
}
