"""Reads one handwritten digit a request: {"pixels": 8 rows of 8} in, {"digit": n} out."""

import json
import os

import joblib
from images import features


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "reader.joblib"))


def input_fn(body, content_type):
    if content_type != "application/json":
        raise ValueError(f"application/json is expected, not {content_type}")
    return features([json.loads(body)["pixels"]])


def predict_fn(image, model):
    return int(model.predict(image)[0])


def output_fn(digit, accept):
    return json.dumps({"digit": digit}), "application/json"
