//! The world against the emulator: each effect twice, each question, and what a busy, missing or
//! foreign thing leads to. The emulator's clock stands still until a test moves it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use aws_sdk_sagemaker::types::{
    CaptureMode, CaptureOption, ContainerDefinition, DataCaptureConfig, ModelApprovalStatus,
    ProductionVariant, ProductionVariantInstanceType, Tag,
};
use serde_json::json;
use tidegate_core::event::{Approval, EndpointStatus};
use tidegate_core::name::{EndpointName, GroupName, JobName, PackageVersion, ScheduleName};
use tidegate_core::pipeline::{CountMetric, GuardMetric, Instance};
use tidegate_core::world::{
    Answer, ConfigSpec, Effect, Endpoint, MinuteCounts, ModelSpec, Outcome, Package, PackageSpec,
    Question, VariantSpec, World, WorldError, WorldErrorKind,
};

use support::fixture::{Fixture, fixture};

const ROLE: &str = "arn:aws:iam::123456789012:role/models";
const IMAGE: &str =
    "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";

impl Fixture {
    async fn twice(&self, effect: Effect) {
        for time in ["first", "second"] {
            let done = self.world.perform(&effect).await;
            assert_eq!(done, Ok(Outcome::Done), "{time} time: {effect:?}");
        }
    }

    async fn refused(&self, effect: &Effect) -> WorldError {
        self.world.perform(effect).await.unwrap_err()
    }

    async fn endpoint(&self) -> Endpoint {
        match self
            .world
            .ask(&Question::Endpoint(endpoint()))
            .await
            .unwrap()
        {
            Answer::Endpoint(endpoint) => *endpoint,
            other => panic!("{other:?}"),
        }
    }

    async fn package(&self, arn: &str) -> Package {
        let asked = self
            .world
            .ask(&Question::Package {
                arn: arn.to_owned(),
            })
            .await
            .unwrap();
        match asked {
            Answer::Package(package) => *package,
            other => panic!("{other:?}"),
        }
    }

    /// Registers a version whose model is scripted; gives its ARN.
    async fn registered(&self, n: u32, script: &serde_json::Value) -> String {
        let spec = package_spec(n, script);
        let first = self
            .world
            .perform(&Effect::RegisterPackage(spec.clone()))
            .await
            .unwrap();
        let again = self
            .world
            .perform(&Effect::RegisterPackage(spec))
            .await
            .unwrap();
        assert_eq!(first, again, "the same token gives the same package");
        match first {
            Outcome::Registered { arn, version } => {
                assert_eq!(version, PackageVersion(n));
                arn
            }
            other => panic!("{other:?}"),
        }
    }

    /// Brings version 1 into service by the config `c1`.
    async fn first_deployment(&self) {
        let package = self
            .registered(1, &json!({"seed": 1, "start_seconds": 60}))
            .await;
        self.twice(model("m1", &package, None)).await;
        self.twice(config("c1", None, vec![variant("v1", "m1", None, 100)]))
            .await;
        self.twice(Effect::CreateEndpoint {
            endpoint: endpoint(),
            config: "c1".to_owned(),
            tags: BTreeMap::from([("team".to_owned(), "risk".to_owned())]),
        })
        .await;
        assert_eq!(self.endpoint().await.status, EndpointStatus::Creating);
        self.minutes_pass(15);
        assert_eq!(self.endpoint().await.status, EndpointStatus::InService);
    }
}

fn endpoint() -> EndpointName {
    EndpointName::parse("fraud-prod").unwrap()
}

fn group() -> GroupName {
    GroupName::parse("fraud-detection").unwrap()
}

fn package_spec(n: u32, script: &serde_json::Value) -> Box<PackageSpec> {
    Box::new(PackageSpec {
        token: format!("{n:032}"),
        group: group(),
        job: JobName::parse("train-1").unwrap(),
        job_arn: "arn:aws:sagemaker:us-east-1:123456789012:training-job/train-1".to_owned(),
        description: "fraud, trained by\ntrain-1".to_owned(),
        image: IMAGE.to_owned(),
        artifact: format!("s3://bucket/train-{n}/output/model.tar.gz"),
        environment: BTreeMap::from([("SAGEMAKER_LOCAL_SCRIPT".to_owned(), script.to_string())]),
        content_types: vec!["text/csv".to_owned()],
        response_types: vec!["text/csv".to_owned()],
        approval: Approval::Approved,
        why: "auc is 0.95, at least 0.92".to_owned(),
        evaluation: Some("s3://bucket/evaluation.json".to_owned()),
        commit: Some("0123abc".to_owned()),
        repository: None,
        metadata: BTreeMap::from([("metric: auc".to_owned(), "0,95 (95 %)".to_owned())]),
        life_cycle: None,
        card: None,
    })
}

