"""That train.py runs user scripts as the framework containers do. All are real processes."""

import json
import os
import signal
import subprocess
import sys
import unittest
from typing import Any

from local_testing import (
    PATIENCE_SECONDS,
    ContainerTest,
    Root,
    eventually,
    is_running,
    next_line,
)

# Leaves behind what it was given.
WITNESS = """
import json, os, sys
seen = {"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}
with open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w") as file:
    json.dump(seen, file)
"""


def seen(root: Root) -> dict[str, Any]:
    return json.loads((root.path / "model" / "seen.json").read_text())


class Environment(ContainerTest):
    def test_the_script_finds_everything_where_sagemaker_puts_it(self) -> None:
        root = self.root(
            {"train.py": WITNESS},
            TRAINING_JOB_NAME="fraud-1",
            AWS_REGION="eu-west-1",
            SAGEMAKER_TRAINING_MODULE="sagemaker_sklearn_container.training:main",
        )
        root.configure(
            {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": '"s3://b/source.tar.gz"',
                "sagemaker_job_name": '"fraud-1"',
                "sagemaker_region": '"us-east-1"',
                "sagemaker_container_log_level": "10",
                "sagemaker_parameter_server_enabled": "true",
                "trees": "100",
            },
            channels=("validation", "train"),
            resources={"current_instance_type": "ml.m5.large"},
        )
        ended = root.train()
        self.assertEqual(ended.status, 0, ended.log)
        at, found = str(root.path), seen(root)
        self.assertEqual(found["cwd"], at + "/code")
        expected = {
            "SM_CHANNELS": '["train","validation"]',
            "SM_CHANNEL_TRAIN": at + "/input/data/train",
            "SM_CHANNEL_VALIDATION": at + "/input/data/validation",
            "SM_CURRENT_HOST": "algo-1",
            "SM_CURRENT_INSTANCE_TYPE": "ml.m5.large",
            "SM_FRAMEWORK_MODULE": "sagemaker_sklearn_container.training:main",
            "SM_FRAMEWORK_PARAMS": '{"sagemaker_parameter_server_enabled":true}',
            "SM_HOSTS": '["algo-1"]',
            "SM_HPS": '{"trees":100}',
            "SM_HP_TREES": "100",
            "SM_INPUT_CONFIG_DIR": at + "/input/config",
            "SM_INPUT_DIR": at + "/input",
            "SM_LOG_LEVEL": "10",
            "SM_MODEL_DIR": at + "/model",
            "SM_MODULE_DIR": "s3://b/source.tar.gz",
            "SM_MODULE_NAME": "train",
            "SM_NETWORK_INTERFACE_NAME": "eth0",
            "SM_NUM_CPUS": str(os.cpu_count()),
            "SM_NUM_GPUS": "0",
            "SM_OUTPUT_DATA_DIR": at + "/output/data",
            "SM_OUTPUT_DIR": at + "/output",
            "SM_OUTPUT_INTERMEDIATE_DIR": at + "/output/intermediate",
            "SM_USER_ARGS": '["--trees","100"]',
            "SM_USER_ENTRY_POINT": "train.py",
            "CURRENT_HOST": "algo-1",
            "SAGEMAKER_JOB_NAME": "fraud-1",
            "SAGEMAKER_REGION": "us-east-1",
            "TRAINING_JOB_NAME": "fraud-1",
            "OMP_NUM_THREADS": "1",
        }
        self.assertEqual({name: found["env"].get(name) for name in expected}, expected)
        whole = json.loads(found["env"]["SM_TRAINING_ENV"])
        self.assertEqual(whole["job_name"], "fraud-1")
        self.assertEqual(whole["hyperparameters"], {"trees": 100})
        self.assertEqual(whole["channel_input_dirs"]["train"], at + "/input/data/train")
        self.assertIs(whole["is_master"], True)
        for unknown in ("SM_HYPERPARAMETERS", "SM_JOB_NAME", "SM_IS_MASTER"):
            self.assertNotIn(unknown, found["env"])

    def test_hyperparameters_become_arguments(self) -> None:
        root = self.root({"train.py": WITNESS})
        root.configure(
            {
                "sagemaker_program": "train.py",
                "_tuning_objective_metric": "validation:auc",
                "epochs": "5",
                "rate": "0.10",
                "name": '"quoted text"',
                "plain": "not quoted",
                "flag": "true",
                "layers": "[64, 32]",
                "options": '{"b": 2, "a": 1}',
                "nothing": "null",
                "C": "1.5",
            }
        )
        ended = root.train()
        self.assertEqual(ended.status, 0, ended.log)
        expected = "-C 1.5|--epochs 5|--flag True|--layers [64, 32]|--name quoted text|--nothing |"
        expected += "--options a=1,b=2|--plain not quoted|--rate 0.1"
        arguments = [part for pair in expected.split("|") for part in pair.split(" ", 1)]
        self.assertEqual(seen(root)["argv"][1:], arguments)


