"""Trains a reader of handwritten digits; channels `training` and `test` hold JSON Lines."""

import argparse
import json
import os
import shutil
from pathlib import Path

import joblib
from images import features
from sklearn.svm import SVC


def load(folder):
    lines = [
        json.loads(line)
        for path in sorted(Path(folder).glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return features([line["pixels"] for line in lines]), [line["digit"] for line in lines]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--gamma", type=float, default=0.1)
    parser.add_argument("-C", "--penalty", type=float, default=10.0)
    args = parser.parse_args()

    x_train, y_train = load(os.environ["SM_CHANNEL_TRAINING"])
    x_test, y_test = load(os.environ["SM_CHANNEL_TEST"])
    model = SVC(gamma=args.gamma, C=args.penalty).fit(x_train, y_train)
    print(f"{len(y_train)} images, {len(model.support_)} support vectors")
    print(f"test accuracy: {model.score(x_test, y_test):.4f}")

    model_dir = Path(os.environ["SM_MODEL_DIR"])
    joblib.dump(model, model_dir / "reader.joblib")
    code = model_dir / "code"
    code.mkdir(exist_ok=True)
    for name in ("inference.py", "images.py", "requirements.txt"):
        shutil.copy(Path(__file__).with_name(name), code)