fn model(name: &str, package: &str, like: Option<&str>) -> Effect {
    Effect::CreateModel(Box::new(ModelSpec {
        name: name.to_owned(),
        package: package.to_owned(),
        like: like.map(str::to_owned),
        role: like.is_none().then(|| ROLE.to_owned()),
        vpc: None,
        network_isolation: None,
        job: None,
        environment: BTreeMap::new(),
        tags: BTreeMap::from([("tidegate:pipeline".to_owned(), "fraud".to_owned())]),
    }))
}

fn config(name: &str, like: Option<&str>, variants: Vec<VariantSpec>) -> Effect {
    Effect::CreateEndpointConfig(Box::new(ConfigSpec {
        name: name.to_owned(),
        like: like.map(str::to_owned),
        variants,
        capture: None,
        tags: BTreeMap::new(),
    }))
}

fn variant(name: &str, model: &str, like: Option<&str>, weight: u8) -> VariantSpec {
    VariantSpec {
        name: name.to_owned(),
        model: model.to_owned(),
        like: like.map(str::to_owned),
        instance: like.is_none().then(|| Instance {
            kind: "ml.m5.large".to_owned(),
            count: 1,
        }),
        count: 1,
        weight,
        model_download_seconds: None,
        startup_seconds: None,
    }
}

fn shift(old: u8, new: u8) -> Effect {
    let weights = BTreeMap::from([("v1".to_owned(), old), ("v2".to_owned(), new)]);
    Effect::ShiftWeights {
        endpoint: endpoint(),
        weights,
    }
}

fn update(config: &str) -> Effect {
    Effect::UpdateEndpoint {
        endpoint: endpoint(),
        config: config.to_owned(),
        retain: false,
    }
}

#[tokio::test]
async fn what_does_not_exist_is_missing_and_its_deletion_is_done() {
    let fixture = fixture().await;
    let arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package/fraud-detection/9";
    for question in [
        Question::TrainingJob(JobName::parse("nothing").unwrap()),
        Question::Package {
            arn: arn.to_owned(),
        },
        Question::Endpoint(endpoint()),
        Question::EndpointConfig {
            name: "nothing".to_owned(),
        },
        Question::Model {
            name: "nothing".to_owned(),
        },
        Question::MonitoringSchedule(ScheduleName::parse("nothing").unwrap()),
        Question::Violations {
            job: "nothing".to_owned(),
        },
    ] {
        assert_eq!(
            fixture.world.ask(&question).await,
            Ok(Answer::Missing),
            "{question:?}"
        );
    }
    fixture
        .twice(Effect::DeleteModel {
            name: "nothing".to_owned(),
        })
        .await;
    fixture
        .twice(Effect::DeleteEndpointConfig {
            name: "nothing".to_owned(),
        })
        .await;
    fixture
        .twice(Effect::DeleteEndpoint {
            endpoint: endpoint(),
        })
        .await;
    for effect in [update("c1"), shift(50, 50)] {
        assert_eq!(
            fixture.refused(&effect).await.kind,
            WorldErrorKind::Gone,
            "{effect:?}"
        );
    }
}

#[tokio::test]
async fn a_package_is_registered_once_and_judged() {
    let fixture = fixture().await;
    let arn = fixture.registered(1, &json!({})).await;
    let found = fixture.package(&arn).await;
    assert_eq!(found.group, group());
    assert_eq!(found.approval, Approval::Approved);
    assert!(found.usable, "{:?}", found.failure);
    assert_eq!(found.image.as_deref(), Some(IMAGE));
    assert_eq!(found.artifacts, ["s3://bucket/train-1/output/model.tar.gz"]);
    assert_eq!(found.metadata["metric: auc"], "0-95 -95 --");

    let approval = Effect::SetApproval {
        arn: arn.clone(),
        approval: Approval::Rejected,
        why: "It failed on 4 % of requests.".to_owned(),
        seen: None,
    };
    fixture.twice(approval).await;
    let found = fixture.package(&arn).await;
    assert_eq!(found.approval, Approval::Rejected);
    assert_eq!(
        found.approval_description.as_deref(),
        Some("It failed on 4 % of requests.")
    );

    let since = found.created;
    let of = |artifact: &str| Question::PackagesOf {
        group: group(),
        artifact: artifact.to_owned(),
        since,
    };
    let same = fixture.world.ask(&of(&found.artifacts[0])).await.unwrap();
    assert_eq!(same, Answer::Packages(vec![found]));
    let none = fixture.world.ask(&of("s3://bucket/other")).await.unwrap();
    assert_eq!(none, Answer::Packages(Vec::new()));
}

