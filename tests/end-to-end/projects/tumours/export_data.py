"""Exports the data of the tumours project as CSV files, the way a hospital's database would.

    python export_data.py --out DIR

The rows are the breast cancer data that scikit-learn ships (Wisconsin, 569 biopsies, 30
measurements). One measurement is optional, worst_concave_points: in the years that the models
learn from two clinics in five left it empty, today one in five does. Everything follows from a
fixed seed.

Some months later two clinics of three have a new scanner. Its pictures are softer, so that
texture, smoothness and concavity are measured smaller than before.

    DIR/first/{train,validation}/*.csv    what the first models were trained on
    DIR/fresh/{train,validation}/*.csv    with the new scanners: the same biopsies and 100 more
    DIR/{first,fresh}/features/*.csv      the measurements of train alone: what a monitor's
                                          baseline is made of, since requests have no label
    DIR/payloads.json, DIR/smoke.csv      requests, from rows that no model was trained on
    DIR/held-out.csv                      the same rows with the new scanners, and their labels
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

SEED = 7
OPTIONAL = "worst_concave_points"
# Which of each five biopsies lack it. It is fewer today, so that an hour of requests has it as
# often as the training data, whatever its luck: a monitor takes less for a violation.
LACKED_IT, LACK_IT, OF = (0, 2), (0,), 5
FIRST, FRESH, VALIDATION = slice(0, 240), slice(0, 340), slice(340, 460)
REQUESTS = slice(460, 569)

# What the new scanner makes of a measurement whose name holds the word.
SOFTER = {"texture": 0.4, "concav": 0.6, "smoothness": 0.8}
OLD_SCANNER_ONE_IN = 3


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
    before = data.data[order]
    after = before.copy()
    has_new_scanner = np.arange(len(after)) % OLD_SCANNER_ONE_IN != OLD_SCANNER_ONE_IN - 1
    for column, name in enumerate(columns):
        for word, factor in SOFTER.items():
            if word in name:
                after[has_new_scanner, column] *= factor
    before, after = written(before, columns), written(after, columns)

    header = ["malignant", *columns]
    for name, rows, train in (("first", before, FIRST), ("fresh", after, FRESH)):
        for channel, part in (("train", train), ("validation", VALIDATION)):
            write(out / name / channel / f"{channel}.csv", header, labelled(labels, rows, part))
        write(out / name / "features/features.csv", columns, rows[train])
    write(out / "held-out.csv", header, labelled(labels, after, REQUESTS))

    requests = before[REQUESTS]
    payloads = json.dumps([",".join(row) for row in requests], indent=1)
    (out / "payloads.json").write_text(payloads + "\n", encoding="utf-8")
    complete = next(row for row in requests if row[columns.index(OPTIONAL)])
    (out / "smoke.csv").write_text(",".join(complete), encoding="utf-8")


def written(table: np.ndarray, columns: list[str]) -> list[list[str]]:
    """Numbers as text; the optional one left out where a clinic does not report it."""
    rows = [[format(value, "g") for value in row] for row in table]
    for number, row in enumerate(rows):
        if number % OF in (LACK_IT if number >= REQUESTS.start else LACKED_IT):
            row[columns.index(OPTIONAL)] = ""
    return rows


def labelled(labels: np.ndarray, rows: list[list[str]], part: slice) -> list[list[str]]:
    """Rows with their labels first."""
    return [[str(label), *row] for label, row in zip(labels[part], rows[part], strict=True)]


def write(file: Path, header: list[str], rows: list[list[str]]) -> None:
    """Writes a CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(row) for row in [header, *rows]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
