"""What training and serving share of SageMaker's container contract.

The rules are those of the developer guide's pages "How Amazon SageMaker Runs Your Training
Image" and "Custom Inference Code with Hosting Services", and of the sagemaker-training and
sagemaker-inference toolkits that the framework images are built on. The one difference: the
folder that stands for /opt/ml is given by --root, since no container is started.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Several instances and jobs share the machine, so each keeps to one thread of its own.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# Where packages of a requirements.txt go: beside the user's code, never into our own Python.
PACKAGES_FOLDER = "packages"


class ClientError(Exception):
    """A mistake in what the user gave us; its text is what they read as the reason."""


@dataclass(frozen=True)
class Folders:
    """The folders below /opt/ml, for one container."""

    root: Path

    @property
    def code(self) -> Path:
        """The user's source: /opt/ml/code."""
        return self.root / "code"

    @property
    def model(self) -> Path:
        """What training saves and serving loads: /opt/ml/model."""
        return self.root / "model"

    @property
    def input(self) -> Path:
        """Data and configuration of a job: /opt/ml/input."""
        return self.root / "input"

    @property
    def config(self) -> Path:
        """The three configuration files of a job: /opt/ml/input/config."""
        return self.input / "config"

    @property
    def output(self) -> Path:
        """The failure file and what is in `output_data`: /opt/ml/output."""
        return self.root / "output"

    @property
    def output_data(self) -> Path:
        """Artifacts that are not the model: /opt/ml/output/data."""
        return self.output / "data"

    @property
    def intermediate(self) -> Path:
        """Artifacts that are synced while the job runs: /opt/ml/output/intermediate."""
        return self.output / "intermediate"

    @property
    def packages(self) -> Path:
        """What requirements.txt asked for, if it was installed."""
        return self.root / PACKAGES_FOLDER

    def channel(self, name: str) -> Path:
        """The data of one channel: /opt/ml/input/data/<name>."""
        return self.input / "data" / name


def log(message: str) -> None:
    """Writes one line to the container's log."""
    print(message, file=sys.stderr, flush=True)


def read_config(path: Path) -> dict[str, Any]:
    """Reads one of the configuration files that the platform prepares."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClientError(f"{path.name} is missing in {path.parent}") from None
    except ValueError as error:
        raise ClientError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ClientError(f"{path.name} must hold a JSON object")
    return value


def to_environment(values: dict[str, Any]) -> dict[str, str]:
    """Names and values as SM_* variables: names in capitals, anything but text as JSON."""
    return {f"SM_{name.upper()}": _environment_value(value) for name, value in values.items()}


def _environment_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (str, Path)):
        return str(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def limit_threads(environment: dict[str, str] | os._Environ[str]) -> None:
    """Keeps numeric libraries to one thread, unless the user's environment says otherwise."""
    for name in THREAD_LIMITS:
        environment.setdefault(name, "1")


def install_requirements(folders: Folders, code: Path) -> None:
    """Installs requirements.txt as the framework images do, but only where that is asked for.

    Jobs here share our Python and often have no network, so the packages that the user's
    script needs are taken from it. SAGEMAKER_LOCAL_PIP=1 installs them, into a folder of the
    job's own.
    """
    requirements = code / "requirements.txt"
    if not requirements.is_file():
        return
    if os.environ.get("SAGEMAKER_LOCAL_PIP") != "1":
        log("requirements.txt is not installed here (set SAGEMAKER_LOCAL_PIP=1 to have it done)")
        return
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--target", str(folders.packages), "-r", str(requirements)]
    log("Installing dependencies: " + " ".join(command))
    done = subprocess.run(command, check=False, stdout=sys.stderr)
    if done.returncode != 0:
        raise ClientError(
            f"InstallRequirementsError:\nExitCode {done.returncode}\n"
            f'ErrorMessage ""\nCommand "{" ".join(command)}"'
        )


def die_with_parent(end: Callable[[], None]) -> None:
    """Calls `end` when the process that started us is gone, however it went.

    A pidfd is watched, not PR_SET_PDEATHSIG: that signal comes when the *thread* that started
    us ends, and a thread pool's threads come and go.
    """
    parent = os.getppid()

    def watch() -> None:
        _wait_for_exit(parent)
        end()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _wait_for_exit(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # No pidfd on this system, or the parent is gone already: look once in a while.
        while os.getppid() == pid:
            time.sleep(0.5)
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while os.getppid() == pid and not poll.poll():
        pass
    os.close(descriptor)