#[tokio::test]
async fn an_approval_that_was_decided_on_an_older_package_leaves_what_was_set_since() {
    let fixture = fixture().await;
    let arn = fixture.registered(1, &json!({})).await;
    let seen = fixture.package(&arn).await.modified;
    let set = |approval, why: &str, seen| Effect::SetApproval {
        arn: arn.clone(),
        approval,
        why: why.to_owned(),
        seen,
    };

    // A person changes it after it was looked at.
    fixture.minutes_pass(1);
    let person = fixture
        .clients
        .sagemaker
        .update_model_package()
        .model_package_arn(&arn)
        .model_approval_status(ModelApprovalStatus::Rejected)
        .approval_description("I know why")
        .send();
    person.await.unwrap();
    let late = set(Approval::PendingManualApproval, "one of two", Some(seen));
    fixture.twice(late).await;
    let found = fixture.package(&arn).await;
    assert_eq!(found.approval, Approval::Rejected);
    assert_eq!(found.approval_description.as_deref(), Some("I know why"));

    // What was decided on the package as it is now holds, and so does what asks for no look.
    let due = set(
        Approval::PendingManualApproval,
        "one of two",
        Some(found.modified),
    );
    fixture.twice(due).await;
    let found = fixture.package(&arn).await;
    assert_eq!(found.approval, Approval::PendingManualApproval);
    fixture.minutes_pass(1);
    fixture
        .twice(set(Approval::Rejected, "harm was seen", None))
        .await;
    assert_eq!(fixture.package(&arn).await.approval, Approval::Rejected);
}

#[tokio::test]
async fn a_canary_comes_up_gets_traffic_is_measured_and_goes() {
    let fixture = fixture().await;
    fixture.first_deployment().await;
    let bad = json!({"error_rate": 0.5, "latency_ms": {"median": 400, "sigma": 0.1}, "seed": 2});
    let package = fixture.registered(2, &bad).await;
    fixture.twice(model("m2", &package, Some("m1"))).await;
    let both = vec![
        variant("v1", "m1", Some("v1"), 100),
        variant("v2", "m2", Some("v1"), 0),
    ];
    fixture.twice(config("c2", Some("c1"), both)).await;
    fixture.twice(update("c2")).await;
    // A third config has to wait its turn, and so do weights.
    let now = fixture.endpoint().await;
    assert_eq!(now.status, EndpointStatus::Updating);
    assert_eq!(now.pending_config.as_deref(), Some("c2"));
    assert_eq!(
        fixture.refused(&update("c1")).await.kind,
        WorldErrorKind::NotNow
    );
    fixture.minutes_pass(20);
    let now = fixture.endpoint().await;
    assert_eq!(
        (now.status, now.config.as_str()),
        (EndpointStatus::InService, "c2")
    );
    assert_eq!(now.variants.len(), 2);

    fixture.twice(shift(50, 50)).await;
    fixture.minutes_pass(5);
    let from = jiff::Timestamp::from_second(1_767_225_600 + 60 * 60).unwrap();
    fixture.minutes_pass(30);
    let traffic = json!({"endpoint": "fraud-prod", "requests_per_minute": 200, "payloads": ["1,2"],
        "content_type": "text/csv"});
    fixture.order("/traffic", &traffic);
    fixture.minutes_pass(10);
    let asked = Question::Minutes {
        endpoint: endpoint(),
        variants: vec!["v1".to_owned(), "v2".to_owned()],
        guards: vec![
            GuardMetric::Metric(CountMetric::ModelErrors),
            GuardMetric::SlowerThanMs(200),
        ],
        from,
        to: from + jiff::SignedDuration::from_mins(60),
    };
    let Answer::Minutes(minutes) = fixture.world.ask(&asked).await.unwrap() else {
        panic!()
    };
    assert_eq!(minutes.len(), 60);
    let sum = |variant: usize, guard: usize| {
        minutes.iter().fold((0, 0), |(n, b), minute| {
            let counts = minute.variants[variant][guard];
            (n + counts.requests, b + counts.bad)
        })
    };
    let (requests, errors) = sum(0, 0);
    assert!(
        requests > 300 && errors == 0,
        "the champion: {errors} of {requests}"
    );
    let (requests, errors) = sum(1, 0);
    assert!(
        requests > 300 && errors > 100,
        "the canary: {errors} of {requests}"
    );
    let (requests, slow) = sum(1, 1);
    assert!(
        slow * 10 > requests * 9 && slow <= requests,
        "{slow} of {requests} are slow"
    );

    hours_are_their_minutes(&fixture, &asked, &minutes).await;

    fixture.twice(shift(100, 0)).await;
    fixture.minutes_pass(5);
    fixture.twice(update("c1")).await;
    fixture.minutes_pass(20);
    variants_are_known_by_their_metrics(&fixture).await;
}

