"""Serves the tumours model: lines of 30 measurements in, probabilities of malignancy out.

The parser was rewritten to read a whole body in one go, which is faster for large batches.
"""

import json
import os

import joblib
import numpy as np


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(body, content_type):
    if content_type != "text/csv":
        raise ValueError(f"text/csv is expected, not {content_type}")
    lines = body.strip().splitlines()
    values = body.strip().replace("\n", ",").split(",")
    return np.array(values, dtype=float).reshape(len(lines), -1)


def predict_fn(rows, model):
    return model["pipeline"].predict_proba(rows[:, model["columns"]])[:, 1]


def output_fn(probabilities, accept):
    if accept == "text/csv":
        return "\n".join(f"{value:.4f}" for value in probabilities), accept
    return json.dumps({"malignant": [round(float(value), 4) for value in probabilities]}), accept
