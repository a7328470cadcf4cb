"""Trains a wine model as a notebook would, with boto3 alone; all that says Tidegate is the tag.

    python walk.py train wine-1 --depth 2     starts a training job and waits for it
    python walk.py follow 1                   waits until version 1 serves all of the endpoint
    python walk.py ask                        asks the endpoint about one wine of each grower
    python walk.py users 300                  300 users ask it every minute from now on
    python walk.py counts                     what CloudWatch has counted in the last minutes
"""

import argparse
import io
import json
import os
import sys
import tarfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3

HERE = Path(__file__).parent
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
GROUP, ENDPOINT = "wine-growers", "wine"
# The longest that anything here takes, in seconds; a minute of the local world is one.
PATIENCE = 120


def wine():
    """The measurements and their growers, and the same as a CSV file with the grower first."""
    from sklearn.datasets import load_wine

    data = load_wine()
    lines = [",".join(f"{value:g}" for value in row) for row in data.data]
    table = "".join(f"{grower},{line}\n" for grower, line in zip(data.target, lines, strict=True))
    return lines, data.target, table


def packed_source():
    """The folder `source` as sourcedir.tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file in sorted((HERE / "source").glob("*.py")):
            archive.add(file, arcname=file.name)
    return packed.getvalue()


def wait_for(what, look, wanted, hopeless=()):
    """Looks until it is as wanted, and gives it back; ends the program if it can't become so."""
    until = time.monotonic() + PATIENCE
    seen = None
    while time.monotonic() < until:
        seen = look()
        if seen == wanted:
            return seen
        if seen in hopeless:
            break
        time.sleep(0.2)
    sys.exit(f"{what} is {seen}, not {wanted}")


def train(args):
    bucket, job = os.environ["BUCKET"], args.job
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    source = f"s3://{bucket}/{job}/source/sourcedir.tar.gz"
    s3.put_object(Bucket=bucket, Key=f"{job}/source/sourcedir.tar.gz", Body=packed_source())
    lines, _, table = wine()
    s3.put_object(Bucket=bucket, Key="wine/train/wine.csv", Body=table)
    # The request that wine.toml wants answered before any user meets a version.
    s3.put_object(Bucket=bucket, Key="wine/smoke.csv", Body=lines[0])
    sagemaker.create_training_job(
        TrainingJobName=job,
        RoleArn=os.environ["SAGEMAKER_ROLE"],
        Tags=[{"Key": "tidegate:pipeline", "Value": "wine"}],
        AlgorithmSpecification={
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy: ([0-9.]+)"}],
        },
        HyperParameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": source,
            "depth": str(args.depth),
        },
        InputDataConfig=[
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/wine/train"}
                },
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    ended = {}

    def look():
        ended.update(sagemaker.describe_training_job(TrainingJobName=job))
        return ended["TrainingJobStatus"]

    wait_for(f"the job {job}", look, "Completed", ("Failed", "Stopped"))
    for metric in ended["FinalMetricDataList"]:
        print(f"{job} is Completed, {metric['MetricName']} {metric['Value']:.4f}")


def follow(args):
    sagemaker = boto3.client("sagemaker")

    def packages():
        groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        if GROUP not in [group["ModelPackageGroupName"] for group in groups]:
            return {}
        listed = sagemaker.list_model_packages(ModelPackageGroupName=GROUP)
        return {
            package["ModelPackageVersion"]: package["ModelApprovalStatus"]
            for package in listed["ModelPackageSummaryList"]
        }

    def serving():
        endpoints = sagemaker.list_endpoints(NameContains=ENDPOINT)["Endpoints"]
        if ENDPOINT not in [endpoint["EndpointName"] for endpoint in endpoints]:
            return None
        endpoint = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
        variants = endpoint.get("ProductionVariants", [])
        now = (endpoint["EndpointStatus"], *(shown(variant) for variant in variants))
        if now != serving.before:
            print(*now)
            serving.before = now
        return now if len(variants) != 1 else (now[0], variants[0]["VariantName"])

    serving.before = None
    wait_for(f"version {args.version}", lambda: packages().get(args.version), "Approved", ["Rejected"])
    print(f"version {args.version} is Approved")
    wait_for(f"the endpoint {ENDPOINT}", serving, ("InService", f"v{args.version}"))


def shown(variant):
    return f"{variant['VariantName']} at weight {variant['CurrentWeight']:g}"


def ask(_):
    lines, growers, _ = wine()
    runtime = boto3.client("sagemaker-runtime")
    for row in (3, 65, 145):
        answer = runtime.invoke_endpoint(
            EndpointName=ENDPOINT, ContentType="text/csv", Accept="text/csv", Body=lines[row]
        )
        said = answer["Body"].read().decode().strip()
        print(f"{answer['InvokedProductionVariant']} says grower {said}, it is {growers[row]}")


def users(args):
    """The local world's own: requests of many users, as many a minute of its clock."""
    payloads = wine()[0]
    world(
        "traffic",
        {
            "endpoint": ENDPOINT,
            "requests_per_minute": args.per_minute,
            "payloads": payloads,
            "content_type": "text/csv",
        },
    )
    print(f"{args.per_minute} requests a minute from now on")


def world(path, request=None):
    """What is the local world's own, and not SageMaker's: its clock and its traffic."""
    url = f"{os.environ['AWS_ENDPOINT_URL_SAGEMAKER']}/_local/{path}"
    body = None if request is None else json.dumps(request).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
        return json.load(answer)


def counts(_):
    # The local world's minutes are seconds, so its time is ahead of your watch.
    now = datetime.fromtimestamp(world("clock")["epoch_seconds"], UTC)
    endpoint = boto3.client("sagemaker").describe_endpoint(EndpointName=ENDPOINT)
    cloudwatch = boto3.client("cloudwatch")
    for variant in endpoint["ProductionVariants"]:
        name = variant["VariantName"]
        results = cloudwatch.get_metric_data(
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            MetricDataQueries=[
                query("requests", "Invocations", "Sum", name),
                query("errors", "InvocationModelErrors", "Sum", name),
                query("latency", "ModelLatency", "p90", name),
            ],
        )["MetricDataResults"]
        values = {result["Id"]: result["Values"] for result in results}
        print(
            f"{name} in 15 minutes: {sum(values['requests']):.0f} requests,"
            f" {sum(values['errors']):.0f} errors,"
            f" nine in ten within {max(values['latency'], default=0) / 1000:.1f} ms"
        )


def query(key, metric, statistic, variant):
    dimensions = [
        {"Name": "EndpointName", "Value": ENDPOINT},
        {"Name": "VariantName", "Value": variant},
    ]
    named = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": key, "MetricStat": {"Metric": named, "Period": 60, "Stat": statistic}}


COMMANDS = {"train": train, "follow": follow, "ask": ask, "users": users, "counts": counts}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    for name in COMMANDS:
        command = commands.add_parser(name)
        if name == "train":
            command.add_argument("job")
            command.add_argument("--depth", type=int, required=True)
        if name == "follow":
            command.add_argument("version", type=int)
        if name == "users":
            command.add_argument("per_minute", type=int)
    parsed = parser.parse_args()
    COMMANDS[parsed.command](parsed)
