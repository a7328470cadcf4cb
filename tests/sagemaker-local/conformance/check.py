"""Checks an emulator's record against the service models of the installed botocore.

    python check.py RECORD.jsonl [--json] [--refused-requests]

Each line of the record is one call: {"service", "operation", "input", "output" or null,
"error": {"code", "message"} or null, "status"}. Both what our code sent and what the emulator
answered must be what AWS's model of the service says. Exit status: 0 nothing found, 1 problems
found, 2 the record can't be read or is empty.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader
from botocore.model import OperationModel, OperationNotFoundError, ServiceModel
from shapes import Finding, check

SERVICES = ("sagemaker", "sagemaker-runtime", "cloudwatch", "iam")
# Error codes that any operation may give: the pages "Common Error Types" and "Common Errors" of
# the API references. The JSON services say ValidationException where the pages' list, made for
# query services, says ValidationError.
COMMON_ERRORS = {
    "AccessDenied": 403,
    "AccessDeniedException": 400,
    "ExpiredTokenException": 400,
    "IncompleteSignature": 400,
    "InternalFailure": 500,
    "InvalidSignatureException": 400,
    "MissingAuthenticationToken": 400,
    "NotAuthorized": 400,
    "OptInRequired": 403,
    "RequestExpired": 400,
    "SerializationException": 400,
    "ServiceUnavailable": 503,
    "Throttling": 400,
    "ThrottlingException": 400,
    "UnrecognizedClientException": 400,
    "ValidationException": 400,
}
# What the emulator says of an operation that it doesn't have.
NOT_IMPLEMENTED = {"UnknownOperationException", "UnsupportedOperation"}
REFUSALS = {"ValidationException", "ValidationError", "SerializationException"}
DEFAULT_ERROR_STATUS = 400
DEFAULT_STATUS = 200
# One mistake repeated by every request is one problem; the rest is counted.
MAX_PROBLEMS = 500


@dataclass
class Problem:
    """One thing that AWS would not send or accept, at the first line that has it."""

    line: int
    service: str
    operation: str
    side: str
    path: str
    what: str
    times: int = 1

    def __str__(self) -> str:
        """For people: where, then what."""
        place = f"{self.side}.{self.path}" if self.path else self.side
        more = f" ({self.times} times)" if self.times > 1 else ""
        return f"line {self.line}: {self.service} {self.operation} {place} {self.what}{more}"


@dataclass
class Report:
    """What was checked and what was found."""

    requests: int = 0
    responses: int = 0
    operations: dict[str, int] = field(default_factory=dict)
    problems: dict[tuple[str, ...], Problem] = field(default_factory=dict)
    left_out: int = 0

    def add(self, problem: Problem) -> None:
        """Counts a problem, together with those like it on other lines."""
        key = (problem.service, problem.operation, problem.side, problem.path, problem.what)
        if key in self.problems:
            self.problems[key].times += 1
        elif len(self.problems) < MAX_PROBLEMS:
            self.problems[key] = problem
        else:
            self.left_out += 1

    @property
    def found(self) -> int:
        """How many problems, repeated ones once."""
        return len(self.problems) + self.left_out

    def summary(self) -> str:
        """The last line."""
        return (
            f"{self.requests} requests, {self.responses} responses checked, {self.found} problems"
        )


class Checker:
    """Checks calls one by one; the service models are read once."""

    def __init__(self, refused_requests: bool = False) -> None:
        """`refused_requests`: a request that was refused as invalid need not be valid."""
        self.report = Report()
        self._refused_requests = refused_requests
        self._loader = Loader()
        self._models: dict[str, ServiceModel | None] = {}

    def lines(self, lines: Iterable[str]) -> Report:
        """Checks a whole record."""
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._line(number, line)
        return self.report

    def _line(self, number: int, line: str) -> None:
        try:
            call = json.loads(line)
        except ValueError as error:
            self.report.add(Problem(number, "?", "?", "record", "", f"is not JSON: {error}"))
            return
        if not isinstance(call, dict):
            self.report.add(Problem(number, "?", "?", "record", "", "is not a JSON object"))
            return
        service, operation = str(call.get("service")), str(call.get("operation"))
        key = f"{service} {operation}"
        self.report.operations[key] = self.report.operations.get(key, 0) + 1
        for side, finding in self._call(service, operation, call):
            problem = Problem(number, service, operation, side, finding.path, finding.what)
            self.report.add(problem)

    def _call(
        self, service: str, operation: str, call: dict[str, Any]
    ) -> Iterator[tuple[str, Finding]]:
        """What is wrong with one call, and on which side of it."""
        output, error = call.get("output"), call.get("error")
        model = self._model(service)
        if model is None:
            known = ", ".join(SERVICES)
            yield "record", Finding("", f"is of an unknown service; known: {known}")
            return
        code = _code(error)
        try:
            shapes = model.operation_model(operation)
        except OperationNotFoundError:
            if code not in NOT_IMPLEMENTED:
                what = "is of an operation that the service doesn't have"
                yield "request", Finding("", what)
            return
        if error is None and output is None and shapes.output_shape is None:
            output = {}
        if (output is None) == (error is None):
            yield "record", Finding("", "must have either an output or an error")
            return
        self.report.requests += 1
        self.report.responses += 1
        if not (self._refused_requests and code in REFUSALS):
            for finding in _request(shapes, call.get("input")):
                yield "request", finding
        for finding in _response(shapes, output, error, call.get("status")):
            yield "response", finding

    def _model(self, service: str) -> ServiceModel | None:
        if service not in self._models:
            self._models[service] = None
            if service in SERVICES:
                try:
                    description = self._loader.load_service_model(service, "service-2")
                    self._models[service] = ServiceModel(description, service)
                except (DataNotFoundError, UnknownServiceError) as error:
                    raise SystemExit(f"the installed botocore has no {service}: {error}") from None
        return self._models[service]


def _request(operation: OperationModel, value: Any) -> Iterator[Finding]:
    if operation.input_shape is None:
        if value not in (None, {}):
            yield Finding("", "has input, and the operation takes none")
        return
    yield from check(operation.input_shape, {} if value is None else value, bodiless=True)


def _response(operation: OperationModel, output: Any, error: Any, status: Any) -> Iterator[Finding]:
    if not isinstance(status, int) or isinstance(status, bool):
        yield Finding("status", f"must be a whole number, not {status!r}")
        status = None
    if error is not None:
        yield from _error(operation, error, status)
        return
    expected = operation.http.get("responseCode", DEFAULT_STATUS)
    if status not in (None, expected):
        yield Finding("status", f"is {status} with an output; it should be {expected}")
    if operation.output_shape is None:
        if output != {}:
            yield Finding("", "has output, and the operation gives none")
        return
    yield from check(operation.output_shape, output, bodiless=True)


def _error(operation: OperationModel, error: Any, status: int | None) -> Iterator[Finding]:
    code = _code(error)
    if code is None:
        yield Finding("error.code", "must be text")
        return
    if not isinstance(error.get("message"), str) or not error["message"]:
        yield Finding("error.message", "must be text that says what is wrong")
    declared: dict[str, int] = {}
    for shape in operation.error_shapes:
        about = shape.metadata.get("error", {})
        expected = about.get("httpStatusCode", DEFAULT_ERROR_STATUS)
        declared[shape.name] = declared[about.get("code", shape.name)] = expected
    expected = declared.get(code, COMMON_ERRORS.get(code))
    if code in NOT_IMPLEMENTED:
        expected = DEFAULT_ERROR_STATUS
    if expected is None:
        allowed = ", ".join(sorted(declared)) or "none of its own"
        yield Finding("error.code", f"is {code}, which the operation never gives ({allowed})")
    elif status not in (None, expected):
        yield Finding("status", f"is {status} with {code}; it should be {expected}")


def _code(error: Any) -> str | None:
    """The error's code, without the namespace that some services put before it."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return None
    return error["code"].rsplit("#", 1)[-1]


def main(arguments: list[str] | None = None) -> int:
    """Checks one file and prints what was found."""
    parser = argparse.ArgumentParser(description="Checks a record of calls to AWS.")
    parser.add_argument("record", type=Path, help="the emulator's record, JSON lines")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--refused-requests",
        action="store_true",
        help="allow requests to be invalid where they were refused as invalid",
    )
    options = parser.parse_args(arguments)
    try:
        with options.record.open(encoding="utf-8") as lines:
            report = Checker(options.refused_requests).lines(lines)
    except (OSError, UnicodeDecodeError) as error:
        print(f"{options.record} can't be read: {error}", file=sys.stderr)
        return 2
    problems = list(report.problems.values())
    if options.json:
        print(
            json.dumps(
                {
                    "requests": report.requests,
                    "responses": report.responses,
                    "operations": report.operations,
                    "problems": [asdict(problem) for problem in problems],
                    "problems_left_out": report.left_out,
                },
                indent=2,
            )
        )
    else:
        for problem in problems:
            print(problem)
        if report.left_out:
            print(f"and {report.left_out} more")
        print(report.summary())
    if not report.operations and not problems:
        print(f"{options.record} is empty: nothing was recorded", file=sys.stderr)
        return 2
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
