"""Trains a classifier that says how likely a biopsy is malignant.

Runs as a SageMaker training job with the scikit-learn image; channels `train` and
`validation` hold CSV files with a header and the label first. A channel `features` is for the
monitor of who serves the model, and not read here. With a channel `champion`,
which holds the model.tar.gz of the model that serves, that one is evaluated on the same
validation data, so that both can be compared on data of today.
"""

import argparse
import json
import os
import shutil
import tarfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# So that this file can be the serving script as well as inference.py.
from inference import input_fn, model_fn, output_fn, predict_fn  # noqa: F401


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["logistic", "boosting"], default="logistic")
    parser.add_argument("--columns", default="all", help="names with a space between, or all")
    parser.add_argument("--regularisation", type=float, default=1.0)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--output-data-dir", default=os.environ.get("SM_OUTPUT_DATA_DIR"))
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--validation", default=os.environ.get("SM_CHANNEL_VALIDATION"))
    parser.add_argument("--champion", default=os.environ.get("SM_CHANNEL_CHAMPION"))
    parser.add_argument("--evaluations", help="s3://bucket/prefix for the champion's metrics")
    return parser.parse_args()


def load(folder):
    """All CSV files of a channel: column names, measurements (empty is NaN), labels."""
    columns, parts = None, []
    for path in sorted(Path(folder).glob("*.csv")):
        with path.open() as lines:
            columns = next(lines).strip().split(",")[1:]
            parts.append(np.genfromtxt(lines, delimiter=","))
    if not parts:
        raise ValueError(f"no CSV files in {folder}")
    table = np.concatenate(parts)
    return columns, table[:, 1:], table[:, 0].astype(int)


def build(args):
    steps = [SimpleImputer(strategy="median")]
    if args.model == "boosting":
        steps.append(GradientBoostingClassifier(n_estimators=args.trees, random_state=args.seed))
    else:
        steps.append(StandardScaler())
        steps.append(LogisticRegression(C=args.regularisation, max_iter=1000))
    return make_pipeline(*steps)


def evaluate(labels, scores):
    return {
        "auc": roc_auc_score(labels, scores),
        "accuracy": accuracy_score(labels, scores > 0.5),
        "recall": recall_score(labels, scores > 0.5),
    }


def load_champion(folder):
    with tarfile.open(Path(folder, "model.tar.gz")) as archive:
        member = next(one for one in archive if Path(one.name).name == "model.joblib")
        return joblib.load(archive.extractfile(member))


def upload(text, folder, name):
    """SageMaker packs all that a job leaves; a file that others read goes to S3 by itself."""
    import boto3

    _, _, bucket, prefix = folder.split("/", 3)
    key = f"{prefix}/{os.environ['TRAINING_JOB_NAME']}/{name}"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())


def main():
    args = parse_args()
    names, x_train, y_train = load(args.train)
    _, x_valid, y_valid = load(args.validation)
    wanted = names if args.columns == "all" else args.columns.split()
    columns = [names.index(name) for name in wanted]
    print(f"training {args.model} on {len(y_train)} biopsies, {len(columns)} columns")

    pipeline = build(args).fit(x_train[:, columns], y_train)
    scores = pipeline.predict_proba(x_valid[:, columns])[:, 1]
    metrics = evaluate(y_valid, scores)
    # MetricDefinitions read these lines.
    print(" ".join(f"validation:{name}={value:.4f};" for name, value in metrics.items()))

    model_dir = Path(args.model_dir)
    joblib.dump({"pipeline": pipeline, "columns": columns}, model_dir / "model.joblib")
    # The code that serves a model travels with it.
    (model_dir / "code").mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("inference.py"), model_dir / "code")

    evaluation = {
        "binary_classification_metrics": {
            name: {"value": value, "standard_deviation": "NaN"} for name, value in metrics.items()
        }
    }
    Path(args.output_data_dir, "evaluation.json").write_text(json.dumps(evaluation, indent=2))

    if args.champion:
        scores = predict_fn(x_valid, load_champion(args.champion))
        numbers = evaluate(y_valid, scores).items()
        text = json.dumps({f"validation:{name}": round(value, 4) for name, value in numbers})
        Path(args.output_data_dir, "champion.json").write_text(text)
        if args.evaluations:
            upload(text, args.evaluations, "champion.json")


if __name__ == "__main__":
    main()
