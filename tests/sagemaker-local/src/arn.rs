//! Names of AWS resources in the emulator's one account and region.

/// The account that everything belongs to.
pub(crate) const ACCOUNT: &str = "123456789012";
/// The region that everything is in.
pub(crate) const REGION: &str = "us-east-1";

/// `arn:aws:sagemaker:us-east-1:123456789012:<kind>/<name>`; SageMaker folds names to lower case
/// in the ARNs of everything but model packages and their groups.
pub(crate) fn sagemaker(kind: &str, name: &str) -> String {
    let name = match kind {
        "model-package" | "model-package-group" => name.to_owned(),
        _ => name.to_lowercase(),
    };
    format!("arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}")
}

/// The part after `<kind>/` of an ARN of that kind, or the text itself if it is no ARN.
pub(crate) fn name_of<'a>(kind: &str, arn_or_name: &'a str) -> &'a str {
    if !arn_or_name.starts_with("arn:") {
        return arn_or_name;
    }
    arn_or_name
        .splitn(6, ':')
        .nth(5)
        .and_then(|resource| resource.strip_prefix(kind)?.strip_prefix('/'))
        .unwrap_or(arn_or_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_its_arn() {
        assert_eq!(
            name_of("model-package", &sagemaker("model-package", "fraud/3")),
            "fraud/3"
        );
        assert_eq!(name_of("model-package", "fraud"), "fraud");
        assert_eq!(
            sagemaker("endpoint", "Fraud-Prod"),
            "arn:aws:sagemaker:us-east-1:123456789012:endpoint/fraud-prod"
        );
    }
}
