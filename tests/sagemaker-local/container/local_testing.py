"""What the tests here and those of the sample projects share: a folder for /opt/ml, real
processes of train.py and serve.py, and an HTTP client that keeps its connection."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Generous, for a machine that does something else as well; nothing here takes that long.
PATIENCE_SECONDS = 30.0
BETWEEN_LOOKS_SECONDS = 0.01


def eventually(what: str, condition: Callable[[], bool]) -> None:
    """Waits until the condition holds, or fails."""
    latest = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > latest:
            raise AssertionError(f"did not happen in {PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(BETWEEN_LOOKS_SECONDS)


def next_line(process: subprocess.Popen[str]) -> str:
    """The next line of its stdout, unless it takes too long."""
    assert process.stdout
    line = b""
    # Byte by byte, since select knows nothing of what a buffered reader already holds.
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], PATIENCE_SECONDS)[0]:
            raise AssertionError("the process does not say what is expected of it")
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise AssertionError("the process has ended")
        line += byte
    return line.decode()


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process and all of its group, if it leads one."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()


def is_running(pid: int) -> bool:
    """Whether the process still does anything; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without what a SageMaker job or a test before might have set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SM_", "SAGEMAKER_", "PYTHON"))
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}


@dataclass
class Ended:
    """How a training job ended."""

    status: int
    log: str


@dataclass
class Root:
    """A folder that stands for /opt/ml."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def failure(self) -> str:
        """The text of output/failure; empty if the job has not written it."""
        file = self.path / "output" / "failure"
        return file.read_text() if file.exists() else ""

    def write(self, files: dict[str, str], folder: str = "code") -> None:
        """Adds files."""
        for name, text in files.items():
            file = self.path / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def configure(
        self,
        hyperparameters: dict[str, Any],
        channels: tuple[str, ...] = (),
        resources: dict[str, Any] | None = None,
    ) -> None:
        """Writes the three configuration files as SageMaker does."""
        host = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
        files = {
            "hyperparameters.json": hyperparameters,
            "inputdataconfig.json": {name: {"TrainingInputMode": "File"} for name in channels},
            "resourceconfig.json": {**host, **(resources or {})},
        }
        self.write({name: json.dumps(value) for name, value in files.items()}, "input/config")

    def training(self) -> list[str]:
        """The command that trains."""
        return [sys.executable, str(HERE / "train.py"), "--root", str(self.path)]

    def train(self) -> Ended:
        """Runs a training job to its end."""
        done = subprocess.run(
            self.training(),
            env=clean_environment(**self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout)


class Client:
    """A caller that keeps its connection."""

    def __init__(self, port: int) -> None:
        """Connects with the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()

    def ping(self) -> tuple[int, bytes]:
        """GET /ping: status and body."""
        return self.request("GET", "/ping")[:2]

    def invoke(
        self, body: str | bytes, content_type: str, accept: str | None = None
    ) -> tuple[int, bytes, str | None]:
        """POST /invocations: status, body and content type."""
        headers = {"Content-Type": content_type}
        if accept is not None:
            headers["Accept"] = accept
        return self.request("POST", "/invocations", body, headers)

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, str | None]:
        """One request."""
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Content-Type")


class Server(Client):
    """A running serve.py, and a caller of it."""

    def __init__(self, root: Root) -> None:
        """Starts it and learns its port."""
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "serve.py"), "--root", str(root.path), "--port", "0"],
            env=clean_environment(**root.environment),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.port = 0
        listening = threading.Event()
        threading.Thread(target=self._read, args=(listening,), daemon=True).start()
        if not listening.wait(PATIENCE_SECONDS) or not self.port:
            self.process.kill()
            raise AssertionError(f"serve.py does not listen:\n{self.log}")
        super().__init__(self.port)

    def _read(self, listening: threading.Event) -> None:
        for line in self.process.stderr or ():
            self.lines.append(line)
            if line.startswith("Listening on "):
                self.port = int(line.rsplit(":", 1)[1])
                listening.set()
        listening.set()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return "".join(self.lines)

    def stop(self) -> None:
        """Ends it."""
        self.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()

    def ready(self) -> Server:
        """Waits until the model is loaded."""
        eventually("the model is loaded", lambda: self.ping()[0] != 503)
        if self.ping()[0] != 200:
            raise AssertionError(f"the model is not served:\n{self.log}")
        return self


class ContainerTest(unittest.TestCase):
    """A test with a folder of its own, in which everything that it starts is ended."""

    def root(self, files: dict[str, str] | None = None, **environment: str) -> Root:
        """A new folder with the user's code in it."""
        folder = Path(tempfile.mkdtemp(prefix="opt-ml-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        root = Root(folder, dict(environment))
        for name in ("code", "model", "output/data", "input/config", "input/data"):
            (folder / name).mkdir(parents=True)
        root.write(files or {})
        return root

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        """A process, ended with all that it started when the test ends."""
        process = subprocess.Popen(
            command,
            env=clean_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(end, process)
        return process

    def serve(self, root: Root) -> Server:
        """A server, stopped when the test ends."""
        server = Server(root)
        self.addCleanup(server.stop)
        return server
