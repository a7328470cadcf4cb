//! What is found about stages, by facts made up for the purpose.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use tidegate_core::event::EndpointStatus;
use tidegate_core::evidence::Counts;
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline;
use tidegate_core::world::{
    Answer, Effect, Endpoint, MinuteCounts, Outcome, Question, Variant, World, WorldError,
    WorldErrorKind,
};

use super::ask::{self, Look, Seen, Traffic};
use super::find::findings;
use super::{Finding, Stage};

const FULL: &str = r#"
[pipeline]
name = "shop"
group = "shop"

[[stage]]
name = "production"
endpoint = "shop-prod"
smoke = ["s3://bucket/request.csv"]
strategy = { canary = [5, 50], minutes = 10, min_requests = 100 }

[[stage.guard]]
metric = "model_errors"
ceiling = 0.01

[[stage.guard]]
slower_than_ms = 200

[[stage.guard]]
custom = { namespace = "Shop", bad = "CheckoutsFailed", all = "Checkouts", dimensions = { Endpoint = "{endpoint}", Variant = "{variant}" }, name = "failed checkouts" }
"#;

fn stage(change: impl Fn(String) -> String) -> Stage {
    let policy = pipeline::parse(&change(FULL.to_owned()), "shop.toml").unwrap();
    policy.stages[0].clone()
}

fn seen(requests: u64, bad: u64) -> Seen {
    Seen {
        champion: Counts::new(requests, bad),
        all: requests,
    }
}

fn traffic(requests: u64, guards: [Seen; 3]) -> Look {
    Look::Seen(Traffic {
        champion: "v7".to_owned(),
        requests: Ok(requests),
        guards: guards.into_iter().map(Ok).collect(),
    })
}

fn error(kind: WorldErrorKind, message: &str) -> WorldError {
    WorldError {
        kind,
        call: "GetMetricData".to_owned(),
        message: message.to_owned(),
    }
}

/// The findings as a person reads them.
fn told(stage: &Stage, look: &Look) -> String {
    let found = findings(0, stage, look);
    found.iter().map(|f| f.text("shop.toml")).collect()
}

fn same(policy: String) -> String {
    policy
}

#[test]
fn nothing_is_told_of_a_stage_that_is_well() {
    let fine = [seen(180_000, 90), seen(180_000, 400), seen(9_000, 30)];
    assert_eq!(told(&stage(same), &traffic(180_000, fine)), "");
}

