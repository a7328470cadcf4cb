"""Serves a model as SageMaker's framework containers do.

    python serve.py --root ROOT --port PORT

ROOT stands for /opt/ml, with the unpacked model archive in model/ and the user's code in
code/. GET /ping answers 200 once model_fn has loaded the model; POST /invocations runs the
script's input_fn, predict_fn and output_fn (or transform_fn). The rules are those of the page
"Custom Inference Code with Hosting Services" and of the scikit-learn container.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

from local_codecs import JSON, TEXT_TYPES, UnsupportedFormat, decode, encode
from local_toolkit import (
    ClientError,
    Folders,
    die_with_parent,
    install_requirements,
    limit_threads,
    log,
    to_environment,
)

# SageMaker's own limit for a real-time endpoint's request.
MAX_BODY_BYTES = 25 * 1024 * 1024
MAX_CONNECTIONS = 256
# A body that has not come by then never will; an idle connection is given up.
SOCKET_TIMEOUT_SECONDS = 60
# Distinct places where user code failed whose traceback is logged in full.
MAX_TRACEBACKS = 100
DEFAULT_PROGRAM = "inference.py"
DEFAULT_LOG_LEVEL = "20"


def main() -> int:
    """Listens at once, loads the model, then serves until the process is ended."""
    parser = argparse.ArgumentParser(description="Serves a model.")
    parser.add_argument("--root", required=True, type=Path, help="the folder for /opt/ml")
    parser.add_argument("--port", required=True, type=int, help="0 takes a free one")
    options = parser.parse_args()
    folders = Folders(options.root.resolve())
    die_with_parent(lambda: os._exit(0))

    model = Model()
    server = Server(options.port, model)
    log(f"Listening on http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    # Loaded on the main thread: some libraries insist on it for their signal handlers.
    model.load(folders)
    threading.Event().wait()
    return 0


@dataclass(frozen=True)
class Answer:
    """What goes back to the caller."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON


@dataclass(frozen=True)
class UserFunctions:
    """The functions of the user's script, or the framework's where it has none."""

    model_fn: Callable[..., Any]
    input_fn: Callable[..., Any]
    predict_fn: Callable[..., Any]
    output_fn: Callable[..., Any]
    transform_fn: Callable[..., Any] | None

    @staticmethod
    def of(module: ModuleType) -> UserFunctions:
        """Takes what the script defines, by the scikit-learn container's rules."""
        own = {
            name: getattr(module, name, None)
            for name in ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
        }
        if own["model_fn"] is None:
            raise ClientError(
                f"{module.__name__} has no model_fn: the scikit-learn container has no default "
                "for it, so write `def model_fn(model_dir)` that loads and returns the model"
            )
        if own["transform_fn"] and (own["input_fn"] or own["predict_fn"] or own["output_fn"]):
            raise ClientError(
                f"{module.__name__} has transform_fn together with input_fn, predict_fn or "
                "output_fn: keep either the one or the others"
            )
        return UserFunctions(
            model_fn=own["model_fn"],
            input_fn=own["input_fn"] or decode,
            predict_fn=own["predict_fn"] or _default_predict,
            output_fn=own["output_fn"] or encode,
            transform_fn=own["transform_fn"],
        )


def _default_predict(data: Any, model: Any) -> Any:
    return model.predict(data)


