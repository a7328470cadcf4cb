"""Sizes and start times of the functions: what a cold start costs, measured on this machine.

Each release binary is started against a small Lambda runtime API (Lambda's developer guide, "Runtime
API") that hands it one event, and against an AWS that knows nothing. Printed per function: size,
time from start to the first poll (the median of many starts), and the highest memory (VmHWM) after
the event was dealt with.

    python3 tests/bench/footprint.py            a table
    python3 tests/bench/footprint.py --json     the same for programs
    python3 tests/bench/footprint.py --build    builds the release binaries first

It needs Linux (/proc) and nothing but Python's standard library.
"""

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ["training-complete", "package-approved", "canary-shift", "monitor-violation", "housekeeping"]

# An endpoint that no pipeline owns: the event is read, the ledger is asked, and it is dropped.
EVENT = {
    "version": "0",
    "id": "00000000-0000-0000-0000-000000000001",
    "detail-type": "SageMaker Endpoint State Change",
    "source": "aws.sagemaker",
    "account": "123456789012",
    "time": "2026-01-01T00:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:aws:sagemaker:us-east-1:123456789012:endpoint/nobodys"],
    "detail": {
        "EndpointName": "nobodys",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/nobodys",
        "EndpointConfigName": "nobodys",
        "EndpointStatus": "IN_SERVICE",
        "CreationTime": 1767225600000,
        "LastModifiedTime": 1767225600000,
    },
}


class Runtime(ThreadingHTTPServer):
    """A runtime API with at most one event, and an AWS whose every answer is an empty object."""

    daemon_threads = True

    def __init__(self, event):
        super().__init__(("127.0.0.1", 0), Handler)
        self.events = queue.SimpleQueue()
        if event is not None:
            self.events.put(event)
        self.polled_at = None
        self.polled = threading.Event()
        self.answered = threading.Event()
        self.answer = None
        self.ended = threading.Event()

    def handle_error(self, request, client_address):
        """A function that was stopped closes its connections: that is no error here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Runtime

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"{}", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        server = self.server
        if server.polled_at is None:
            server.polled_at = time.perf_counter()
            server.polled.set()
        try:
            event = server.events.get_nowait()
        except queue.Empty:
            # Lambda freezes a function that waits for its next event; here it waits.
            server.ended.wait(60)
            return
        headers = [
            ("Lambda-Runtime-Aws-Request-Id", "00000000-0000-0000-0000-000000000000"),
            ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000)),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:x"),
            ("Content-Type", "application/json"),
        ]
        self.reply(200, json.dumps(event).encode(), headers)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        if self.path.startswith("/2018-06-01/runtime/"):
            server.answer = (self.path, body.decode(errors="replace"))
            self.reply(202)
            server.answered.set()
        else:
            self.reply(200, b"{}", [("Content-Type", "application/x-amz-json-1.0")])


def start(binary, event):
    """Starts a function; gives the server, the process and the time of the start."""
    server = Runtime(event)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_address[1]}"
    environment = {
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_FUNCTION_NAME": binary.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": f"http://{address}",
        "TIDEGATE_TABLE": "tidegate",
        "TIDEGATE_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:tidegate",
        "TIDEGATE_SHIFT_FUNCTION_ARN": "arn:aws:lambda:us-east-1:123456789012:function:x",
        "TIDEGATE_SCHEDULER_ROLE_ARN": "arn:aws:iam::123456789012:role/x",
        "TIDEGATE_SCHEDULE_GROUP": "tidegate",
        "RUST_LOG": "warn",
    }
    started = time.perf_counter()
    process = subprocess.Popen([binary], env=environment, stdout=subprocess.DEVNULL)
    return server, process, started


def stop(server, process):
    process.kill()
    process.wait()
    server.ended.set()
    server.shutdown()
    server.server_close()


def start_time(binary):
    """Milliseconds from start to the first poll."""
    server, process, started = start(binary, None)
    try:
        if not server.polled.wait(20):
            raise SystemExit(f"{binary}: no poll within 20 s")
        return (server.polled_at - started) * 1000
    finally:
        stop(server, process)


def memory(binary):
    """The highest resident memory, KiB, after one event."""
    server, process, _ = start(binary, EVENT)
    try:
        if not server.answered.wait(20):
            raise SystemExit(f"{binary}: the event was not answered within 20 s")
        path, body = server.answer
        if not path.endswith("/response"):
            raise SystemExit(f"{binary}: the event was answered with an error: {body}")
        status = Path(f"/proc/{process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1])
    finally:
        stop(server, process)


def measure(binary, starts):
    times = sorted(start_time(binary) for _ in range(starts))
    return {
        "function": binary.name,
        "bytes": binary.stat().st_size,
        "starts": starts,
        "first_poll_ms_median": round(statistics.median(times), 2),
        "first_poll_ms_least": round(times[0], 2),
        "first_poll_ms_most": round(times[-1], 2),
        "peak_memory_kib": memory(binary),
    }


def table(rows):
    head = f"{'function':<20}{'size':>10}{'first poll':>14}{'(least, most)':>20}{'memory':>11}"
    lines = [head]
    for row in rows:
        span = f"({row['first_poll_ms_least']:.1f}, {row['first_poll_ms_most']:.1f})"
        lines.append(
            f"{row['function']:<20}{row['bytes'] / 2**20:>6.1f} MiB"
            f"{row['first_poll_ms_median']:>11.1f} ms{span:>20}"
            f"{row['peak_memory_kib'] / 1024:>7.1f} MiB"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", action="store_true", help="build the release binaries first")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--starts", type=int, default=20, metavar="N", help="starts per function (20)")
    parser.add_argument("--profile", default="release", help="which build to measure (release)")
    options = parser.parse_args()
    if options.starts < 1:
        parser.error("--starts must be 1 or more")
    if options.build:
        packages = [word for name in FUNCTIONS for word in ("-p", name)]
        subprocess.run(["cargo", "build", "--release", "--locked", *packages], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / options.profile
    binaries = [target / name for name in FUNCTIONS]
    missing = [str(binary) for binary in binaries if not binary.is_file()]
    if missing:
        sys.exit(f"not built: {', '.join(missing)}; run with --build")
    rows = [measure(binary, options.starts) for binary in binaries]
    print(json.dumps(rows, indent=2) if options.json else table(rows))


if __name__ == "__main__":
    main()
