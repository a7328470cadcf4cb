"""Serves the tree: lines of 13 measurements in, growers out.

The functions that are not here are the framework's own.
"""

import io
from pathlib import Path

import joblib
import numpy as np


def model_fn(model_dir):
    return joblib.load(Path(model_dir) / "wine.joblib")


def input_fn(body, content_type):
    if content_type != "text/csv":
        raise ValueError(f"text/csv is expected, not {content_type}")
    # The framework's own reader makes a single line a flat array, which scikit-learn refuses.
    return np.loadtxt(io.StringIO(body), delimiter=",", ndmin=2)
