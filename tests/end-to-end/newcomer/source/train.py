"""Which of three growers made this wine? A decision tree on 13 measurements, one line of CSV each.

The channel `train` holds wine.csv: the grower first, then the measurements.
"""

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, default=2)
    args = parser.parse_args()

    table = np.loadtxt(Path(os.environ["SM_CHANNEL_TRAIN"]) / "wine.csv", delimiter=",")
    x_train, x_test, y_train, y_test = train_test_split(
        table[:, 1:], table[:, 0], test_size=0.25, random_state=7, stratify=table[:, 0]
    )
    model = DecisionTreeClassifier(max_depth=args.depth, random_state=0).fit(x_train, y_train)
    print(f"accuracy: {model.score(x_test, y_test):.4f}")
    joblib.dump(model, Path(os.environ["SM_MODEL_DIR"]) / "wine.joblib")
