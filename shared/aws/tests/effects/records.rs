//! What is written into SageMaker's own records: a package's card and life cycle, metadata beside
//! somebody else's, and the graph.

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{ModelCardStatus, ModelLifeCycle};
use tidegate_core::pipeline::{Card, RiskRating};
use tidegate_core::world::{Annotation, Effect, LifeCycle, Outcome, World};

use crate::bench::Bench;
use crate::parts::{annotation, perform, register, registered, trace};

#[tokio::test]
async fn a_package_is_registered_with_its_card_and_life_cycle() {
    let bench = Bench::start().await;
    let Effect::RegisterPackage(mut spec) = register(&bench.word(), "model") else {
        unreachable!("it registers")
    };
    spec.card = Some(Card {
        intended_uses: Some("Card payments.\nNot for \"loans\".".to_owned()),
        risk_rating: Some(RiskRating::High),
        ..Card::default()
    });
    spec.life_cycle = Some(LifeCycle {
        stage: "Development".to_owned(),
        status: "PendingApproval".to_owned(),
        why: "the gate judged it".to_owned(),
    });
    let made = bench.world.perform(&Effect::RegisterPackage(spec)).await;
    let Outcome::Registered { arn, .. } = made.unwrap() else {
        panic!("it was not registered")
    };
    let describe = bench.clients.sagemaker.describe_model_package();
    let found = describe.model_package_name(arn).send().await.unwrap();
    let cycle = found.model_life_cycle.unwrap();
    assert_eq!(cycle.stage(), Some("Development"));
    assert_eq!(
        cycle.stage_description(),
        Some("Tidegate: the gate judged it")
    );
    let card = found.model_card.unwrap();
    assert_eq!(card.model_card_status(), Some(&ModelCardStatus::Draft));
    let content: serde_json::Value =
        serde_json::from_str(card.model_card_content().unwrap()).unwrap();
    assert_eq!(content["intended_uses"]["risk_rating"], "High");
}

#[tokio::test]
async fn what_somebody_else_wrote_into_a_package_stays() {
    let bench = Bench::start().await;
    let arn = registered(&bench, &bench.word()).await;
    let theirs = ModelLifeCycle::builder().stage("QA").stage_status("OnHold");
    let mut update = bench.clients.sagemaker.update_model_package();
    for n in 0..48 {
        update = update.customer_metadata_properties(format!("theirs-{n}"), "1");
    }
    update
        .model_package_arn(&arn)
        .customer_metadata_properties("tidegate:finding", "of theirs")
        .model_life_cycle(theirs.build())
        .send()
        .await
        .unwrap();
    // One of the two is there already, and there is room for one.
    let Effect::Annotate(mut wanted) = annotation(&arn) else {
        unreachable!("it annotates")
    };
    wanted.metadata.insert("zzz".to_owned(), "1".to_owned());
    perform(&bench, Effect::Annotate(wanted)).await;
    let describe = bench.clients.sagemaker.describe_model_package();
    let found = describe.model_package_name(&arn).send().await.unwrap();
    let metadata = found.customer_metadata_properties.unwrap();
    assert_eq!(metadata.len(), 50);
    assert_eq!(metadata["tidegate:finding"], "of theirs");
    assert_eq!(metadata["tidegate:parent"], "v2");
    assert_eq!(found.model_life_cycle.unwrap().stage(), Some("QA"));
    let nothing = Annotation {
        arn,
        metadata: BTreeMap::new(),
        life_cycle: None,
        approved_by: None,
    };
    perform(&bench, Effect::Annotate(Box::new(nothing))).await;
    assert_eq!(bench.calls("UpdateModelPackage", "zzz"), 0);
}

#[tokio::test]
async fn without_the_jobs_trial_component_data_leads_to_the_package() {
    let bench = Bench::start().await;
    let word = bench.word();
    let arn = registered(&bench, &word).await;
    // No training job was made.
    perform(&bench, trace(&word, &arn)).await;
    let list = bench.clients.sagemaker.list_artifacts();
    let package = list.source_uri(&arn).send().await.unwrap();
    let package = package.artifact_summaries()[0].artifact_arn().unwrap();
    let list = bench.clients.sagemaker.list_associations();
    let into = list.destination_arn(package).source_type("DataSet");
    let into = into.send().await.unwrap();
    assert_eq!(into.association_summaries().len(), 1);
}
