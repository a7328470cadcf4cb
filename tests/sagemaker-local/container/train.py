"""Runs a training job's entry point as SageMaker's framework containers do.

    python train.py --root ROOT

ROOT stands for /opt/ml, prepared by the platform. The rules are those of the
sagemaker-training toolkit: hyperparameters become arguments, SM_* variables say where things
are, output/failure says why a job failed. The exit status is the script's own.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any

from local_toolkit import (
    ClientError,
    Folders,
    die_with_parent,
    install_requirements,
    limit_threads,
    log,
    read_config,
    to_environment,
)

# Hyperparameters of the platform and the SDK; the script never sees them as arguments.
PLATFORM_PREFIX = "sagemaker_"
TUNING_METRIC = "_tuning_objective_metric"
# Known ones are settings; every other `sagemaker_...` is handed on in SM_FRAMEWORK_PARAMS.
PLATFORM_SETTINGS = {
    "sagemaker_program",
    "sagemaker_submit_directory",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "sagemaker_s3_output",
    TUNING_METRIC,
}
# Facts that SM_TRAINING_ENV holds and that have no variable of their own by that name.
ONLY_IN_TRAINING_ENV = (
    "additional_framework_parameters",
    "channel_input_dirs",
    "distribution_hosts",
    "hyperparameters",
    "is_master",
    "job_name",
    "master_hostname",
)
DEFAULT_LOG_LEVEL = 20
# FailureReason holds 1,024 characters; more of the script's errors would not be read.
FAILURE_LINES = 40
# For the rest of the script's stderr, when the script has ended.
DRAIN_SECONDS = 1.0
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Prepares, runs and reports one job; returns the exit status."""
    parser = argparse.ArgumentParser(description="Runs a training job's entry point.")
    parser.add_argument("--root", required=True, type=Path, help="the folder for /opt/ml")
    folders = Folders(parser.parse_args().root.resolve())
    become_group_leader()
    try:
        job = Job(folders)
        install_requirements(folders, folders.code)
        return run(job)
    except ClientError as error:
        return fail(folders, str(error), 1)


