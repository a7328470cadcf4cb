"""Patterns of AWS's service models as Python regular expressions.

The models write them in Java's dialect: Unicode classes as \\p{L}, characters beyond the
first plane as surrogate pairs, \\z for the end. AWS matches a pattern against the whole value.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

_POSIX = {
    "ASCII": r"\x00-\x7f",
    "Alnum": "A-Za-z0-9",
    "Alpha": "A-Za-z",
    "Digit": "0-9",
    "Graph": r"\x21-\x7e",
    "Lower": "a-z",
    "Print": r"\x20-\x7e",
    "Punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "Space": r"\t-\r\x20",
    "Upper": "A-Z",
    "XDigit": "0-9A-Fa-f",
}
# All of the planes above the first, as a range of UTF-16 surrogate pairs.
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
# What the translation looks for: an escape of any kind, or the opening or end of a class.
_TOKEN = re.compile(r"\\p\{(?P<name>\w+)\}|\\.|\[|\]", re.DOTALL)


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The expression for a pattern; use its `fullmatch`. Raises re.error if it has none."""
    text = pattern.replace(_SURROGATES, r"\U00010000-\U0010FFFF")
    # "${1,128}" was meant as a length; an end of text that is repeated is an end of text.
    text = re.sub(r"\$\{\d+,\d+\}", "$", text)
    parts, at, in_class = [], 0, False
    for token in _TOKEN.finditer(text):
        parts.append(text[at : token.start()])
        at = token.end()
        found = token.group()
        if name := token.group("name"):
            ranges = _ranges(name)
            found = ranges if in_class else f"[{ranges}]"
        elif found == r"\z":
            found = r"\Z"
        elif found == "[":
            # Python warns of a bracket inside of a class; it stands for itself in these models.
            found = r"\[" if in_class else "["
            in_class = True
        elif found == "]":
            in_class = False
        parts.append(found)
    parts.append(text[at:])
    # Java's \w, \d and \s are ASCII unless told otherwise.
    return re.compile("".join(parts), re.ASCII)


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value has the pattern."""
    return compiled(pattern).fullmatch(value) is not None


def _ranges(name: str) -> str:
    if name in _POSIX:
        return _POSIX[name]
    try:
        return _categories()[name]
    except KeyError:
        raise re.error(f"unknown class \\p{{{name}}}") from None


@functools.cache
def _categories() -> dict[str, str]:
    """Each general category of Unicode, by one and by two letters, as ranges of a class."""
    found: dict[str, list[list[int]]] = {}
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        for name in (category, category[0]):
            ranges = found.setdefault(name, [])
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return {
        name: "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
        for name, ranges in found.items()
    }
