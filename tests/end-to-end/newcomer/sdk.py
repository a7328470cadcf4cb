"""The same training by the SageMaker Python SDK 2: an estimator with a tag, nothing else.

    pip install 'sagemaker<3'
    export SAGEMAKER_USER_CONFIG_OVERRIDE=$PWD/sagemaker-sdk.yaml
    python sdk.py                             once `walk.py train` has put wine.csv into S3
"""

import os
from pathlib import Path

from sagemaker.sklearn import SKLearn

estimator = SKLearn(
    entry_point="train.py",
    source_dir=str(Path(__file__).with_name("source")),
    framework_version="1.2-1",
    role=os.environ["SAGEMAKER_ROLE"],
    instance_type="ml.m5.large",
    hyperparameters={"depth": 3},
    metric_definitions=[{"Name": "accuracy", "Regex": "accuracy: ([0-9.]+)"}],
    tags=[{"Key": "tidegate:pipeline", "Value": "wine"}],
)
estimator.fit({"train": f"s3://{estimator.sagemaker_session.default_bucket()}/wine/train"})
