"""Whether a JSON value is what a shape of a service model says.

Checked are unknown and missing members, types, enums, patterns, lengths, ranges, sizes and
unions, in the JSON form of the protocols: a timestamp is a number of seconds. botocore's own
validation knows types, required members and minima only, and only for requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from botocore.model import Shape
from patterns import matches

# 1973 and 5138: an emulator's clock may be set freely, but milliseconds are off by a thousand.
EARLIEST_SECONDS, LATEST_SECONDS = 1e8, 1e11
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where: a path like `ProductionVariants[0].VariantName`."""

    path: str
    what: str


def check(shape: Shape, value: Any, path: str = "", bodiless: bool = False) -> Iterator[Finding]:
    """All that is wrong with a value. `bodiless`: a blob that is the HTTP body may be left out."""
    if shape.metadata.get("document") or getattr(shape, "is_document_type", False):
        return
    if value is None:
        yield Finding(path, "is null: leave it out instead")
        return
    checker = _CHECKERS.get(shape.type_name)
    if checker is None:
        yield Finding(path, f"has the type {shape.type_name}, which this check doesn't know")
    elif shape.type_name == "structure":
        yield from _structure(shape, value, path, bodiless)
    else:
        yield from checker(shape, value, path)


def _structure(shape: Shape, value: Any, path: str, bodiless: bool = False) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong_type(path, "an object", value)
        return
    members: dict[str, Shape] = shape.members
    body = shape.serialization.get("payload") if bodiless else None
    for name in shape.required_members:
        is_body = name == body and members[name].type_name == "blob"
        if name not in value and not is_body:
            yield Finding(_below(path, name), "is required and missing")
    for name, inner in value.items():
        if name in members:
            yield from check(members[name], inner, _below(path, name))
        else:
            near = _nearest(name, members)
            hint = f": {near}?" if near else ""
            yield Finding(_below(path, name), f"is not a member of {shape.name}{hint}")
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield Finding(path, f"is a union and must have one member, not {len(value)}")


def _list(shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield _wrong_type(path, "a list", value)
        return
    yield from _size(shape, len(value), path, "items")
    for at, inner in enumerate(value):
        yield from check(shape.member, inner, f"{path}[{at}]")


def _map(shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong_type(path, "an object", value)
        return
    yield from _size(shape, len(value), path, "pairs")
    for key, inner in value.items():
        place = f"{path}[{_shown(key)}]"
        for finding in check(shape.key, key, place):
            yield Finding(finding.path, f"has a key that {finding.what}")
        yield from check(shape.value, inner, place)


def _string(shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield _wrong_type(path, "text", value)
        return
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        near = _nearest(value, enum)
        hint = f"; nearest: {near}" if near else ""
        yield Finding(path, f"is {_shown(value)}, none of the {len(enum)} values allowed{hint}")
    yield from _size(shape, len(value), path, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern is None:
        return
    try:
        fits = matches(pattern, value)
    except re.error as error:
        yield Finding(path, f"has a pattern that this check can't read ({error}): {pattern}")
        return
    if not fits:
        yield Finding(path, f"is {_shown(value)}, which is not of the pattern {pattern}")


def _blob(shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield _wrong_type(path, "text (a blob)", value)
        return
    yield from _size(shape, len(value.encode()), path, "bytes")


def _integer(shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield _wrong_type(path, "a whole number", value)
        return
    yield from _range(shape, value, path)


def _number(shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        yield _wrong_type(path, "a number", value)
        return
    yield from _range(shape, value, path)


def _boolean(_shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, bool):
        yield _wrong_type(path, "true or false", value)


def _timestamp(_shape: Shape, value: Any, path: str) -> Iterator[Finding]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        yield _wrong_type(path, "a number of seconds since 1970", value)
    elif not EARLIEST_SECONDS <= value <= LATEST_SECONDS:
        hint = " (milliseconds?)" if value > LATEST_SECONDS else ""
        yield Finding(path, f"is {value}, no number of seconds of our time{hint}")


_CHECKERS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "character": _string,
    "blob": _blob,
    "integer": _integer,
    "long": _integer,
    "float": _number,
    "double": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def _size(shape: Shape, size: int, path: str, unit: str) -> Iterator[Finding]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield Finding(path, f"has {size} {unit}, {least} at least are needed")
    if most is not None and size > most:
        yield Finding(path, f"has {size} {unit}, {most} at most are allowed")


def _range(shape: Shape, value: float, path: str) -> Iterator[Finding]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield Finding(path, f"is {value}, less than {least}")
    if most is not None and value > most:
        yield Finding(path, f"is {value}, more than {most}")


def _wrong_type(path: str, wanted: str, value: Any) -> Finding:
    return Finding(path, f"must be {wanted}, not {_shown(value)}")


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was meant, if one looks like it whatever its case and underscores."""
    plain = {other.lower().replace("_", ""): other for other in names}
    near = get_close_matches(name.lower().replace("_", ""), plain, n=1)
    return plain[near[0]] if near else None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return text[:SHOWN_CHARACTERS] + "..."
