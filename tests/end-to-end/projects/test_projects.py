"""That the sample projects are what project.json says of them: every version is trained and
served for real, by the scripts that stand for SageMaker's containers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "sagemaker-local" / "container"))

from local_testing import ContainerTest, Root, clean_environment  # noqa: E402

# How far a metric must be from where the gate would decide otherwise.
MARGIN = 0.004
# Trainings and servers at a time.
WORKERS = 2


@dataclass
class Trained:
    """A version that was trained."""

    root: Root
    metrics: dict[str, float]


@dataclass
class Served:
    """What the requests of payloads.json came to."""

    answers: list[tuple[int, Any]]
    smoke: int

    @property
    def failing_share(self) -> float:
        """The share of requests that were not answered with 200."""
        return sum(status != 200 for status, _ in self.answers) / len(self.answers)


class ProjectTest(ContainerTest):
    """All versions of a project, trained and served once for all tests of a class."""

    name: str
    about: dict[str, Any]
    folder: Path
    data: Path
    trained: dict[str, Trained]
    served: dict[str, Served]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = HERE / cls.name
        cls.about = json.loads((cls.folder / "project.json").read_text())
        cls.data = cls.temporary()
        command = [sys.executable, str(cls.folder / cls.about["export"]), "--out", str(cls.data)]
        subprocess.run(command, env=clean_environment(), check=True)
        versions = cls.about["versions"]
        with ThreadPoolExecutor(WORKERS) as pool:
            cls.trained = dict(zip(versions, pool.map(cls.train, versions), strict=True))
            cls.served = dict(zip(versions, pool.map(cls.deploy, versions), strict=True))

    @classmethod
    def temporary(cls) -> Path:
        """A folder that is gone after the class."""
        folder = Path(tempfile.mkdtemp(prefix=f"{cls.name}-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    @classmethod
    def train(cls, name: str, **more: Path) -> Trained:
        """Trains a version as SageMaker would, with more channels if there are."""
        version, root = cls.about["versions"][name], Root(cls.temporary())
        code = root.path / "code"
        for source in (cls.about["source"], version.get("changes")):
            if source:
                shutil.copytree(cls.folder / source, code, dirs_exist_ok=True)
        (root.path / "input/data").mkdir(parents=True)
        channels = version["channels"] | more
        for channel, folder in channels.items():
            (root.path / "input/data" / channel).symlink_to(cls.data / folder)
        program = {"sagemaker_program": cls.about["entry_point"]}
        root.configure(program | version["hyperparameters"], channels=tuple(channels))
        ended = root.train()
        if ended.status:
            raise AssertionError(f"{cls.name} {name} was not trained:\n{ended.log}")
        metrics = {}
        for definition in cls.about["metric_definitions"]:
            # The last value that a job logs is its final one.
            found = re.findall(definition["Regex"], ended.log)
            metrics[definition["Name"]] = float(found[-1])
        return Trained(root, metrics)

    @classmethod
    def deploy(cls, name: str) -> Served:
        """Serves a version from nothing but its model archive, and sends all payloads."""
        about, root = cls.about["serve"], Root(cls.temporary())
        root.environment["SAGEMAKER_PROGRAM"] = about["program"]
        shutil.copytree(cls.trained[name].root.path / "model", root.path / "model")
        case = cls()
        try:
            server = case.serve(root).ready()
            answers = []
            for body in json.loads((cls.folder / about["payloads"]).read_text()):
                status, answer, _ = server.invoke(body, about["content_type"], about["accept"])
                answers.append((status, json.loads(answer)))
            smoke = (cls.folder / about["smoke"]).read_text()
            status = server.invoke(smoke, about["content_type"], about["accept"])[0]
            return Served(answers, status)
        finally:
            case.doCleanups()

    def metric(self, version: str) -> float:
        """The metric that the gate looks at."""
        return self.trained[version].metrics[self.about["gate"]["metric"]]


class Promises:
    """What holds for every project."""

    def test_the_gate_tells_the_versions_apart_with_a_margin(self: ProjectTest) -> None:
        gate, champion = self.about["gate"], None
        for name, version in self.about["versions"].items():
            threshold = gate["at_least"]
            if champion is not None:
                threshold = max(threshold, self.metric(champion) - gate["champion_minus_at_most"])
            above = self.metric(name) - threshold
            if version["passes_gate"]:
                self.assertGreaterEqual(above, MARGIN, name)
                # One that fails in serving is rolled back and never becomes the champion.
                champion = name if self.served[name].failing_share == 0 else champion
            else:
                self.assertLessEqual(above, -MARGIN, name)

    def test_requests_fail_as_often_as_said(self: ProjectTest) -> None:
        for name, version in self.about["versions"].items():
            least, most = version["failing_share"]
            share = self.served[name].failing_share
            self.assertTrue(least <= share <= most, f"{name}: {share}")

    def test_the_smoke_request_passes_in_every_version(self: ProjectTest) -> None:
        for name, served in self.served.items():
            self.assertEqual(served.smoke, 200, name)

    def test_the_payloads_are_those_of_the_data(self: ProjectTest) -> None:
        for name in (self.about["serve"]["payloads"], self.about["serve"]["smoke"]):
            self.assertEqual((self.folder / name).read_text(), (self.data / name).read_text())


class Tumours(Promises, ProjectTest):
    name = "tumours"

    def test_the_second_version_is_clearly_better_and_the_fifth_not_worse(self) -> None:
        self.assertGreater(self.metric("v2"), self.metric("v1") + 0.02)
        self.assertGreaterEqual(self.metric("v5"), self.metric("v2"))

    def test_on_the_new_scanners_data_the_fifth_is_better_than_the_second(self) -> None:
        champion = self.temporary()
        with tarfile.open(champion / "model.tar.gz", "w:gz") as archive:
            archive.add(self.trained["v2"].root.path / "model", arcname=".")
        trained = self.train("v5", champion=champion)
        output = trained.root.path / "output/data/champion.json"
        second = json.loads(output.read_text())
        fifth = trained.metrics
        self.assertEqual(fifth, self.trained["v5"].metrics)
        self.assertEqual(second.keys(), fifth.keys())
        for name, value in second.items():
            self.assertLess(value, fifth[name] - 0.02, name)

    def test_the_new_scanners_data_differs_in_the_measurements_that_it_makes_smaller(self) -> None:
        header, *rows = (self.data / "held-out.csv").read_text().splitlines()
        columns = header.split(",")[1:]
        payloads = json.loads((self.data / "payloads.json").read_text())
        self.assertEqual(len(rows), len(payloads))
        changed = set()
        for row, before in zip(rows, payloads, strict=True):
            after = row.split(",")[1:]
            for name, old, new in zip(columns, before.split(","), after, strict=True):
                if old != new:
                    self.assertLess(float(new), float(old))
                    changed.add(name)
        softer = ("texture", "concav", "smoothness")
        self.assertEqual(changed, {name for name in columns if any(s in name for s in softer)})

    def test_training_again_gives_the_same_metrics(self) -> None:
        self.assertEqual(self.train("v3").metrics, self.trained["v3"].metrics)

    def test_only_requests_without_the_optional_field_fail_in_the_third(self) -> None:
        payloads = json.loads((self.folder / "payloads.json").read_text())
        for body, (status, answer) in zip(payloads, self.served["v3"].answers, strict=True):
            incomplete = ",," in body
            self.assertEqual(status, 500 if incomplete else 200)
            if incomplete:
                self.assertEqual((answer["error"], answer["in"]), ("ValueError", "input_fn"))
        for status, answer in self.served["v2"].answers:
            self.assertEqual(status, 200)
            self.assertTrue(0 <= answer["malignant"][0] <= 1)

    def test_the_evaluation_is_written_for_the_model_registry(self) -> None:
        output = self.trained["v2"].root.path / "output/data/evaluation.json"
        metrics = json.loads(output.read_text())["binary_classification_metrics"]
        self.assertAlmostEqual(metrics["auc"]["value"], self.metric("v2"), places=4)

    def test_the_training_script_serves_as_well(self) -> None:
        trained = self.trained["v1"].root
        environment = {"SAGEMAKER_PROGRAM": "train.py"}
        server = self.serve(Root(trained.path, environment)).ready()
        payload = json.loads((self.folder / "payloads.json").read_text())[0]
        self.assertEqual(server.invoke(payload, "text/csv")[0], 200)


class Handwriting(Promises, ProjectTest):
    name = "handwriting"

    def test_answers_are_digits(self) -> None:
        for served in self.served.values():
            for status, answer in served.answers:
                self.assertEqual(status, 200)
                self.assertIn(answer["digit"], range(10))


if __name__ == "__main__":
    unittest.main()
