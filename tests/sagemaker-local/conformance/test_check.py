"""That the check of a whole record finds what AWS would not send or accept."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

from check import Checker, main

ARN = "arn:aws:sagemaker:us-east-1:123456789012:"
NOW = 1_790_000_000.0


def call(service: str, operation: str, **parts: Any) -> dict[str, Any]:
    """A line of the record: 200 with an output, 400 with an error, unless said otherwise."""
    status = 400 if parts.get("error") else 200
    defaults = {"input": {}, "output": None, "error": None, "status": status}
    return {"service": service, "operation": operation, **defaults, **parts}


def error(code: str, message: str = "no") -> dict[str, str]:
    return {"code": code, "message": message}


DESCRIBE_ENDPOINT = call(
    "sagemaker",
    "DescribeEndpoint",
    input={"EndpointName": "fraud-prod"},
    output={
        "EndpointName": "fraud-prod",
        "EndpointArn": ARN + "endpoint/fraud-prod",
        "EndpointStatus": "InService",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
    },
)
UPDATE_PACKAGE = call(
    "sagemaker",
    "UpdateModelPackage",
    input={
        "ModelPackageArn": ARN + "model-package/fraud/3",
        "ModelApprovalStatus": "Rejected",
        "CustomerMetadataProperties": {"tidegate:reason": "errors 20.1 at 5 of 100"},
    },
    output={"ModelPackageArn": ARN + "model-package/fraud/3"},
)
INVOKE = call(
    "sagemaker-runtime",
    "InvokeEndpoint",
    input={"EndpointName": "fraud-prod", "TargetVariant": "v2", "ContentType": "text/csv"},
    output={"ContentType": "application/json", "InvokedProductionVariant": "v2"},
)
METRICS = call(
    "cloudwatch",
    "GetMetricData",
    input={
        "StartTime": NOW,
        "EndTime": NOW + 600,
        "MetricDataQueries": [
            {
                "Id": "errors",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/SageMaker",
                        "MetricName": "InvocationModelErrors",
                        "Dimensions": [{"Name": "EndpointName", "Value": "fraud-prod"}],
                    },
                    "Period": 60,
                    "Stat": "Sum",
                },
            }
        ],
    },
    output={
        "MetricDataResults": [
            {"Id": "errors", "Timestamps": [NOW], "Values": [3.0], "StatusCode": "Complete"}
        ]
    },
)


def changed(line: dict[str, Any], side: str, **members: Any) -> dict[str, Any]:
    return {**line, side: {**line[side], **members}}


class Records(unittest.TestCase):
    def problems(self, *lines: Any, **options: bool) -> list[str]:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        return [str(one) for one in Checker(**options).lines(texts).problems.values()]

    def one(self, line: Any, *parts: str) -> None:
        found = self.problems(line)
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])

    def test_what_aws_would_send_has_no_problems(self) -> None:
        lines = [DESCRIBE_ENDPOINT, UPDATE_PACKAGE, INVOKE, METRICS]
        report = Checker().lines(json.dumps(line) for line in lines)
        self.assertEqual([str(one) for one in report.problems.values()], [])
        self.assertEqual(report.summary(), "4 requests, 4 responses checked, 0 problems")

    def test_requests_are_checked(self) -> None:
        line = changed(DESCRIBE_ENDPOINT, "input", EndpointName="fraud_prod")
        self.one(line, "line 1: sagemaker DescribeEndpoint request.EndpointName", "pattern")
        reason = {"why": "100%, or more"}
        line = changed(UPDATE_PACKAGE, "input", CustomerMetadataProperties=reason)
        self.one(line, "request.CustomerMetadataProperties['why']", "pattern")

    def test_responses_are_checked(self) -> None:
        self.one(
            changed(DESCRIBE_ENDPOINT, "output", EndpointStatus="IN_SERVICE"),
            "response.EndpointStatus",
            "nearest: InService",
        )
        self.one(
            changed(DESCRIBE_ENDPOINT, "output", Weight=1),
            "response.Weight is not a member of DescribeEndpointOutput",
        )
        self.one(changed(METRICS, "output", Messages=None), "response.Messages is null")

    def test_an_operation_must_exist(self) -> None:
        line = call("sagemaker", "DescribeEndpoints", output={})
        self.one(line, "request is of an operation that the service doesn't have")
        self.one(call("sagemaker-local", "X", output={}), "unknown service")

    def test_an_operation_that_is_not_implemented_may_say_so(self) -> None:
        refused = error("UnknownOperationException", "not implemented here: CreateSpaceship")
        self.assertEqual(self.problems(call("sagemaker", "CreateSpaceship", error=refused)), [])

    def test_errors_must_be_the_operations_or_common_ones(self) -> None:
        line = {**DESCRIBE_ENDPOINT, "output": None, "status": 400}
        self.assertEqual(self.problems({**line, "error": error("ValidationException")}), [])
        self.assertEqual(self.problems({**line, "error": error("ThrottlingException")}), [])
        self.one({**line, "error": error("ResourceNotFound")}, "never gives (none of its own)")
        self.one({**line, "error": error("ValidationException", "")}, "error.message")
        self.one({**line, "error": {"message": "no"}}, "error.code must be text")

    def test_a_namespace_before_an_error_code_is_no_part_of_it(self) -> None:
        code = "com.amazonaws.sagemaker#ValidationException"
        line = {**DESCRIBE_ENDPOINT, "output": None, "status": 400, "error": error(code)}
        self.assertEqual(self.problems(line), [])

    def test_the_status_must_go_with_the_answer(self) -> None:
        refused = {**INVOKE, "output": None, "error": error("ModelError")}
        self.assertEqual(self.problems({**refused, "status": 424}), [])
        self.one({**refused, "status": 500}, "status is 500 with ModelError; it should be 424")
        self.one({**DESCRIBE_ENDPOINT, "status": 201}, "status is 201 with an output")
        self.one({**DESCRIBE_ENDPOINT, "status": "200"}, "status must be a whole number")

    def test_a_call_ends_in_an_output_or_an_error(self) -> None:
        self.one({**DESCRIBE_ENDPOINT, "output": None}, "either an output or an error")
        self.one({**DESCRIBE_ENDPOINT, "error": error("X")}, "either an output or an error")

    def test_an_operation_without_output_gives_none(self) -> None:
        line = call("sagemaker", "DeleteModel", input={"ModelName": "m"}, output={})
        self.assertEqual(self.problems(line), [])
        self.assertEqual(self.problems({**line, "output": None}), [])
        self.one({**line, "output": {"ModelName": "m"}}, "gives none")

    def test_lines_that_are_no_calls_are_problems(self) -> None:
        self.one("{", "record is not JSON")
        self.one("[]", "record is not a JSON object")

    def test_the_same_mistake_on_many_lines_is_one_problem(self) -> None:
        line = changed(DESCRIBE_ENDPOINT, "output", Weight=1)
        self.one(line, "Weight")
        found = self.problems("", line, line, line)
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("line 2:"), found)
        self.assertTrue(found[0].endswith("(3 times)"), found)

    def test_requests_that_were_meant_to_be_refused_can_be_left_out(self) -> None:
        line = changed(DESCRIBE_ENDPOINT, "input", EndpointName="fraud_prod")
        line |= {"output": None, "status": 400, "error": error("ValidationException")}
        self.one(line, "pattern")
        self.assertEqual(self.problems(line, refused_requests=True), [])
        accepted = changed(DESCRIBE_ENDPOINT, "input", EndpointName="fraud_prod")
        self.assertEqual(len(self.problems(accepted, refused_requests=True)), 1)


class CommandLine(unittest.TestCase):
    def run_main(self, lines: list[Any] | None, *options: str) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder, "record.jsonl")
            if lines is not None:
                record.write_text("".join(json.dumps(line) + "\n" for line in lines))
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                return main([str(record), *options]), out.getvalue()

    def test_a_good_record_ends_with_zero_and_says_how_much_was_checked(self) -> None:
        status, text = self.run_main([INVOKE])
        self.assertEqual((status, text), (0, "1 requests, 1 responses checked, 0 problems\n"))

    def test_a_bad_record_ends_with_one_and_the_problem(self) -> None:
        status, text = self.run_main([changed(INVOKE, "output", Weight=1)])
        self.assertEqual(status, 1)
        self.assertIn("sagemaker-runtime InvokeEndpoint response.Weight", text)

    def test_an_empty_or_missing_record_proves_nothing(self) -> None:
        status, text = self.run_main([])
        self.assertEqual(status, 2)
        self.assertIn("nothing was recorded", text)
        self.assertEqual(self.run_main(None)[0], 2)

    def test_the_report_can_be_json(self) -> None:
        status, text = self.run_main([INVOKE, changed(INVOKE, "output", Weight=1)], "--json")
        report = json.loads(text)
        self.assertEqual(status, 1)
        self.assertEqual(report["requests"], 2)
        self.assertEqual(report["operations"], {"sagemaker-runtime InvokeEndpoint": 2})
        self.assertEqual(report["problems"][0]["path"], "Weight")


if __name__ == "__main__":
    unittest.main()