class EntryPoints(ContainerTest):
    def test_a_script_in_a_sub_folder_imports_from_the_top(self) -> None:
        script = "import shared\n" + WITNESS
        root = self.root({"jobs/train.py": script, "shared.py": ""})
        root.configure({"sagemaker_program": "jobs/train.py"})
        ended = root.train()
        self.assertEqual(ended.status, 0, ended.log)
        self.assertEqual(seen(root)["argv"][0], "jobs/train.py")
        self.assertEqual(seen(root)["env"]["SM_MODULE_NAME"], "jobs/train")

    def test_a_shell_script_gets_the_arguments_as_they_are(self) -> None:
        script = '#!/bin/sh\nprintf "%s;" "$@" > "$SM_MODEL_DIR/arguments"\n'
        root = self.root({"train.sh": script})
        root.configure({"sagemaker_program": "train.sh", "note": "it's $HOME", "n": "1"})
        ended = root.train()
        self.assertEqual(ended.status, 0, ended.log)
        arguments = (root.path / "model" / "arguments").read_text()
        self.assertEqual(arguments, "-n;1;--note;it's $HOME;")

    def test_a_module_and_a_package_are_run_as_modules(self) -> None:
        root = self.root({"pkg/__init__.py": "", "pkg/main.py": WITNESS})
        root.configure({"sagemaker_program": "-m pkg.main"})
        self.assertEqual(root.train().status, 0)
        root = self.root({"setup.py": "", "train.py": WITNESS})
        root.configure({"sagemaker_program": "train.py"})
        ended = root.train()
        self.assertEqual(ended.status, 0, ended.log)
        self.assertIn("-m train", ended.log)

    def test_requirements_are_left_alone_unless_asked_for(self) -> None:
        root = self.root({"train.py": "", "requirements.txt": "no-such-package==0\n"})
        root.configure({"sagemaker_program": "train.py"})
        ended = root.train()
        self.assertEqual(ended.status, 0, ended.log)
        self.assertIn("requirements.txt is not installed here", ended.log)


