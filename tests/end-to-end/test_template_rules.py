"""The local world's view of the template is the template's, and of a strange one there is none.

Run with `python -m unittest discover -s tests/end-to-end`.
"""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

from moto.events.models import EventPattern

import template_rules

TEMPLATE = template_rules.ROOT / "infra" / "template.yaml"
SAMPLES = template_rules.ROOT / "shared" / "core" / "fixtures" / "events"


def run(path):
    """Exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = template_rules.main([str(path)])
    return code, out.getvalue(), err.getvalue()


def run_on(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "template.yaml"
        path.write_text(text, encoding="utf-8")
        return run(path)


class OurTemplate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        code, out, err = run(TEMPLATE)
        assert code == 0, err
        cls.world = json.loads(out)

    def test_the_functions_are_those_of_the_workspace(self):
        folders = {path.parent.name for path in (template_rules.ROOT / "functions").glob("*/Cargo.toml")}
        names = {function["name"] for function in self.world["functions"]}
        self.assertLessEqual(names, folders)
        self.assertLessEqual(
            {
                "training-complete",
                "package-approved",
                "canary-shift",
                "monitor-violation",
                "housekeeping",
            },
            names,
        )

    def test_housekeeping_comes_every_five_minutes(self):
        schedules = self.world["schedules"]
        self.assertEqual(
            [(s["name"], s["expression"], s["function"]) for s in schedules],
            [("housekeeping", "rate(5 minutes)", "housekeeping")],
        )
        self.assertEqual(
            json.loads(schedules[0]["input"]),
            {"tidegate": "housekeeping", "scheduled": "<aws.scheduler.scheduled-time>"},
        )

    def test_each_function_is_retried_twice_and_has_its_environment(self):
        for function in self.world["functions"]:
            self.assertEqual(function["retries"], 2, function)
            # Housekeeping alone keeps anchors.
            anchors = ["TIDEGATE_ANCHOR_BUCKET"] if function["name"] == "housekeeping" else []
            self.assertEqual(
                function["environment"],
                [
                    "RUST_LOG",
                    *anchors,
                    "TIDEGATE_SCHEDULER_ROLE_ARN",
                    "TIDEGATE_SCHEDULE_GROUP",
                    "TIDEGATE_SHIFT_FUNCTION_ARN",
                    "TIDEGATE_TABLE",
                    "TIDEGATE_TOPIC_ARN",
                ],
            )
            self.assertGreater(function["timeout"], 0)
            self.assertGreater(function["memory"], 0)

    def test_each_event_of_the_design_wakes_its_function(self):
        heard = {
            (kind, rule["function"])
            for rule in self.world["rules"]
            for kind in rule["pattern"]["detail-type"]
        }
        self.assertEqual(
            heard,
            {
                ("SageMaker Training Job State Change", "training-complete"),
                (
                    "SageMaker Model Building Pipeline Execution Status Change",
                    "training-complete",
                ),
                ("SageMaker HyperParameter Tuning Job State Change", "training-complete"),
                ("AWS API Call via CloudTrail", "training-complete"),
                ("SageMaker Model Package State Change", "package-approved"),
                ("SageMaker Endpoint State Change", "canary-shift"),
                ("SageMaker Processing Job State Change", "monitor-violation"),
                ("SageMaker Monitoring Schedule State Change", "monitor-violation"),
                ("CloudWatch Alarm State Change", "monitor-violation"),
            },
        )

    def test_the_examples_of_awss_guide_reach_their_function(self):
        for sample, function in (
            ("training-job-state-change.json", "training-complete"),
            ("hyperparameter-tuning-job-state-change.json", "training-complete"),
            ("call-create-training-job.json", "training-complete"),
            ("call-create-training-job-refused.json", None),
            ("call-create-tuning-job.json", "training-complete"),
            ("call-stop-training-job.json", None),
            ("model-package-state-change.json", "package-approved"),
            ("transform-job-state-change.json", None),
            ("model-card-state-change.json", None),
        ):
            event = json.loads((SAMPLES / sample).read_text(encoding="utf-8"))
            woken = [
                rule["function"]
                for rule in self.world["rules"]
                # The matcher that the local world's EventBridge has.
                if EventPattern.load(json.dumps(rule["pattern"])).matches_event(event)
            ]
            self.assertEqual(woken, [function] if function else [], sample)

    def test_patterns_are_plain_json(self):
        for rule in self.world["rules"]:
            self.assertNotIn("Fn::", json.dumps(rule))
            self.assertNotIn("${", json.dumps(rule))

    def test_the_ledger_has_its_keys_time_to_live_and_index(self):
        table = self.world["table"]
        self.assertEqual(
            table["keys"]["KeySchema"],
            [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
        self.assertEqual(table["ttl"], "expires")
        self.assertEqual([index["IndexName"] for index in table["indexes"]], ["pending"])


class StrangeTemplates(unittest.TestCase):
    def change(self, old, new):
        text = TEMPLATE.read_text(encoding="utf-8")
        self.assertIn(old, text)
        return run_on(text.replace(old, new, 1))

    def test_a_function_without_a_name_known_beforehand_is_refused(self):
        code, out, err = self.change('FunctionName: !Sub "${AWS::StackName}-training-complete"', "MemorySize: 512")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("TrainingCompleteFunction", err)

    def test_a_changed_pattern_is_seen(self):
        code, out, _ = self.change("value: [ALARM]", "value: [ALARM, OK]")
        self.assertEqual(code, 0)
        alarms = [rule for rule in json.loads(out)["rules"] if rule["name"] == "alarm-fired"]
        self.assertEqual(alarms[0]["pattern"]["detail"]["state"]["value"], ["ALARM", "OK"])

    def test_a_rule_on_a_bus_that_aws_does_not_send_to_is_refused(self):
        code, _, err = self.change("            Pattern:", "            EventBusName: mine\n            Pattern:")
        self.assertEqual(code, 1)
        self.assertIn("default bus", err)

    def test_a_missing_file_is_told(self):
        code, _, err = run("/nowhere/template.yaml")
        self.assertEqual(code, 1)
        self.assertIn("No such file", err)

    def test_options_are_refused_with_the_usage(self):
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(template_rules.main(["--help"]), 2)
        self.assertIn("template_rules.py [TEMPLATE]", err.getvalue())


if __name__ == "__main__":
    unittest.main()