class Model:
    """The loaded model and the user's functions around it."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self.ready = False
        self.failure: str | None = None
        self._functions: UserFunctions | None = None
        self._model: Any = None
        self._default_accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
        # A worker of the framework container handles one request at a time, and user code
        # relies on it.
        self._one_at_a_time = threading.Lock()
        self._logged: set[tuple[str, str]] = set()

    def load(self, folders: Folders) -> None:
        """Imports the script and calls its model_fn; a failure is logged and kept for /ping."""
        try:
            limit_threads(os.environ)
            code = folders.code if folders.code.is_dir() else folders.model / "code"
            install_requirements(folders, code)
            functions = UserFunctions.of(_import_program(folders, code))
            self._model = functions.model_fn(str(folders.model))
            self._functions = functions
            self.ready = True
            log("The model is loaded")
        except ClientError as error:
            self.failure = str(error)
            log(f"The model can't be served: {self.failure}")
        except (Exception, SystemExit) as error:
            # SystemExit: a script without a `__main__` guard that ends by sys.exit().
            self.failure = f"{type(error).__name__}: {error}"
            log(f"The model can't be served: {self.failure}\n{traceback.format_exc()}")

    def ping(self) -> Answer:
        """Health, as the platform asks for it."""
        if self.ready:
            return Answer(HTTPStatus.OK, b"")
        if self.failure is not None:
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "ModelNotLoaded", self.failure)
        return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "ModelNotLoaded", "loading")

    def invoke(self, body: bytes, content_type: str, accept: str | None) -> Answer:
        """One prediction."""
        functions = self._functions
        if functions is None:
            return self.ping()
        if not accept or accept == "*/*":
            accept = self._default_accept
        with self._one_at_a_time:
            return self._transform(functions, body, content_type, accept)

    def _transform(
        self, functions: UserFunctions, body: bytes, content_type: str, accept: str
    ) -> Answer:
        step = "the request"
        try:
            data: Any = body.decode("utf-8") if content_type in TEXT_TYPES else body
            if functions.transform_fn is not None:
                step = "transform_fn"
                result = functions.transform_fn(self._model, data, content_type, accept)
            else:
                step = "input_fn"
                data = functions.input_fn(data, content_type)
                step = "predict_fn"
                prediction = functions.predict_fn(data, self._model)
                step = "output_fn"
                result = functions.output_fn(prediction, accept)
            return _answer(result, accept)
        except UnsupportedFormat as error:
            status = (
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE
                if step == "input_fn"
                else HTTPStatus.NOT_ACCEPTABLE
            )
            return _refusal(status, "UnsupportedFormat", str(error), step)
        except Exception as error:
            self._log_failure(step, error)
            kind = type(error).__name__
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, kind, str(error), step)

    def _log_failure(self, step: str, error: Exception) -> None:
        """A traceback for each place once, then a line: a bug on many requests stays readable."""
        frames = traceback.extract_tb(error.__traceback__)
        place = (type(error).__name__, f"{frames[-1].filename}:{frames[-1].lineno}")
        if place in self._logged or len(self._logged) >= MAX_TRACEBACKS:
            log(f"Exception in {step}: {place[0]}: {error}")
            return
        self._logged.add(place)
        log(f"Exception in {step}:\n{traceback.format_exc()}")


def _import_program(folders: Folders, code: Path) -> ModuleType:
    """Imports the script that SAGEMAKER_PROGRAM names, as a module from the code folder."""
    program = os.environ.get("SAGEMAKER_PROGRAM") or DEFAULT_PROGRAM
    name = program.removesuffix(".py")
    if "/" in name:
        raise ClientError(
            f"SAGEMAKER_PROGRAM is {program}: the serving container imports it by name, so the "
            "script must lie at the top of the source"
        )
    if not (code / f"{name}.py").is_file() and not (code / name).is_dir():
        raise ClientError(
            f"{program} (SAGEMAKER_PROGRAM) is neither in SAGEMAKER_SUBMIT_DIRECTORY nor in the "
            "code/ folder of the model archive"
        )
    os.environ.update(
        to_environment(
            {
                "framework_module": os.environ.get("SAGEMAKER_SERVING_MODULE"),
                "log_level": os.environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL", DEFAULT_LOG_LEVEL),
                "model_dir": str(folders.model),
                "module_dir": os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", str(code)),
                "module_name": name,
                "num_cpus": os.cpu_count() or 1,
                "num_gpus": 0,
            }
        )
    )
    # The user's modules come before ours, whatever they are called.
    ours = str(Path(__file__).resolve().parent)
    sys.path[:] = [path for path in sys.path if path != ours]
    sys.path[:0] = [str(code), str(folders.packages)]
    os.chdir(code)
    return importlib.import_module(name)


def _answer(result: Any, accept: str) -> Answer:
    """What output_fn returned: a body, or a body and its content type."""
    content_type = accept
    if isinstance(result, tuple):
        if len(result) != 2:
            raise TypeError("a tuple from output_fn must be (body, content type)")
        result, content_type = result
    if isinstance(result, str):
        result = result.encode("utf-8")
    if not isinstance(result, (bytes, bytearray)):
        raise TypeError(f"output_fn must return text or bytes, not {type(result).__name__}")
    return Answer(HTTPStatus.OK, bytes(result), str(content_type))


def _refusal(status: HTTPStatus, kind: str, message: str, where: str | None = None) -> Answer:
    what = {"error": kind, "message": message}
    if where is not None:
        what["in"] = where
    return Answer(status, json.dumps(what).encode())


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive, an answer in one packet where it fits."""

    protocol_version = "HTTP/1.1"
    server_version = "sagemaker-local"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    timeout = SOCKET_TIMEOUT_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Health checks."""
        if self.path == "/ping":
            self._send(self.server.model.ping())
        else:
            self._send(_refusal(HTTPStatus.NOT_FOUND, "NotFound", f"nothing at {self.path}"))

    def do_POST(self) -> None:
        """Predictions."""
        if self.path != "/invocations":
            # The body is not read, so the connection can't be used again.
            self.close_connection = True
            self._send(_refusal(HTTPStatus.NOT_FOUND, "NotFound", f"nothing at {self.path}"))
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self.close_connection = True
            message = "the request must say its Content-Length"
            self._send(_refusal(HTTPStatus.LENGTH_REQUIRED, "LengthRequired", message))
            return
        # Compared by digits first: a number of a thousand digits is not worth reading.
        if len(length) > 12 or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            message = f"a request has at most {MAX_BODY_BYTES} bytes"
            self._send(_refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TooLarge", message))
            return
        body = self.rfile.read(int(length))
        content_type = self.headers.get("Content-Type") or JSON
        self._send(self.server.model.invoke(body, content_type, self.headers.get("Accept")))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.body:
            self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are counted by the platform; hundreds a second would drown the script's log."""

    def log_message(self, format: str, *args: Any) -> None:
        """What http.server has to say, as a line of the container's log."""
        log(format % args)


class Server(ThreadingHTTPServer):
    """Threads for the connections, a bounded number of them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, model: Model) -> None:
        """Binds the port, on this machine only."""
        self.model = model
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """Binds without looking up our own name, which may ask a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name = "127.0.0.1"
        self.server_port = self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Waits for a free place; callers queue in the socket's backlog meanwhile."""
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Gives the place back when the connection ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is not worth a traceback."""
        log(f"Connection ended: {sys.exc_info()[1]}")


if __name__ == "__main__":
    sys.exit(main())
