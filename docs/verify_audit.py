#!/usr/bin/env python3
"""Proves an export of Tidegate's audit trail, with Python's standard library alone.

    tidegate audit export > audit.jsonl
    python3 verify_audit.py audit.jsonl [--anchors ANCHORS ...]

How the chain is made, so that you can write your own:

- hash(parts) is the SHA-256 of all parts, each preceded by its length in bytes as an unsigned
  big-endian number of 8 bytes; texts are UTF-8.
- Before the first entry stands hash("tidegate audit v1 genesis").
- An entry's hash is hash("tidegate audit v1 entry", hash of the entry before, body). Hashes are 64
  lower-case hexadecimal digits, the body is the stored text to the letter.
- The body is JSON and holds its number `n` and, as `prev`, the hash before it.

ANCHORS are files, or folders of files, with what housekeeping logs every hour and keeps in the bucket
of anchors: {"message": "audit anchor", "group": ..., "n": ..., "hash": ...}, as lines or as
`aws logs filter-log-events` answers. They show a trail that was rewritten as a whole, or cut off,
after they were made. Export after you fetched them: an export that is older than an anchor lacks the
entry that was anchored.

Exit code: 0 if all is proven, 1 if something is broken, 2 if a file can't be read.
"""

import hashlib
import json
import sys
from pathlib import Path

FORM = 1
ANCHOR = "audit anchor"


def digest(*parts: str) -> str:
    """The hash of these parts."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode()
        sha.update(len(data).to_bytes(8, "big"))
        sha.update(data)
    return sha.hexdigest()


GENESIS = digest("tidegate audit v1 genesis")


class Trail:
    """The entries of one group, as they come."""

    def __init__(self, heading: dict):
        if heading["tidegate_audit_export"] != FORM:
            raise ValueError(f"an export of form {heading['tidegate_audit_export']}; this script knows {FORM}")
        self.group = heading["group"]
        self.tip = heading["tip"]
        # Without --from and --to every entry has to be there.
        self.is_whole = "from" not in heading and "to" not in heading
        self.n = None
        self.first = None
        self.hashes = {}
        self.problems = []

    def add(self, entry: dict) -> None:
        """Proves the next entry: its own hash, its number, and that it follows the one before."""
        n, body = entry["n"], entry["body"]
        try:
            told = json.loads(body)
            prev = told["prev"]
            if told["n"] != n:
                self.problems.append(f"entry {n} says that it is entry {told['n']}")
        except (ValueError, KeyError, TypeError) as error:
            self.problems.append(f"entry {n} can't be read: {error!r}")
            prev = ""
        if self.n is None:
            self.first = n
            if self.is_whole and n != 1:
                self.problems.append(f"the trail begins with entry {n}, not 1")
            before = GENESIS if n == 1 else prev
        else:
            if n != self.n + 1:
                self.problems.append(f"entry {self.n + 1} is missing: after {self.n} comes {n}")
            before = self.hashes.get(n - 1, prev)
        if prev != before:
            self.problems.append(f"entry {n} does not follow the one before it")
        if digest("tidegate audit v1 entry", before, body) != entry["hash"]:
            self.problems.append(f"entry {n} was changed: its hash does not match")
        self.n = n
        self.hashes[n] = entry["hash"]

    def end(self) -> None:
        """Proves that nothing is cut off, as far as the export claims to be whole."""
        last, tip = self.n or 0, self.tip["n"]
        if last == tip:
            if self.hashes.get(last, GENESIS) != self.tip["hash"]:
                self.problems.append(f"the head names another hash for entry {tip}")
        elif self.is_whole:
            self.problems.append(f"the trail ends with entry {last}, and should end with {tip}")

    def anchor(self, anchor: dict) -> bool:
        """Compares an entry with what was logged of it; whether it is in this export."""
        found = self.hashes.get(anchor["n"])
        if self.is_whole and anchor["n"] > (self.n or 0):
            self.problems.append(f"entry {anchor['n']} was anchored and is not there: the trail was cut off")
        if found is not None and found != anchor["hash"]:
            self.problems.append(f"entry {anchor['n']} is not the one that was anchored: the trail was rewritten")
        return found is not None


def lines(path: str):
    """The JSON objects of a file."""
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if text.strip():
            try:
                yield json.loads(text)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error


def anchors(value):
    """The anchors in a line, or in what `aws logs filter-log-events` answers."""
    if isinstance(value, dict):
        if value.get("message") == ANCHOR:
            yield value
        for inner in value.values():
            yield from anchors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from anchors(inner)
    elif isinstance(value, str) and ANCHOR in value:
        try:
            yield from anchors(json.loads(value))
        except ValueError:
            return


def read_anchors(path: str):
    """The anchors of a file, one JSON document or one a line, or of all files in a folder."""
    if Path(path).is_dir():
        for file in sorted(file for file in Path(path).rglob("*") if file.is_file()):
            yield from read_anchors(str(file))
        return
    text = Path(path).read_text(encoding="utf-8")
    try:
        yield from anchors(json.loads(text))
    except ValueError:
        for value in lines(path):
            yield from anchors(value)


def main(export: str, *kept: str) -> int:
    """Proves an export and says what it found."""
    trails = {}
    for line in lines(export):
        if "tidegate_audit_export" in line:
            trails[line["group"]] = Trail(line)
        else:
            trails[line["group"]].add(line)
    for trail in trails.values():
        trail.end()
    met = 0
    for path in kept:
        for anchor in read_anchors(path):
            trail = trails.get(anchor["group"])
            met += trail is not None and trail.anchor(anchor)
    for trail in trails.values():
        span = f"entries {trail.first} to {trail.n}" if trail.first else "no entries"
        print(f"{trail.group}: {'BROKEN' if trail.problems else 'whole'}, {span} of {trail.tip['n']}")
        for problem in trail.problems[:20]:
            print(f"  {problem}")
        if len(trail.problems) > 20:
            print(f"  and {len(trail.problems) - 20} more")
    if kept:
        print(f"anchors compared: {met}")
    return 1 if any(trail.problems for trail in trails.values()) else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(*(argument for argument in sys.argv[1:] if argument != "--anchors")))
    except (OSError, ValueError, KeyError) as problem:
        print(f"can't be read: {problem}", file=sys.stderr)
        sys.exit(2)
