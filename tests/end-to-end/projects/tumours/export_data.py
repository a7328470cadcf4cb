"""Exports the data of the tumours project as CSV files, the way a hospital's database would.

    python export_data.py --out DIR

The rows are the breast cancer data that scikit-learn ships (Wisconsin, 569 biopsies, 30
measurements). One measurement is optional: one clinic in five does not report
worst_concave_points and leaves it empty. Everything follows from a fixed seed.

    DIR/first/{train,validation}/*.csv    what the first models were trained on
    DIR/fresh/{train,validation}/*.csv    some months later: the same biopsies and 100 more
    DIR/payloads.json, DIR/smoke.csv      requests, from rows that no model was trained on
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

SEED = 7
OPTIONAL = "worst_concave_points"
WITHOUT_ONE_IN = 5
FIRST, FRESH, VALIDATION = slice(0, 240), slice(0, 340), slice(340, 460)
REQUESTS = slice(460, 569)


def main() -> None:
    """Writes all files."""
    parser = argparse.ArgumentParser(description="Exports the data of the tumours project.")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write to")
    out = parser.parse_args().out

    data = load_breast_cancer()
    columns = [name.replace(" ", "_") for name in data.feature_names]
    order = np.random.default_rng(SEED).permutation(len(data.target))
    # In the data set 0 is malignant; the models predict malignancy.
    labels = 1 - data.target[order]
    rows = [[format(value, "g") for value in row] for row in data.data[order]]
    optional = columns.index(OPTIONAL)
    for row in rows[::WITHOUT_ONE_IN]:
        row[optional] = ""

    for name, train in (("first", FIRST), ("fresh", FRESH)):
        for channel, part in (("train", train), ("validation", VALIDATION)):
            lines = [",".join(["malignant", *columns])]
            lines += [
                ",".join([str(label), *row])
                for label, row in zip(labels[part], rows[part], strict=True)
            ]
            folder = out / name / channel
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{channel}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    requests = rows[REQUESTS]
    payloads = json.dumps([",".join(row) for row in requests], indent=1)
    (out / "payloads.json").write_text(payloads + "\n", encoding="utf-8")
    complete = next(row for row in requests if row[optional])
    (out / "smoke.csv").write_text(",".join(complete), encoding="utf-8")


if __name__ == "__main__":
    main()