class Job:
    """One training job, as its configuration files describe it."""

    def __init__(self, folders: Folders) -> None:
        """Reads the configuration; what is missing or wrong is a ClientError."""
        self.folders = folders
        given = {
            name: _decoded(value)
            for name, value in read_config(folders.config / "hyperparameters.json").items()
        }
        self.platform = {
            name: value
            for name, value in given.items()
            if name.startswith(PLATFORM_PREFIX) or name == TUNING_METRIC
        }
        self.hyperparameters = {
            name: value for name, value in given.items() if name not in self.platform
        }
        self.channels = read_config(folders.config / "inputdataconfig.json")
        self.resources = read_config(folders.config / "resourceconfig.json")
        program = os.environ.get("SAGEMAKER_PROGRAM") or self.platform.get("sagemaker_program")
        if not isinstance(program, str) or not program:
            raise ClientError(
                "the job has no entry point: set the hyperparameter sagemaker_program "
                "(or the environment variable SAGEMAKER_PROGRAM) to a script in the source"
            )
        self.program = program

    def arguments(self) -> list[str]:
        """The user's hyperparameters as `--name value`, in the order of their names."""
        arguments = []
        for name in sorted(self.hyperparameters):
            arguments.append(f"-{name}" if len(name) == 1 else f"--{name}")
            arguments.append(_argument(self.hyperparameters[name]))
        return arguments

    def command(self) -> list[str]:
        """How the entry point is started: a script, a module, a package or a command."""
        arguments = self.arguments()
        if self.program.startswith("-m "):
            return [sys.executable, "-m", self.program[3:].strip(), *arguments]
        if not (self.folders.code / self.program).is_file():
            raise ClientError(
                f"the entry point {self.program} is not in the source; "
                f"it holds: {', '.join(_names(self.folders.code)) or 'nothing'}"
            )
        is_package = (self.folders.code / "setup.py").is_file()
        if self.program.endswith(".py"):
            if is_package:
                module = self.program.removesuffix(".py").replace("/", ".")
                return [sys.executable, "-m", module, *arguments]
            return [sys.executable, self.program, *arguments]
        script = self.folders.code / self.program
        script.chmod(script.stat().st_mode | 0o755)
        words = shlex.join([f"./{self.program}", *arguments])
        return ["/bin/sh", "-c", words]

    def environment(self) -> dict[str, str]:
        """The script's environment: ours, and the SM_* variables."""
        host = self.resources.get("current_host", "algo-1")
        facts = self.facts()
        values = {
            **facts,
            "hps": self.hyperparameters,
            "channels": sorted(self.channels),
            "framework_params": facts["additional_framework_parameters"],
            "user_args": self.arguments(),
            "training_env": facts,
        }
        for inner in ONLY_IN_TRAINING_ENV:
            values.pop(inner)
        values.update({f"channel_{name}": path for name, path in self._channel_paths().items()})
        values.update({f"hp_{name}": value for name, value in self.hyperparameters.items()})

        environment = {**os.environ, **to_environment(values)}
        environment["CURRENT_HOST"] = host
        environment["SAGEMAKER_JOB_NAME"] = str(self.platform.get("sagemaker_job_name", ""))
        region = self.platform.get("sagemaker_region") or os.environ.get("AWS_REGION", "")
        environment["SAGEMAKER_REGION"] = str(region)
        environment["PYTHONUNBUFFERED"] = "1"
        paths = [str(self.folders.code), str(self.folders.packages), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        limit_threads(environment)
        return environment

    def facts(self) -> dict[str, Any]:
        """What SM_TRAINING_ENV holds."""
        folders = self.folders
        hosts = self.resources.get("hosts") or ["algo-1"]
        host = self.resources.get("current_host", "algo-1")
        group = self.resources.get("current_group_name", "homogeneousCluster")
        groups = {
            entry.get("instance_group_name", ""): entry
            for entry in self.resources.get("instance_groups", [])
        }
        program = self.program
        return {
            "additional_framework_parameters": {
                name: value
                for name, value in self.platform.items()
                if name not in PLATFORM_SETTINGS
            },
            "channel_input_dirs": self._channel_paths(),
            "current_host": host,
            "current_instance_group": group,
            "current_instance_group_hosts": groups.get(group, {}).get("hosts", hosts),
            "current_instance_type": self.resources.get("current_instance_type", "local"),
            "distribution_hosts": hosts,
            "distribution_instance_groups": [],
            "framework_module": os.environ.get("SAGEMAKER_TRAINING_MODULE"),
            "hosts": hosts,
            "hyperparameters": self.hyperparameters,
            "input_config_dir": str(folders.config),
            "input_data_config": self.channels,
            "input_dir": str(folders.input),
            "instance_groups": sorted(groups),
            "instance_groups_dict": groups,
            "is_hetero": len(groups) > 1,
            "is_master": host == hosts[0],
            "job_name": os.environ.get("TRAINING_JOB_NAME"),
            "log_level": self.platform.get("sagemaker_container_log_level", DEFAULT_LOG_LEVEL),
            "master_hostname": hosts[0],
            "model_dir": str(folders.model),
            "module_dir": self.platform.get("sagemaker_submit_directory", str(folders.code)),
            "module_name": program.removesuffix(".py"),
            "network_interface_name": self.resources.get("network_interface_name", "eth0"),
            "num_cpus": os.cpu_count() or 1,
            "num_gpus": 0,
            "output_data_dir": str(folders.output_data),
            "output_dir": str(folders.output),
            "output_intermediate_dir": str(folders.intermediate),
            "resource_config": self.resources,
            "user_entry_point": program,
        }

    def _channel_paths(self) -> dict[str, str]:
        return {name: str(self.folders.channel(name)) for name in self.channels}


def _decoded(value: Any) -> Any:
    """A hyperparameter's value: JSON where it is JSON, else the text itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _argument(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{name}={value[name]}" for name in sorted(value))
    return str(value)


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())[:20] if folder.is_dir() else []


def run(job: Job) -> int:
    """Runs the entry point to its end, its output passing straight through."""
    folders = job.folders
    for folder in (folders.model, folders.output_data, folders.intermediate):
        folder.mkdir(parents=True, exist_ok=True)
    command = job.command()
    words = shlex.join(command)
    log(f"Invoking script with the following command:\n\n{words}\n")
    process = subprocess.Popen(
        command,
        cwd=folders.code,
        env=job.environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Were we killed outright, the script would go on and nobody would know. It is safe to
        # run code of ours in the child: no thread has been started yet.
        preexec_fn=_die_with_us,
    )
    stop = Stop(process)
    die_with_parent(stop.kill)
    errors = Errors(process.stderr)
    status = process.wait()
    errors.finish()
    if stop.asked:
        log("Training was stopped")
        return status if status >= 0 else 128 - status
    if status == 0:
        log("Reporting training SUCCESS")
        return 0
    # The shell's way to say that a signal ended it: 128 and the signal's number.
    code = status if status > 0 else 128 - status
    reason = (
        f"ExecuteUserScriptError:\nExitCode {code}\n"
        f'ErrorMessage "{errors.message()}"\nCommand "{words}"'
    )
    return fail(folders, reason, code)


class Stop:
    """Hands StopTrainingJob's SIGTERM on to everything the job has started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Listens for SIGTERM from now on."""
        self.asked = False
        self._process = process
        signal.signal(signal.SIGTERM, self._hand_on)

    def _hand_on(self, _signal: int, _frame: object) -> None:
        # The script gets time to save its state (120 seconds; the platform counts them).
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._process.poll() is None:
            os.killpg(0, signal.SIGTERM)

    def kill(self) -> None:
        """Ends the job and this process at once."""
        os.killpg(0, signal.SIGKILL)


class Errors:
    """Passes the script's stderr through and remembers its end, for the failure's reason."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        """Starts to read."""
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=FAILURE_LINES)
        self._thread = threading.Thread(target=self._copy, name="stderr", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        if self._stream is None:
            return
        for line in self._stream:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            self._lines.append(line.decode("utf-8", "replace").rstrip())

    def finish(self) -> None:
        """Waits for the rest, but not for a stray child that keeps the pipe open."""
        self._thread.join(timeout=DRAIN_SECONDS)

    def message(self) -> str:
        """The exception that ended the script, or else the last line it wrote."""
        lines = [line for line in self._lines if line]
        traceback = max(
            (at for at, line in enumerate(lines) if line.startswith("Traceback ")), default=None
        )
        if traceback is not None:
            # An exception's text begins at the first line after the frames that is not indented.
            for at in range(traceback + 1, len(lines)):
                if not lines[at].startswith(" "):
                    return "\n".join(lines[at:])
        return lines[-1] if lines else ""


def _die_with_us() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


_LIBC = ctypes.CDLL(None)


def become_group_leader() -> None:
    """Makes the job a process group, so that all of it can be ended by our id."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def fail(folders: Folders, reason: str, status: int) -> int:
    """Writes the failure file, whose beginning becomes the job's FailureReason."""
    folders.output.mkdir(parents=True, exist_ok=True)
    (folders.output / "failure").write_text(reason, encoding="utf-8")
    log(f"Reporting training FAILURE\n{reason}")
    return status


if __name__ == "__main__":
    sys.exit(main())
