//! What IAM says of people, against moto.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_iam::types::Tag;
use tidegate_aws::{AwsWorld, Clients};
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
