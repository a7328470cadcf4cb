//! What IAM says of people and of models' roles, against moto and the emulator.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_iam::types::Tag;
use tidegate_aws::{AwsWorld, Clients};
use tidegate_core::access::{Access, BucketPolicy, Simulation};
use tidegate_core::principal::Principal;
use tidegate_core::world::{Answer, Question, World, WorldErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(owned).collect()
}

fn asked(arn: &str) -> Question {
    Question::PrincipalTags(Principal::of(arn, "123456789012").unwrap())
}

#[tokio::test]
async fn the_tags_of_roles_and_users_are_read_whatever_their_paths_are() {
    let moto = support::moto();
    let clients = support::clients(&moto);
    let iam = &clients.iam;
    iam.create_role()
        .role_name("approvers")
        .path("/risk/eu/")
        .assume_role_policy_document("{\"Version\":\"2012-10-17\",\"Statement\":[]}")
        .tags(tag("team", "risk"))
        .tags(tag("level", ""))
        .send()
        .await
        .unwrap();
    iam.create_user()
        .user_name("ada")
        .path("/people/")
        .tags(tag("Team", "Risk"))
        .send()
        .await
        .unwrap();
    iam.create_user().user_name("eve").send().await.unwrap();
    let world = AwsWorld::new(clients.clone(), support::settings(""));
    for (arn, has) in [
        (
            "arn:aws:sts::123456789012:assumed-role/approvers/bob",
            Answer::Tags(tags(&[("team", "risk"), ("level", "")])),
        ),
        (
            "arn:aws:iam::123456789012:user/people/ada",
            Answer::Tags(tags(&[("Team", "Risk")])),
        ),
        (
            "arn:aws:iam::123456789012:user/eve",
            Answer::Tags(tags(&[])),
        ),
        ("arn:aws:iam::123456789012:user/nobody", Answer::Missing),
        (
            "arn:aws:sts::123456789012:assumed-role/ada/x",
            Answer::Missing,
        ),
    ] {
        assert_eq!(world.ask(&asked(arn)).await.unwrap(), has, "{arn}");
    }
}

/// An IAM that gives these answers, one after the other, and then what it was asked.
async fn iam_of(
    answers: &'static [(u16, &'static str)],
) -> (Clients, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            let mut part = [0; 4096];
            while !request.contains("Version=2010-05-08") {
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0, "half a request: {request}");
                request.push_str(&String::from_utf8_lossy(&part[..read]));
            }
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            asked.push(request.rsplit("\r\n").next().unwrap_or_default().to_owned());
        }
        asked
    });
    (Clients::new(&support::config(&url), true), served)
}

#[tokio::test]
async fn all_pages_of_tags_are_read() {
    const PAGES: &[(u16, &str)] = &[
        (
            200,
            "<ListRoleTagsResponse><ListRoleTagsResult><IsTruncated>true</IsTruncated>\
             <Marker>m1</Marker><Tags><member><Key>a</Key><Value>1</Value></member></Tags>\
             </ListRoleTagsResult></ListRoleTagsResponse>",
        ),
        (
            200,
            "<ListRoleTagsResponse><ListRoleTagsResult><IsTruncated>false</IsTruncated>\
             <Tags><member><Key>team</Key><Value>risk</Value></member></Tags>\
             </ListRoleTagsResult></ListRoleTagsResponse>",
        ),
    ];
    let (clients, served) = iam_of(PAGES).await;
    let world = AwsWorld::new(clients, support::settings(""));
    let question = asked("arn:aws:sts::123456789012:assumed-role/approvers/bob");
    let has = world.ask(&question).await.unwrap();
    assert_eq!(has, Answer::Tags(tags(&[("a", "1"), ("team", "risk")])));
    let asked = served.await.unwrap();
    assert!(!asked[0].contains("Marker"), "{asked:?}");
    assert!(asked[1].contains("Marker=m1"), "{asked:?}");
}

#[tokio::test]
async fn a_look_that_iam_denies_is_told_from_one_that_may_go_through_later() {
    const DENIED: &[(u16, &str)] = &[(
        403,
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
         <Message>not authorized to perform: iam:ListUserTags</Message></Error></ErrorResponse>",
    )];
    const LATER: (u16, &str) = (
        400,
        "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code>\
         <Message>Rate exceeded</Message></Error></ErrorResponse>",
    );
    // The SDK tries thrice.
    const THROTTLED: &[(u16, &str)] = &[LATER, LATER, LATER];
    for (answers, kind) in [
        (DENIED, WorldErrorKind::Denied),
        (THROTTLED, WorldErrorKind::Throttled),
    ] {
        let (clients, _served) = iam_of(answers).await;
        let world = AwsWorld::new(clients, support::settings(""));
        let question = asked("arn:aws:iam::123456789012:user/ada");
        let error = world.ask(&question).await.unwrap_err();
        assert_eq!((error.kind, error.call.as_str()), (kind, "ListUserTags"));
    }
}