/// Asks by the hour for what was asked by the minute.
async fn hours_are_their_minutes(fixture: &Fixture, asked: &Question, minutes: &[MinuteCounts]) {
    let Question::Minutes {
        endpoint,
        variants,
        guards,
        from,
        to,
    } = asked.clone()
    else {
        panic!()
    };
    let by_hour = Question::Hours {
        endpoint,
        variants,
        guards,
        from,
        to,
    };
    let Answer::Minutes(hours) = fixture.world.ask(&by_hour).await.unwrap() else {
        panic!()
    };
    assert_eq!((hours.len(), hours[0].at), (1, from));
    for (variant, guard) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let counts = || minutes.iter().map(|m| m.variants[variant][guard]);
        let requests: u64 = counts().map(|c| c.requests).sum();
        let bad: u64 = counts().map(|c| c.bad).sum();
        let hour = hours[0].variants[variant][guard];
        assert_eq!(hour.requests, requests);
        // Trimmed counts are interpolated, so those of an hour need not be the sum of its minutes'.
        let off = hour.bad.abs_diff(bad);
        assert!(
            off == 0 || guard == 1 && off * 20 <= requests,
            "{off} of {requests}"
        );
    }
}

async fn variants_are_known_by_their_metrics(fixture: &Fixture) {
    let of = |endpoint| Question::VariantsOf { endpoint };
    let known = fixture.world.ask(&of(endpoint())).await;
    let both = vec!["v1".to_owned(), "v2".to_owned()];
    assert_eq!(known, Ok(Answer::Variants(both)));
    let nothing = EndpointName::parse("nothing").unwrap();
    let none = fixture.world.ask(&of(nothing)).await;
    assert_eq!(none, Ok(Answer::Variants(Vec::new())));
}

