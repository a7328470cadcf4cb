#![allow(clippy::unwrap_used)]
use super::*;
use crate::artifact::Object;

const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn artifact(found: Found) -> Artifact {
    Artifact {
        uri: "s3://models/1/model.tar.gz".to_owned(),
        region: Some("us-east-1".to_owned()),
        found,
    }
}

fn object(etag: &str, kms_key: Option<&str>) -> Found {
    Found::Object(Object {
        etag: etag.to_owned(),
        bytes: 10,
        version: None,
        kms_key: kms_key.map(str::to_owned),
    })
}

fn version(artifact: &Artifact) -> Version<'_> {
    Version {
        region: Some("us-east-1"),
        image: Some("123456789012.dkr.ecr.us-east-1.amazonaws.com/fraud:7"),
        kms_key: None,
        artifacts: vec![artifact],
        recorded: None,
    }
}

fn strict() -> Preflight {
    Preflight {
        role_reads: true,
        encrypted: true,
        pinned_image: true,
        same_artifact: true,
    }
}

fn checks(version: &Version<'_>, rules: &Preflight) -> Vec<&'static str> {
    let refusals = version.refusals(rules);
    for refusal in &refusals {
        assert!(!refusal.help.is_empty(), "{refusal:?} says how to mend it");
    }
    refusals.iter().map(|refusal| refusal.check).collect()
}

#[test]
fn what_is_in_the_endpoints_region_and_exists_is_served() {
    let there = artifact(object("a", None));
    assert_eq!(checks(&version(&there), &Preflight::default()), [""; 0]);
}

#[test]
fn what_is_in_another_region_can_not_be_served() {
    let there = Artifact {
        region: Some("eu-west-1".to_owned()),
        ..artifact(Found::Missing)
    };
    let version = Version {
        image: Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com/fraud:7"),
        kms_key: Some("arn:aws:kms:eu-west-1:123456789012:key/1"),
        ..version(&there)
    };
    assert_eq!(
        checks(&version, &Preflight::default()),
        ["image-region", "key-region", "artifact-region"]
    );
    let said = sentence(&version.refusals(&Preflight::default()));
    assert!(said.contains("copy it to ECR in us-east-1"), "{said}");
}

#[test]
fn a_key_without_a_region_is_taken_for_one_of_the_endpoints() {
    let there = artifact(object("a", Some("aws/s3")));
    for key in ["alias/models", "1234abcd-12ab", "arn:aws:s3:eu-west-1:1:x"] {
        let version = Version {
            kms_key: Some(key),
            ..version(&there)
        };
        assert_eq!(checks(&version, &Preflight::default()), [""; 0], "{key}");
    }
}

#[test]
fn an_artifact_that_is_gone_can_not_be_served() {
    let gone = artifact(Found::Missing);
    assert_eq!(
        checks(&version(&gone), &Preflight::default()),
        ["artifact-exists"]
    );
}

#[test]
fn what_the_policy_demands_is_checked() {
    let plain = artifact(object("a", None));
    assert_eq!(
        checks(&version(&plain), &strict()),
        ["pinned-image", "encrypted"]
    );
    let encrypted = artifact(object("a", Some("arn:aws:kms:us-east-1:1:key/1")));
    let image = format!("123456789012.dkr.ecr.us-east-1.amazonaws.com/fraud{DIGEST}");
    let good = Version {
        image: Some(&image),
        ..version(&encrypted)
    };
    assert_eq!(checks(&good, &strict()), [""; 0]);
}

#[test]
fn what_can_not_be_looked_at_passes_unless_something_is_demanded_of_it() {
    let unseen = artifact(Found::Unseen {
        why: "HeadObject: Forbidden".to_owned(),
    });
    assert_eq!(checks(&version(&unseen), &Preflight::default()), [""; 0]);
    let known = Version {
        recorded: Some("a"),
        ..version(&unseen)
    };
    assert_eq!(checks(&known, &Preflight::default()), ["same-artifact"]);
    let demanded = Preflight {
        encrypted: true,
        same_artifact: false,
        ..Preflight::default()
    };
    assert_eq!(checks(&known, &demanded), ["encrypted"]);
}

#[test]
fn an_artifact_that_was_written_again_is_not_what_was_approved() {
    let now = artifact(object("b", None));
    let known = Version {
        recorded: Some("a"),
        ..version(&now)
    };
    assert_eq!(checks(&known, &Preflight::default()), ["same-artifact"]);
    let lax = Preflight {
        same_artifact: false,
        ..Preflight::default()
    };
    assert_eq!(checks(&known, &lax), [""; 0]);
    let same = Version {
        recorded: Some("b"),
        ..version(&now)
    };
    assert_eq!(checks(&same, &Preflight::default()), [""; 0]);
}

#[test]
fn the_region_of_an_image_is_in_its_registrys_name() {
    for (image, region) in [
        ("1.dkr.ecr.us-west-2.amazonaws.com/a/b:1", Some("us-west-2")),
        (
            "1.dkr.ecr.cn-north-1.amazonaws.com.cn/a",
            Some("cn-north-1"),
        ),
        ("1.dkr-ecr.eu-south-2.on.aws/a", Some("eu-south-2")),
        (
            "1.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a",
            Some("us-gov-west-1"),
        ),
        ("public.ecr.aws/a/b", None),
        ("registry.internal:5000/a", None),
        ("evil.com/1.dkr.ecr.us-west-2.amazonaws.com/a", None),
        ("image", None),
    ] {
        assert_eq!(image_region(image), region, "{image}");
    }
}

#[test]
fn only_a_whole_digest_pins_an_image() {
    assert!(is_pinned(&format!("repo{DIGEST}")));
    assert!(is_pinned(&format!("repo:1{DIGEST}")));
    for image in ["repo:1", "repo@sha256:", "repo@sha256:0123", "repo"] {
        assert!(!is_pinned(image), "{image}");
    }
}
