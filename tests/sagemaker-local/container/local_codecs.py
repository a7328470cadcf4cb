"""The default input_fn and output_fn: text/csv, application/json and application/x-npy.

They decode to and encode from numpy arrays as the scikit-learn container's do, down to a CSV
of one row becoming an array of one dimension. numpy is imported when one of them is first
needed, so a server whose script brings its own functions starts without it.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

CSV = "text/csv"
JSON = "application/json"
NPY = "application/x-npy"
# Bodies of these types reach the user's functions as text, all others as bytes.
TEXT_TYPES = (JSON, CSV)


class UnsupportedFormat(Exception):
    """A content type that the default functions can't read or write."""

    def __init__(self, content_type: str) -> None:
        """Keeps the type for the answer."""
        self.content_type = content_type
        super().__init__(
            f"Content type {content_type} is not supported by this framework: "
            "implement input_fn to read it or output_fn to write it"
        )


def decode(body: str | bytes, content_type: str) -> Any:
    """The request's body as a numpy array; numbers as float32 where it came as text."""
    import numpy

    if content_type == NPY:
        # No pickles: an array that needs one is code from a stranger.
        return numpy.load(io.BytesIO(_bytes(body)), allow_pickle=False)
    if content_type == JSON:
        return numpy.array(json.loads(body)).astype(numpy.float32)
    if content_type == CSV:
        rows = list(csv.reader(io.StringIO(_text(body)), strict=True))
        return numpy.array(rows).squeeze().astype(numpy.float32)
    raise UnsupportedFormat(content_type)


def encode(prediction: Any, accept: str) -> str | bytes:
    """The prediction in the type that the caller accepts."""
    if accept == JSON:
        return json.dumps(prediction, default=_plain)
    import numpy

    if accept == NPY:
        buffer = io.BytesIO()
        numpy.save(buffer, numpy.asarray(prediction))
        return buffer.getvalue()
    if accept == CSV:
        rows = numpy.asarray(prediction)
        rows = rows.reshape(-1, 1) if rows.ndim <= 1 else rows
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", strict=True).writerows(rows.tolist())
        return text.getvalue()
    raise UnsupportedFormat(accept)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a prediction of type {type(value).__name__} can't be written as JSON")


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _text(body: str | bytes) -> str:
    return body if isinstance(body, str) else body.decode()