const ARTIFACT: &str = "s3://models/fraud/model.tar.gz";
const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1";

/// A role, its inline policies' statements, and what the adapter finds of it.
struct Role<'a> {
    clients: &'a Clients,
    world: AwsWorld,
}

impl Role<'_> {
    async fn has(&self, name: &str, statement: &str) {
        let document = format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{statement}]}}");
        let put = self.clients.iam.put_role_policy().role_name("model");
        let put = put.policy_name(name).policy_document(document).send();
        put.await.unwrap();
    }

    async fn access(&self, kms_key: Option<&str>) -> Access {
        match self.asked("model", kms_key).await {
            Answer::RoleReads(access) => *access,
            other => panic!("{other:?}"),
        }
    }

    async fn asked(&self, role: &str, kms_key: Option<&str>) -> Answer {
        let question = Question::RoleReads {
            role: format!("arn:aws:iam::123456789012:role/service-role/{role}"),
            uri: ARTIFACT.to_owned(),
            kms_key: kms_key.map(str::to_owned),
        };
        self.world.ask(&question).await.unwrap()
    }

    async fn decision(&self) -> (Simulation, BucketPolicy) {
        let access = self.access(None).await;
        (access.simulated[0].decision, access.bucket)
    }
}

#[tokio::test]
async fn what_a_role_may_read_is_what_its_policies_say_and_the_buckets_may() {
    let moto = support::moto();
    let emulator = support::sagemaker_local(&moto);
    let clients = support::clients_of_both(&moto, &emulator);
    let (iam, s3) = (&clients.iam, &clients.s3);
    let trust = "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
    let role = Role {
        clients: &clients,
        world: AwsWorld::new(clients.clone(), support::settings("")),
    };
    assert_eq!(role.asked("model", None).await, Answer::Missing);
    let made = iam.create_role().role_name("model").path("/service-role/");
    made.assume_role_policy_document(trust)
        .send()
        .await
        .unwrap();
    let nothing = Simulation::ImplicitDeny;

    // There is no such bucket, whose policy could be read.
    let (decision, bucket) = role.decision().await;
    assert_eq!(decision, nothing);
    assert!(matches!(bucket, BucketPolicy::Unseen { .. }), "{bucket:?}");
    s3.create_bucket().bucket("models").send().await.unwrap();
    assert_eq!(role.decision().await, (nothing, BucketPolicy::AllowsNobody));
    for (effect, bucket) in [
        ("Deny", BucketPolicy::AllowsNobody),
        ("Allow", BucketPolicy::AllowsSomebody),
    ] {
        let policy = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "{effect}", "Principal": "*",
                "Action": "s3:GetObject", "Resource": "arn:aws:s3:::models/*"}}}}"#
        );
        let put = s3.put_bucket_policy().bucket("models").policy(policy);
        put.send().await.unwrap();
        assert_eq!(role.decision().await, (nothing, bucket), "{effect}");
    }

    // What has conditions does not count, and says what it asks for.
    role.has(
        "tagged",
        r#"{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition":
            {"StringEquals": {"s3:ExistingObjectTag/SageMaker": "true"}}}"#,
    )
    .await;
    let access = role.access(None).await;
    assert_eq!(access.simulated[0].decision, nothing);
    assert_eq!(
        access.simulated[0].missing,
        ["s3:ExistingObjectTag/SageMaker"]
    );
    assert_eq!(access.bucket, BucketPolicy::NotAsked);

    let managed = iam.create_policy().policy_name("reads").policy_document(
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
            "Action": ["s3:Get*"], "Resource": ["arn:aws:s3:::models/fraud/*"]}]}"#,
    );
    let managed = managed.send().await.unwrap();
    let arn = managed.policy().unwrap().arn().unwrap();
    let attach = iam.attach_role_policy().role_name("model").policy_arn(arn);
    attach.send().await.unwrap();
    let allowed = (Simulation::Allowed, BucketPolicy::NotAsked);
    assert_eq!(role.decision().await, allowed);
    let access = role.access(Some(KEY)).await;
    let decrypts = &access.simulated[1];
    assert_eq!(
        (decrypts.action.as_str(), decrypts.on.as_str()),
        ("kms:Decrypt", KEY)
    );
    assert_eq!(decrypts.decision, nothing);

    role.has(
        "no",
        r#"{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::models/fraud/model.tar.gz"}"#,
    )
    .await;
    let denied = (Simulation::ExplicitDeny, BucketPolicy::NotAsked);
    assert_eq!(role.decision().await, denied);
}
