"""The template passes its checks, and each way of breaking it that we fear is caught.

Run with `python -m unittest discover -s infra`.
"""

import pathlib
import re
import tempfile
import unittest

import check
import house_rules
import sam_template

TEMPLATE = pathlib.Path(__file__).parent / "template.yaml"


def broken(old, new, count=1):
    """The text of the template with a piece of it changed; the piece must be there."""
    text = TEMPLATE.read_text(encoding="utf-8")
    changed = re.sub(old, new, text, count=count, flags=re.MULTILINE)
    if changed == text:
        raise AssertionError(f"nothing in the template matches {old!r}")
    return changed


def found_in(text):
    """The problems of the house rules in a template."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "template.yaml"
        path.write_text(text, encoding="utf-8")
        return house_rules.problems(sam_template.translate(sam_template.read(path)))


class Template(unittest.TestCase):
    def test_ours_has_no_problem(self):
        self.assertEqual(check.check(TEMPLATE), ([], True))

    def test_a_misspelt_property_is_found_by_cfn_lint(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "template.yaml"
            path.write_text(broken(r"EnableKeyRotation", "EnableKeyRotations"), encoding="utf-8")
            self.assertTrue(any("E3002" in line for line in check.lint(path)), check.lint(path))

    def test_a_file_that_is_not_a_template_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "template.yaml"
            for text, reason in (
                ("[]", "no Resources"),
                ("a: [", "not YAML"),
                ("Resources: {}\nResources: {}\n", "there twice"),
                (
                    "Transform: AWS::Serverless-2016-10-31\n"
                    "Resources: {F: {Type: AWS::Serverless::Function, Properties: {}}}\n",
                    "SAM transform refuses",
                ),
            ):
                path.write_text(text, encoding="utf-8")
                problems, readable = check.check(path)
                self.assertFalse(readable, text)
                self.assertIn(reason, problems[0])
            self.assertIn("No such file", check.check(pathlib.Path(folder) / "none.yaml")[0][0])


class Breakage(unittest.TestCase):
    """Each change to the template, and what must be said of it."""

    def assert_found(self, text, *words):
        problems = found_in(text)
        self.assertTrue(
            any(all(word in problem for word in words) for problem in problems),
            f"no problem with {words} in {problems}",
        )

    def test_a_function_without_a_place_for_its_failures(self):
        text = broken(r"^        DestinationConfig:\n.*OnFailure.*\n", "")
        self.assert_found(text, "TrainingCompleteFunction", "OnFailure")

    def test_a_function_that_never_retries(self):
        text = broken("MaximumRetryAttempts: 2$", "MaximumRetryAttempts: 0")
        self.assert_found(text, "TrainingCompleteFunction", "retry twice")

    def test_a_rule_whose_undelivered_events_are_lost(self):
        self.assert_found(broken(r"^            DeadLetterConfig:.*\n", ""), "DeadLetterConfig")

    def test_a_rule_without_a_retry_policy(self):
        self.assert_found(broken(r"^            RetryPolicy:.*\n", ""), "RetryPolicy")

    def test_two_functions_with_one_role(self):
        text = broken("GetAtt CanaryShiftRole.Arn", "GetAtt PackageApprovedRole.Arn")
        self.assert_found(text, "shares its role")

    def test_an_action_star(self):
        self.assert_found(broken("Action: s3:GetObject", "Action: s3:*"), "DeliveryPolicy", "s3:*")

    def test_a_resource_star_that_iam_could_scope(self):
        text = broken(
            r"(Action: sagemaker:StartPipelineExecution\n +Resource: ).*", r'\1"*"'
        )
        self.assert_found(text, "Resource '*'", "sagemaker:StartPipelineExecution", "pipeline")

    def test_a_resource_of_the_wrong_type(self):
        text = broken(r"pipeline/\$\{RetrainPattern\}", "pipelines:${RetrainPattern}")
        self.assert_found(text, "sagemaker:StartPipelineExecution works on pipeline")

    def test_a_role_passed_to_anyone(self):
        text = broken(r"^.*\"iam:PassedToService\": sagemaker.amazonaws.com.*\n", "")
        self.assert_found(text, "DeliveryPolicy", "iam:PassedToService")

    def test_an_effect_that_would_be_denied(self):
        text = broken(r"^ +- sagemaker:UpdateEndpointWeightsAndCapacities\n", "")
        self.assert_found(text, "CanaryShiftFunction", "UpdateEndpointWeightsAndCapacities")

    def test_a_judge_who_may_not_look_at_tags(self):
        text = broken("iam:ListRoleTags", "iam:GetRole", count=2)
        self.assert_found(text, "PackageApprovedFunction", "lacks iam:ListRoleTags")

    def test_a_look_at_tags_by_who_judges_nothing(self):
        text = broken("Action: events:PutEvents", "Action: [events:PutEvents, iam:ListUserTags]")
        self.assert_found(text, "HousekeepingFunction", "which only PackageApprovedFunction needs")

    def test_dead_letters_that_nobody_may_look_at(self):
        text = broken(r"^              - sqs:ReceiveMessage\n", "")
        self.assert_found(text, "OperatorPolicy", "sqs:ReceiveMessage", "HousekeepingDeadLetters")
        text = broken(r"^              - !GetAtt CanaryShiftDeadLetters.Arn\n", "")
        self.assert_found(text, "OperatorPolicy", "sqs:DeleteMessage", "CanaryShiftDeadLetters")

    def test_dead_letters_that_nobody_may_decrypt(self):
        text = broken(r"(Sid: KeyOfDeadLetters\n(.*\n){3}.*)sqs\.", r"\1sns.")
        self.assert_found(text, "OperatorPolicy", "kms:Decrypt", "Key")

    def test_dead_letters_that_nobody_may_send_again(self):
        text = broken(r"^              - .*function:\$\{AWS::StackName\}-monitor-violation\"\n", "")
        self.assert_found(text, "OperatorPolicy", "lambda:InvokeFunction", "MonitorViolationFunction")

    def test_a_scheduler_that_acts_for_other_accounts(self):
        text = broken(r"^ +\"aws:SourceAccount\": !Ref AWS::AccountId\n( +# The group)", r"\1")
        self.assert_found(text, "SchedulerRole", "aws:SourceAccount")

    def test_a_role_without_the_boundary(self):
        self.assert_found(broken(r"^      PermissionsBoundary: !If.*\n", ""), "PermissionsBoundary")

    def test_a_ledger_without_point_in_time_recovery(self):
        text = broken("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false")
        self.assert_found(text, "Ledger", "point-in-time recovery")

    def test_a_ledger_with_the_key_of_aws(self):
        self.assert_found(broken(", KMSMasterKeyId: !GetAtt Key.Arn", ""), "Ledger", "encrypted")

    def test_a_ledger_that_never_forgets_seen_events(self):
        self.assert_found(broken("AttributeName: expires", "AttributeName: expiry"), "Ledger", "expires")

    def test_a_ledger_that_goes_with_the_stack(self):
        text = broken(r"(outlives the stack.\n    DeletionPolicy: )Retain", r"\1Delete")
        self.assert_found(text, "Ledger", "DeletionPolicy")

    def test_a_key_that_goes_with_the_stack(self):
        text = broken(r"(can't be read.\n    DeletionPolicy: )Retain", r"\1Delete")
        self.assert_found(text, "Key", "DeletionPolicy")

    def test_anchors_that_could_be_deleted(self):
        self.assert_found(broken(r"^      ObjectLockEnabled: true\n", ""), "AnchorBucket", "Object Lock")

    def test_anchors_that_go_with_the_stack(self):
        text = broken(r"(Condition: HasAnchors\n.*\n    DeletionPolicy: )Retain", r"\1Delete")
        self.assert_found(text, "AnchorBucket", "DeletionPolicy")

    def test_anchors_that_could_be_written_over(self):
        self.assert_found(broken("s3:if-none-match", "s3:if-match"), "without If-None-Match")

    def test_a_queue_in_plain_text(self):
        text = broken(r"^      KmsMasterKeyId: !GetAtt Key.Arn\n(      MessageRetention)", r"\1")
        self.assert_found(text, "DeadLetters", "encrypted")

    def test_a_topic_in_plain_text(self):
        text = broken(r"(DisplayName: Tidegate\n) +KmsMasterKeyId.*\n", r"\1")
        self.assert_found(text, "NoticeTopic", "encrypted")

    def test_a_secret_in_the_environment(self):
        line = r"        RUST_LOG: !Ref LogLevel"
        text = broken(line, line + "\n        SLACK_WEBHOOK: there")
        self.assert_found(text, "SLACK_WEBHOOK", "Secrets Manager")
        text = broken(line, line + "\n        SLACK: https://hooks.slack.com/services/T0/B0/x")
        self.assert_found(text, "value of SLACK", "Secrets Manager")

    def test_logs_that_are_kept_for_ever(self):
        self.assert_found(broken(r"^      RetentionInDays.*\n", ""), "RetentionInDays")

    def test_failures_that_nobody_hears_of(self):
        text = broken("MetricName: Errors", "MetricName: Invocations")
        self.assert_found(text, "TrainingCompleteFunction", "alarm")
        text = broken("MetricName: ApproximateNumberOfMessagesVisible", "MetricName: SentMessageSize")
        self.assert_found(text, "TrainingCompleteDeadLetters", "alarm")


if __name__ == "__main__":
    unittest.main()
