//! What is found about the things that a policy names, by answers made up for the purpose.
#![allow(clippy::unwrap_used)]

use tidegate_core::artifact::Object;
use tidegate_core::pipeline;
use tidegate_core::world::{Effect, Outcome};

use super::*;

const POLICY: &str = r#"
[pipeline]
name = "shop"
group = "shop"

[gate]
evaluation = "s3://evaluations/{job}/evaluation.json"
champion_evaluation = "{output}/champion.json"

[serve]
image = "999999999999.dkr.ecr.eu-west-1.amazonaws.com/shop:7"
role = "arn:aws:iam::999999999999:role/models"

[[stage]]
name = "production"
endpoint = "shop-prod"
smoke = ["s3://there/request.csv", "s3://there/gone.csv", "s3://abroad/request.csv", "s3://denied/request.csv"]

[monitor]
on_drift = { retrain = { training_job = { name_prefix = "shop-again", inputs = { train = "s3://nowhere/{day}/train" } } } }
"#;

/// An S3 of a few buckets.
struct Buckets;

impl World for Buckets {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        let Question::Artifact { uri } = question else {
            panic!("{question:?}")
        };
        let region = match bucket(uri) {
            "nowhere" => None,
            "abroad" => Some("eu-west-1".to_owned()),
            _ => Some("us-east-1".to_owned()),
        };
        let found = match uri.as_str() {
            "s3://there/request.csv" => Found::Object(Object {
                etag: "a".to_owned(),
                bytes: 3,
                version: None,
                kms_key: None,
            }),
            "s3://denied/request.csv" => Found::Unseen {
                why: "HeadObject: Forbidden".to_owned(),
            },
            _ => Found::Missing,
        };
        Ok(Answer::Artifact(Box::new(Artifact {
            uri: uri.clone(),
            region,
            found,
        })))
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        panic!("{effect:?}")
    }
}

fn here(account: Option<Result<&str, &str>>) -> Here {
    let owned = |account: Result<&str, &str>| match account {
        Ok(account) => Ok(account.to_owned()),
        Err(why) => Err(why.to_owned()),
    };
    Here {
        region: "us-east-1".to_owned(),
        account: account.map(owned),
    }
}

#[tokio::test]
async fn what_a_policy_names_is_looked_at_and_each_finding_says_how_to_mend_it() {
    let policy = pipeline::parse(POLICY, "shop.toml").unwrap();
    let here = here(Some(Ok("123456789012")));
    let found = run(&Buckets, &policy, &here, Duration::from_secs(5)).await;
    let told: String = found.iter().map(|f| f.text("shop.toml")).collect();
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn a_policy_of_this_place_leaves_nothing_to_say() {
    let text = POLICY
        .replace("999999999999", "123456789012")
        .replace("eu-west-1", "us-east-1")
        .replace(
            ", \"s3://there/gone.csv\", \"s3://abroad/request.csv\", \"s3://denied/request.csv\"",
            "",
        )
        .replace("nowhere", "there");
    let policy = pipeline::parse(&text, "shop.toml").unwrap();
    let here = here(Some(Ok("123456789012")));
    let found = run(&Buckets, &policy, &here, Duration::from_secs(5)).await;
    assert_eq!(found, []);
}

#[test]
fn an_account_that_nobody_names_is_told() {
    let policy = pipeline::parse(POLICY, "shop.toml").unwrap();
    let found = of_names(&policy, &here(Some(Err("no credentials"))));
    let told: String = found.iter().map(|f| f.text("shop.toml")).collect();
    assert!(told.contains("note: shop.toml: serve.role: "), "{told}");
    assert!(told.contains("why: no credentials"), "{told}");
}
