"""Exports the data of the handwriting project as JSON Lines.

    python export_data.py --out DIR

The images are the 1,797 handwritten digits, 8 by 8 pixels of 0 to 16, that scikit-learn ships.
Everything follows from a fixed seed.

    DIR/training/digits.jsonl, DIR/test/digits.jsonl    {"pixels": [[...], ...], "digit": 3}
    DIR/payloads.json, DIR/smoke.json                   requests, from images nobody trained on
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

SEED = 11
TRAINING, TEST, REQUESTS = slice(0, 1100), slice(1100, 1700), slice(1700, 1797)


def main() -> None:
    """Writes all files."""
    parser = argparse.ArgumentParser(description="Exports the data of the handwriting project.")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write to")
    out = parser.parse_args().out

    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    images = data.images[order].astype(int).tolist()
    digits = data.target[order].tolist()

    for channel, part in (("training", TRAINING), ("test", TEST)):
        folder = out / channel
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"pixels": pixels, "digit": digit})
            for pixels, digit in zip(images[part], digits[part], strict=True)
        ]
        (folder / "digits.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    payloads = [json.dumps({"pixels": pixels}) for pixels in images[REQUESTS]]
    (out / "payloads.json").write_text(json.dumps(payloads, indent=1) + "\n", encoding="utf-8")
    (out / "smoke.json").write_text(payloads[0], encoding="utf-8")


if __name__ == "__main__":
    main()