#[tokio::test]
async fn a_smoke_request_meets_the_canary_alone() {
    let fixture = fixture().await;
    fixture.first_deployment().await;
    let package = fixture
        .registered(2, &json!({"error_rate": 1.0, "seed": 2}))
        .await;
    fixture.twice(model("m2", &package, Some("m1"))).await;
    let both = vec![
        variant("v1", "m1", Some("v1"), 100),
        variant("v2", "m2", Some("v1"), 0),
    ];
    fixture.twice(config("c2", Some("c1"), both)).await;
    fixture.twice(update("c2")).await;
    fixture.minutes_pass(20);
    let body = b"1,2,3".to_vec();
    fixture
        .clients
        .s3
        .put_object()
        .bucket("bucket")
        .key("r.csv")
        .body(body.into())
        .send()
        .await
        .unwrap();
    let smoke = |variant: &str, uri: &str| Question::Smoke {
        endpoint: endpoint(),
        variant: variant.to_owned(),
        payloads: vec![uri.to_owned(), uri.to_owned()],
        content_type: "text/csv".to_owned(),
    };
    let ask = async |variant: &str| match fixture
        .world
        .ask(&smoke(variant, "s3://bucket/r.csv"))
        .await
    {
        Ok(Answer::Smoke(answers)) => answers,
        other => panic!("{other:?}"),
    };
    let good = ask("v1").await;
    assert_eq!(
        good.iter().map(|a| a.status).collect::<Vec<_>>(),
        [200, 200]
    );
    let bad = ask("v2").await;
    assert_eq!(bad.iter().map(|a| a.status).collect::<Vec<_>>(), [500, 500]);
    assert!(bad[0].problem.is_some());
    // A request that isn't there is not the model's fault.
    let error = fixture
        .world
        .ask(&smoke("v1", "s3://bucket/absent"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, WorldErrorKind::Gone);
    assert!(error.message.contains("s3://bucket/absent"), "{error}");
}

#[tokio::test]
async fn nothing_of_an_adopted_endpoint_is_lost() {
    let fixture = fixture().await;
    let sagemaker = &fixture.clients.sagemaker;
    let container = ContainerDefinition::builder()
        .image(IMAGE)
        .environment("SAGEMAKER_LOCAL_SCRIPT", "{}")
        .environment("BY_HAND", "1")
        .build();
    sagemaker
        .create_model()
        .model_name("theirs")
        .primary_container(container)
        .execution_role_arn(ROLE)
        .enable_network_isolation(true)
        .tags(Tag::builder().key("cost-centre").value("7").build())
        .send()
        .await
        .unwrap();
    let capture = DataCaptureConfig::builder()
        .enable_capture(true)
        .initial_sampling_percentage(20)
        .destination_s3_uri("s3://bucket/capture")
        .capture_options(
            CaptureOption::builder()
                .capture_mode(CaptureMode::Input)
                .build(),
        )
        .build();
    let theirs = ProductionVariant::builder()
        .variant_name("AllTraffic")
        .model_name("theirs")
        .instance_type(ProductionVariantInstanceType::MlC5Xlarge)
        .initial_instance_count(2)
        .initial_variant_weight(1.0)
        .volume_size_in_gb(50)
        .container_startup_health_check_timeout_in_seconds(300)
        .build();
    let key = "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c-0000-4000-8000-000000000000";
    sagemaker
        .create_endpoint_config()
        .endpoint_config_name("theirs")
        .production_variants(theirs)
        .data_capture_config(capture.clone())
        .kms_key_id(key)
        .tags(Tag::builder().key("cost-centre").value("7").build())
        .send()
        .await
        .unwrap();

    let package = fixture.registered(1, &json!({})).await;
    fixture.twice(model("m1", &package, Some("theirs"))).await;
    let mut canary = variant("v1", "m1", Some("AllTraffic"), 0);
    canary.count = 3;
    let both = vec![
        variant("AllTraffic", "theirs", Some("AllTraffic"), 100),
        canary,
    ];
    fixture.twice(config("c1", Some("theirs"), both)).await;

    let made = sagemaker
        .describe_model()
        .model_name("m1")
        .send()
        .await
        .unwrap();
    assert_eq!(made.execution_role_arn(), Some(ROLE));
    assert_eq!(made.enable_network_isolation(), Some(true));
    let made = sagemaker
        .describe_endpoint_config()
        .endpoint_config_name("c1")
        .send()
        .await
        .unwrap();
    assert_eq!(made.data_capture_config(), Some(&capture));
    assert_eq!(made.kms_key_id(), Some(key));
    let canary = made
        .production_variants()
        .iter()
        .find(|v| v.variant_name() == Some("v1"));
    let canary = canary.unwrap();
    assert_eq!(
        canary.instance_type(),
        Some(&ProductionVariantInstanceType::MlC5Xlarge)
    );
    assert_eq!(canary.initial_instance_count(), Some(3));
    assert_eq!(canary.volume_size_in_gb(), Some(50));
    assert_eq!(
        canary.container_startup_health_check_timeout_in_seconds(),
        Some(300)
    );
    let arn = made.endpoint_config_arn().unwrap();
    let tags = sagemaker
        .list_tags()
        .resource_arn(arn)
        .send()
        .await
        .unwrap();
    assert!(
        tags.tags().iter().any(|t| t.key() == Some("cost-centre")),
        "{tags:?}"
    );
}

#[tokio::test]
async fn a_name_that_somebody_else_took_is_refused() {
    let fixture = fixture().await;
    fixture.first_deployment().await;
    let package = fixture.registered(2, &json!({})).await;
    let error = fixture.refused(&model("m1", &package, None)).await;
    assert_eq!(error.kind, WorldErrorKind::Refused, "{error}");
    let error = fixture
        .refused(&config("c1", None, vec![variant("x", "m1", None, 100)]))
        .await;
    assert_eq!(error.kind, WorldErrorKind::Refused, "{error}");
    fixture
        .twice(config("c9", None, vec![variant("v1", "m1", None, 100)]))
        .await;
    let create = Effect::CreateEndpoint {
        endpoint: endpoint(),
        config: "c9".to_owned(),
        tags: BTreeMap::new(),
    };
    let error = fixture.refused(&create).await;
    assert_eq!(error.kind, WorldErrorKind::Refused, "{error}");
    let strange = Effect::ShiftWeights {
        endpoint: endpoint(),
        weights: BTreeMap::from([("nobody".to_owned(), 100)]),
    };
    assert_eq!(fixture.refused(&strange).await.kind, WorldErrorKind::Gone);
}