class Output(ContainerTest):
    def test_output_passes_through_while_the_script_runs(self) -> None:
        # The script waits for us, so its first line can come only unbuffered.
        script = "import os\nprint('epoch 1')\nopen(os.environ['WAIT']).read()\n"
        root = self.root({"train.py": script})
        root.configure({"sagemaker_program": "train.py"})
        gate = root.path / "gate"
        os.mkfifo(gate)
        process = self.start(root.training(), WAIT=str(gate))
        self.assertEqual(next_line(process), "epoch 1\n")
        gate.write_text("go on")
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)

    def test_a_scripts_exception_is_the_reason_of_the_failure(self) -> None:
        script = "import sys\nprint('loading', file=sys.stderr)\nraise ValueError('no rows')\n"
        root = self.root({"train.py": script})
        root.configure({"sagemaker_program": "train.py", "n": "1"})
        ended = root.train()
        self.assertEqual(ended.status, 1)
        self.assertEqual(
            root.failure,
            'ExecuteUserScriptError:\nExitCode 1\nErrorMessage "ValueError: no rows"\n'
            f'Command "{sys.executable} train.py -n 1"',
        )
        self.assertIn("loading\nTraceback", ended.log)
        self.assertIn("Reporting training FAILURE", ended.log)

    def test_the_exit_status_is_the_scripts_own(self) -> None:
        root = self.root({"train.py": "import sys\nsys.exit(3)\n"})
        root.configure({"sagemaker_program": "train.py"})
        self.assertEqual(root.train().status, 3)
        self.assertIn("ExitCode 3", root.failure)
        root = self.root({"train.py": "import os\nos.kill(os.getpid(), 9)\n"})
        root.configure({"sagemaker_program": "train.py"})
        self.assertEqual(root.train().status, 137)
        self.assertIn("ExitCode 137", root.failure)

    def test_a_child_that_keeps_stderr_open_does_not_hold_the_job(self) -> None:
        script = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', "
        script += "'import signal; signal.pause()'])\n"
        root = self.root({"train.py": script})
        root.configure({"sagemaker_program": "train.py"})
        process = self.start(root.training())
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)

    def test_what_is_wrong_with_the_job_itself_is_said(self) -> None:
        root = self.root({"train.py": "", "notes.txt": ""})
        root.configure({"sagemaker_program": "main.py"})
        self.assertEqual(root.train().status, 1)
        self.assertIn("main.py is not in the source; it holds: notes.txt, train.py", root.failure)
        root = self.root({"train.py": ""})
        root.configure({})
        self.assertEqual(root.train().status, 1)
        self.assertIn("set the hyperparameter sagemaker_program", root.failure)
        root.write({"hyperparameters.json": "{"}, "input/config")
        self.assertEqual(root.train().status, 1)
        self.assertIn("hyperparameters.json is not JSON", root.failure)
        (root.path / "input/config/resourceconfig.json").unlink()
        root.configure({"sagemaker_program": "train.py"})
        (root.path / "input/config/inputdataconfig.json").unlink()
        self.assertEqual(root.train().status, 1)
        self.assertIn("inputdataconfig.json is missing", root.failure)


class Ending(ContainerTest):
    def job(self, script: str) -> tuple[Root, subprocess.Popen[str], int]:
        """A job whose script has said its process id."""
        root = self.root({"train.py": "import os\nprint(os.getpid())\n" + script})
        root.configure({"sagemaker_program": "train.py"})
        process = self.start(root.training())
        return root, process, int(next_line(process))

    def test_stopping_lets_the_script_save_its_work(self) -> None:
        script = """
import signal, sys
def save(*_):
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "saved"), "w") as file:
        file.write("half-way")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
signal.pause()
"""
        root, process, _ = self.job(script)
        self.assertEqual(next_line(process), "ready\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
        self.assertEqual((root.path / "model" / "saved").read_text(), "half-way")
        self.assertFalse((root.path / "output" / "failure").exists())

    def test_stopping_ends_a_script_that_does_not_listen_for_it(self) -> None:
        root, process, script = self.job("import signal\nsignal.pause()\n")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 128 + signal.SIGTERM)
        self.assertFalse(is_running(script))
        self.assertFalse((root.path / "output" / "failure").exists())

    def test_a_killed_job_leaves_no_script_behind(self) -> None:
        _, process, script = self.job("import signal\nsignal.pause()\n")
        process.kill()
        eventually("the script ends", lambda: not is_running(script))

    def test_a_job_ends_when_the_platform_is_gone(self) -> None:
        script = "import os, signal\nprint(os.getpid(), os.getpgrp())\nsignal.pause()\n"
        root = self.root({"train.py": script})
        root.configure({"sagemaker_program": "train.py"})
        platform = "import subprocess, sys\nsubprocess.run(sys.argv[1:])\n"
        process = self.start([sys.executable, "-c", platform, *root.training()])
        pid, group = map(int, next_line(process).split())
        self.assertNotEqual(group, process.pid)
        process.kill()
        try:
            eventually("the script ends", lambda: not is_running(pid))
        finally:
            if is_running(pid):
                os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
