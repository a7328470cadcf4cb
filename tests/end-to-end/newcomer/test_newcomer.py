"""A newcomer types the commands of docs/try-it.md, in order, in a world that was just brought up.

What is checked is what the page promises, by boto3 and not by what the commands print alone.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import boto3

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROGRAMS = ROOT / "target/debug"
PAGE = ROOT / "docs/try-it.md"
# In seconds; what a slow machine may take, so that a world that hangs ends the test.
COMES_UP, GOES_DOWN, COMMAND = 90, 30, 150
EXPORT = re.compile(r'^export (\w+)="?([^"\n]*)"?$')


def commands():
    """The lines of the page's `sh` blocks; those of `console` blocks are only shown."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


class World:
    """`world up` as a process, and the environment that it says to work in."""

    def __init__(self):
        program = PROGRAMS / "world"
        for built in (program, PROGRAMS / "tidegate"):
            if not built.exists():
                raise AssertionError(f"{built} is not there; `make build` builds it")
        self.process = subprocess.Popen(
            [program, "up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # A world that never says it is up must not hold the test for ever.
        late = threading.Timer(COMES_UP, self.process.kill)
        late.start()
        try:
            said = self._until_up()
        finally:
            late.cancel()
        exports = dict(match.groups() for line in said if (match := EXPORT.match(line)))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        path = exports.pop("PATH").replace("$PATH", os.environ["PATH"])
        python = Path(sys.executable).parent
        self.environment = {**clean, **exports, "PATH": f"{python}:{path}", "NO_COLOR": "1"}
        self.children = descendants(self.process.pid)
        if len(self.children) < 3:
            self.end()
            raise AssertionError(f"moto, the emulator and the functions are not all there: {said}")

    def _until_up(self):
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Ctrl-C ends it" in line:
                return said
        self.process.wait(GOES_DOWN)
        raise AssertionError(f"the world did not come up in {COMES_UP} s:\n{''.join(said)}")

    def end(self):
        """Ends it, and gives what it left running."""
        started = self.children | descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(GOES_DOWN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the world did not end in {GOES_DOWN} s") from None
        finally:
            self.process.stdout.close()
        until = time.monotonic() + GOES_DOWN
        while (left := {one for one in started if is_running(one)}) and time.monotonic() < until:
            time.sleep(0.1)
        return left


def processes():
    """Of each process its number, its parent's, and when it started, which makes it unique."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] not in "ZX":
            yield int(folder.name), int(fields[1]), fields[19]


def descendants(root):
    everything = list(processes())
    found, parents = set(), {root}
    while parents:
        children = {(number, start) for number, parent, start in everything if parent in parents}
        found |= children
        parents = {number for number, _ in children}
    return found


def is_running(process):
    return process in {(number, start) for number, _, start in processes()}


class ANewcomer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.addClassCleanup(cls.end_world)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.typed = {}
        for line in commands():
            # What the page writes into a file is not to be left in the checkout.
            line_here = line.replace("event.json", f"{folder.name}/event.json")
            done = subprocess.run(
                line_here,
                shell=True,
                cwd=HERE,
                env=cls.world.environment,
                capture_output=True,
                text=True,
                timeout=COMMAND,
                check=False,
            )
            if done.returncode != 0:
                raise AssertionError(f"`{line}` ended with {done.returncode}:\n{done.stderr}")
            cls.typed.setdefault(line, []).append(done.stdout)
        session = boto3.Session(
            aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1"
        )
        url = cls.world.environment["AWS_ENDPOINT_URL_SAGEMAKER"]
        cls.sagemaker = session.client("sagemaker", endpoint_url=url)
        cls.addClassCleanup(cls.sagemaker.close)

    @classmethod
    def end_world(cls):
        left = cls.world.end()
        if left:
            raise AssertionError(f"the world left these processes running: {sorted(left)}")

    def answers(self, line):
        self.assertIn(line, self.typed, f"{PAGE.name} has this command no more")
        return self.typed[line]

    def answer(self, line):
        return self.answers(line)[-1]

    def test_the_jobs_completed_with_their_metrics(self):
        for job, accuracy in (("wine-1", 0.8889), ("wine-2", 0.9333), ("wine-3", 0.6222)):
            described = self.sagemaker.describe_training_job(TrainingJobName=job)
            self.assertEqual(described["TrainingJobStatus"], "Completed", job)
            metrics = {
                one["MetricName"]: one["Value"] for one in described["FinalMetricDataList"]
            }
            self.assertEqual(list(metrics), ["accuracy"], job)
            self.assertAlmostEqual(metrics["accuracy"], accuracy, delta=0.05, msg=job)

    def test_good_versions_are_approved_and_a_worse_one_is_rejected_with_its_reason(self):
        listed = self.sagemaker.list_model_packages(ModelPackageGroupName="wine-growers")
        packages = {
            one["ModelPackageVersion"]: one["ModelApprovalStatus"]
            for one in listed["ModelPackageSummaryList"]
        }
        self.assertEqual(packages, {1: "Approved", 2: "Approved", 3: "Rejected"})
        self.assertIn("below the required 0.85", self.answer("python walk.py follow 3"))

    def test_the_first_version_serves_without_a_canary(self):
        self.assertIn("wine is InService v1 at 100 %", self.answer("python walk.py follow 1"))

    def test_the_better_version_took_the_endpoint_over_by_a_canary(self):
        told = self.answer("python walk.py follow 2")
        shares = re.findall(r"InService v1 at \d+ %, v2 at (\d+) %", told)
        self.assertEqual(shares, sorted(shares, key=int))
        self.assertLessEqual({"10", "50"}, set(shares))
        endpoint = self.sagemaker.describe_endpoint(EndpointName="wine")
        self.assertEqual(endpoint["EndpointStatus"], "InService")
        self.assertEqual([one["VariantName"] for one in endpoint["ProductionVariants"]], ["v2"])

    def test_predictions_are_right(self):
        first, second = self.answers("python walk.py ask")
        self.assertIn("v1 says grower 0, and it is 0\n", first)
        self.assertEqual(
            second, "".join(f"v2 says grower {one}, and it is {one}\n" for one in range(3))
        )

    def test_cloudwatch_has_counted_the_users_requests(self):
        counted = re.fullmatch(
            r"v2: (\d+) requests in 15 minutes, 0 errors, p90 of each minute within \d+ ms\n",
            self.answer("python walk.py counts"),
        )
        self.assertIsNotNone(counted, self.answer("python walk.py counts"))
        self.assertGreater(int(counted[1]), 300)

    def test_the_trail_is_whole_and_says_why(self):
        self.assertRegex(self.answer("tidegate audit verify"), r"wine-growers: whole, \d+ entries")
        history = self.answer("tidegate history wine-growers")
        self.assertIn("v2 has 50 % of the traffic of wine", history)
        rollouts = self.answer("tidegate history wine-growers --rollouts")
        self.assertIn("v2 to production (wine)  done", rollouts)

    def test_an_event_is_explained(self):
        explained = self.answer("tidegate explain event.json")
        self.assertIn("Training job wine-3 completed", explained)
        self.assertIn("the training job wine-3 was gated before", explained)


if __name__ == "__main__":
    unittest.main()
