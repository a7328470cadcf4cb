"""Serves the tumours model: lines of 30 measurements in, probabilities of malignancy out."""

import json
import os

import joblib
import numpy as np


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(body, content_type):
    if content_type != "text/csv":
        raise ValueError(f"text/csv is expected, not {content_type}")
    # A measurement that a clinic does not report is empty; the model fills it in.
    return np.array(
        [
            [float(value) if value.strip() else np.nan for value in line.split(",")]
            for line in body.strip().splitlines()
        ]
    )


def predict_fn(rows, model):
    return model["pipeline"].predict_proba(rows[:, model["columns"]])[:, 1]


def output_fn(probabilities, accept):
    if accept == "text/csv":
        return "\n".join(f"{value:.4f}" for value in probabilities), accept
    return json.dumps({"malignant": [round(float(value), 4) for value in probabilities]}), accept