#[test]
fn a_metric_without_data_is_told_with_its_dimensions_filled_in() {
    let silent = [seen(180_000, 0), seen(180_000, 0), seen(0, 0)];
    insta::assert_snapshot!(told(&stage(same), &traffic(180_000, silent)), @r#"
    warning: shop.toml: stage[0].guard[2]: CloudWatch has nothing of failed checkouts in the last 3 hours (Checkouts in Shop with Endpoint=shop-prod Variant=v7), although shop-prod had 180,000 requests: a rollout would hold here
     help: publish it with exactly these dimensions, or correct the guard; what is there: aws cloudwatch list-metrics --namespace "Shop" --metric-name "Checkouts"
    "#);
    let silent = [seen(180_000, 0), seen(0, 0), seen(9_000, 0)];
    insta::assert_snapshot!(told(&stage(same), &traffic(180_000, silent)), @r#"
    warning: shop.toml: stage[0].guard[1]: CloudWatch has no latencies in the last 3 hours (ModelLatency in AWS/SageMaker with EndpointName=shop-prod VariantName=v7), although shop-prod had 180,000 requests: the guard would watch nothing
     help: does every request fail before it reaches the model? CloudWatch has its latency otherwise
    "#);
}

#[test]
fn a_ceiling_that_the_champion_breaks_is_told_with_its_rate() {
    let worse = [seen(10_000, 140), seen(10_000, 0), seen(10_000, 0)];
    insta::assert_snapshot!(told(&stage(same), &traffic(10_000, worse)), @r#"
    warning: shop.toml: stage[0].guard[0].ceiling: the champion is over it now: model errors are 1.4 % (140 of 10,000 requests in the last 3 hours), the ceiling is 1.0 %. A candidate as good as the champion can't be called safe by it, and would be taken back once it has all the traffic
     help: raise it above 1.4 %, or leave it out until the champion keeps it
    "#);
    // Four bad answers may be chance, and a rate at the ceiling keeps it.
    for (requests, bad) in [(10_000, 100), (40, 4), (0, 0)] {
        let fine = [seen(requests, bad), seen(10_000, 0), seen(10_000, 0)];
        assert_eq!(told(&stage(same), &traffic(10_000, fine)), "");
    }
}

#[test]
fn a_step_with_too_little_traffic_is_told_with_what_to_do() {
    // 90 requests in 3 hours: 30 an hour.
    let few = [seen(90, 0), seen(90, 0), seen(60, 0)];
    insta::assert_snapshot!(told(&stage(same), &traffic(90, few)), @r#"
    warning: shop.toml: stage[0].strategy.canary[0]: 5 % is 1.5 requests an hour for the canary, by the 90 that shop-prod had in the last 3 hours, too few to tell anything; min_requests = 100 takes 3 days, and the step lasts 60 minutes at most: the step then holds and people are told
     help: give the canary 17 % or more
     help: let the step last longer: max_minutes = 4000
     help: ask for fewer: min_requests; or say in on_low_traffic what becomes of such a step: "hold", "promote" or "roll_back"
    warning: shop.toml: stage[0].strategy.canary[1]: 50 % is 15 requests an hour for the canary, by the 90 that shop-prod had in the last 3 hours; min_requests = 100 takes 7 hours, and the step lasts 60 minutes at most: the step then holds and people are told
     help: let the step last longer: max_minutes = 400
     help: ask for fewer: min_requests; or say in on_low_traffic what becomes of such a step: "hold", "promote" or "roll_back"
    "#);

    let promotes = stage(|policy| {
        policy.replace(
            "min_requests = 100",
            "min_requests = 0, on_low_traffic = \"promote\"",
        )
    });
    let told_of = |requests| {
        let all = [seen(requests, 0); 3];
        findings(0, &promotes, &traffic(requests, all))
            .into_iter()
            .map(|finding| finding.key.unwrap())
            .collect::<Vec<_>>()
    };
    // At 5 %, 300 requests in 3 hours are 5 an hour.
    assert_eq!(told_of(299), ["stage[0].strategy.canary[0]"]);
    assert!(told_of(300).is_empty());
}

#[test]
fn a_step_s_own_time_decides_whether_it_is_too_short() {
    let keys = |max_minutes: u32, requests: u64| {
        let stage = stage(|policy| {
            policy.replace(
                "min_requests = 100",
                &format!("min_requests = 100, max_minutes = {max_minutes}"),
            )
        });
        findings(0, &stage, &traffic(requests, [seen(requests, 0); 3])).len()
    };
    // 6,000 in 3 hours are 100 an hour at 5 % and 1,000 at 50 %.
    assert_eq!(keys(60, 6_000), 0);
    assert_eq!(keys(59, 6_000), 1);
    assert_eq!(keys(59, 600), 2);
    assert_eq!(keys(600, 600), 0);
}

#[test]
fn traffic_that_is_too_little_for_any_share_is_told_so() {
    let stage = stage(same);
    let told = told(&stage, &traffic(6, [seen(6, 0); 3]));
    assert!(told.contains("no share is enough"), "{told}");
    assert!(!told.contains("NaN") && !told.contains("inf"), "{told}");
}

#[test]
fn what_is_not_there_yet_is_a_note_of_one_line() {
    let stage = stage(same);
    for look in [Look::NoEndpoint, traffic(0, [seen(0, 0); 3])] {
        let told = told(&stage, &look);
        assert!(told.starts_with("note: shop.toml: production: "), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn a_stage_without_smoke_requests_has_one_hint_whatever_else_is_known() {
    let stage = stage(|policy| policy.replace("smoke = [\"s3://bucket/request.csv\"]\n", ""));
    for look in [
        Look::NoEndpoint,
        Look::TooLate,
        traffic(180_000, [seen(180_000, 0); 3]),
    ] {
        let told = told(&stage, &look);
        assert_eq!(told.matches("hint: ").count(), 1, "{told}");
        assert!(told.contains("hint: shop.toml: stage[0].smoke: "), "{told}");
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_what_to_allow() {
    let denied = error(
        WorldErrorKind::Denied,
        "AccessDenied: User: arn:aws:iam::123456789012:user/ada is not authorized to perform: \
         cloudwatch:GetMetricData because no identity-based policy allows it",
    );
    let all = Look::Seen(Traffic {
        champion: "v7".to_owned(),
        requests: Err(denied.clone()),
        guards: vec![Err(denied.clone()); 3],
    });
    insta::assert_snapshot!(told(&stage(same), &all), @r#"
    warning: shop.toml: production: these credentials may not read the metrics of shop-prod from CloudWatch
      why: GetMetricData: AccessDenied: User: arn:aws:iam::123456789012:user/ada is not authorized to perform: cloudwatch:GetMetricData because no identity-based policy allows it
     help: allow cloudwatch:GetMetricData to the credentials in use
     help: `aws sts get-caller-identity` says whose they are; the stack's output OperatorPolicyArn is a policy with all that `tidegate` needs
     help: the functions have roles of their own: if they may read it, rollouts go on; if not, they hold and tell
    "#);

    let invalid = error(
        WorldErrorKind::Refused,
        "ValidationError: the value of MetricStat is not valid",
    );
    let one = Look::Seen(Traffic {
        champion: "v7".to_owned(),
        requests: Ok(180_000),
        guards: vec![
            Ok(seen(180_000, 0)),
            Ok(seen(180_000, 0)),
            Err(invalid.clone()),
        ],
    });
    insta::assert_snapshot!(told(&stage(same), &one), @r#"
    warning: shop.toml: stage[0].guard[2]: CloudWatch refuses to answer about failed checkouts: a rollout would hold here
      why: GetMetricData: ValidationError: the value of MetricStat is not valid
    "#);

    let undescribed = Look::Undescribed(WorldError {
        call: "DescribeEndpoint".to_owned(),
        ..error(WorldErrorKind::Denied, "AccessDeniedException: no")
    });
    insta::assert_snapshot!(told(&stage(same), &undescribed), @r#"
    warning: shop.toml: production: shop-prod can't be looked at, so its guards and steps were not probed
      why: DescribeEndpoint: AccessDeniedException: no
     help: the credentials in use may not do this; `aws sts get-caller-identity` says whose they are
     help: the functions have roles of their own: if they may read it, rollouts go on; if not, they hold and tell
    "#);
}

#[test]
fn findings_in_json_have_all_that_the_text_has() {
    let found: Vec<Finding> = findings(2, &stage(same), &Look::TooLate);
    insta::assert_json_snapshot!(found, @r#"
    [
      {
        "level": "warning",
        "stage": "production",
        "key": null,
        "what": "AWS took too long to say what serves shop-prod: its guards and steps were not probed",
        "why": null,
        "help": [
          "the policy is in force all the same; --no-probe leaves this out"
        ]
      }
    ]
    "#);
}

/// A world that never answers.
struct Silence;

impl World for Silence {
    async fn ask(&self, _: &Question) -> Result<Answer, WorldError> {
        std::future::pending().await
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        panic!("{effect:?}")
    }
}

#[tokio::test]
async fn a_world_that_never_answers_holds_nobody_up() {
    let now = "2026-11-24T12:00:30Z".parse().unwrap();
    let stages: Vec<_> = (0..20).map(|place| (place, stage(same))).collect();
    let longest = std::time::Duration::from_millis(20);
    let found = super::run(&Silence, &stages, now, longest).await;
    assert_eq!(found.len(), 20);
    for (place, findings) in found.iter().enumerate() {
        assert_eq!(
            *findings,
            super::find::findings(place, &stages[place].1, &Look::TooLate)
        );
        assert!(findings[0].text("shop.toml").starts_with("warning: "));
    }
}

/// A world with one endpoint, whose custom metric CloudWatch may refuse.
struct Town {
    refuses_custom: bool,
    asked: Mutex<Vec<Question>>,
}

impl World for Town {
    async fn ask(&self, question: &Question) -> Result<Answer, WorldError> {
        self.asked.lock().unwrap().push(question.clone());
        match question {
            Question::Endpoint(name) => Ok(Answer::Endpoint(Box::new(endpoint(name)))),
            Question::VariantsOf { .. } => {
                Ok(Answer::Variants(vec!["v6".to_owned(), "v7".to_owned()]))
            }
            Question::Minutes {
                variants,
                guards,
                from,
                to,
                ..
            } => {
                let is_custom =
                    |g: &pipeline::GuardMetric| matches!(g, pipeline::GuardMetric::Custom(_));
                if self.refuses_custom && guards.iter().any(is_custom) {
                    return Err(error(WorldErrorKind::Denied, "no"));
                }
                let counts = variants
                    .iter()
                    .map(|variant| {
                        let requests = if variant == "v7" { 10 } else { 100 };
                        vec![Counts::new(requests, 1); guards.len()]
                    })
                    .collect();
                let minutes = to.duration_since(*from).as_mins();
                let line = MinuteCounts {
                    at: *from,
                    variants: counts,
                };
                Ok(Answer::Minutes(vec![
                    line;
                    usize::try_from(minutes).unwrap()
                ]))
            }
            other => panic!("{other:?}"),
        }
    }

    async fn perform(&self, effect: &Effect) -> Result<Outcome, WorldError> {
        panic!("{effect:?}")
    }
}

fn endpoint(name: &EndpointName) -> Endpoint {
    let variant = |name: &str, weight: f64| Variant {
        name: name.to_owned(),
        weight,
        desired_weight: weight,
        count: 1,
        desired_count: 1,
        serverless: false,
    };
    Endpoint {
        name: name.clone(),
        status: EndpointStatus::InService,
        config: "c7".to_owned(),
        pending_config: None,
        failure: None,
        modified: None,
        variants: vec![variant("v8", 5.0), variant("v7", 95.0)],
    }
}

#[tokio::test]
async fn the_last_three_settled_hours_of_all_variants_are_added_up() {
    let town = Town {
        refuses_custom: false,
        asked: Mutex::new(Vec::new()),
    };
    let now = "2026-11-24T12:00:30Z".parse().unwrap();
    let Look::Seen(traffic) = ask::look(&town, &stage(same), now).await else {
        panic!("the endpoint is there");
    };
    assert_eq!(traffic.champion, "v7");
    // v7, v8 and v6, that served before.
    assert_eq!(traffic.requests, Ok(180 * 210));
    let of_one = Seen {
        champion: Counts::new(1_800, 180),
        all: 180 * 210,
    };
    assert_eq!(traffic.guards, vec![Ok(of_one); 3]);
    let asked = town.asked.lock().unwrap();
    let [
        _,
        _,
        Question::Minutes {
            from, to, variants, ..
        },
    ] = asked.as_slice()
    else {
        panic!("{asked:?}");
    };
    assert_eq!(variants, &["v7", "v8", "v6"]);
    assert_eq!(
        (from.to_string(), to.to_string()),
        (
            "2026-11-24T08:58:00Z".to_owned(),
            "2026-11-24T11:58:00Z".to_owned()
        )
    );
}

#[tokio::test]
async fn what_is_refused_together_is_asked_guard_by_guard() {
    let town = Town {
        refuses_custom: true,
        asked: Mutex::new(Vec::new()),
    };
    let now = "2026-11-24T12:00:30Z".parse().unwrap();
    let stages = [(0, stage(same))];
    let found = super::run(&town, &stages, now, super::LONGEST).await;
    let keys: Vec<_> = found[0].iter().map(|f| f.key.clone().unwrap()).collect();
    // The champion's 10 % of errors are over the ceiling of 1 %, too.
    assert_eq!(keys, ["stage[0].guard[2]", "stage[0].guard[0].ceiling"]);

    // A stage whose only guard is refused still has its requests counted.
    let guard = FULL.find("[[stage.guard]]").unwrap();
    let custom = FULL.rfind("[[stage.guard]]").unwrap();
    let only = stage(|policy| format!("{}{}", &policy[..guard], &policy[custom..]));
    let Look::Seen(traffic) = ask::look(&town, &only, now).await else {
        panic!("the endpoint is there");
    };
    assert_eq!(traffic.requests, Ok(180 * 210));
    assert_eq!(traffic.guards.len(), 1);
    assert!(traffic.guards[0].is_err());
}
