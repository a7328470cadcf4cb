"""Trains and follows a wine model as a notebook would, with boto3. All that says Tidegate is a tag.

    python walk.py train wine-1 --depth 2     trains, by the files in source/
    python walk.py follow 1                   until version 1 serves all of the endpoint
    python walk.py ask                        asks the endpoint about a wine of each grower
    python walk.py users 300                  lets users ask it, so many times a minute
    python walk.py counts                     what CloudWatch has counted in the last minutes
    python walk.py event                      the event that said the last training had ended
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
PIPELINE, GROUP, ENDPOINT = "wine", "wine-growers", "wine"
# The longest that anything here takes, in seconds; a minute of the local world is one.
PATIENCE = 120


def train(job, depth):
    """Puts source and data into S3, creates a training job and waits for its end."""
    bucket = os.environ["BUCKET"]
    lines, growers = wines()
    table = "\n".join(f"{grower},{line}" for grower, line in zip(growers, lines, strict=True))
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key="wine/train/wine.csv", Body=table)
    # What wine.toml wants a version to answer before any user meets it.
    s3.put_object(Bucket=bucket, Key="wine/smoke.csv", Body=lines[0])
    s3.put_object(Bucket=bucket, Key=f"{job}/sourcedir.tar.gz", Body=packed(HERE / "source"))

    sagemaker = boto3.client("sagemaker")
    data = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/wine/train"}
    sagemaker.create_training_job(
        TrainingJobName=job,
        Tags=[{"Key": "tidegate:pipeline", "Value": PIPELINE}],
        RoleArn=os.environ["SAGEMAKER_ROLE"],
        AlgorithmSpecification={
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "accuracy", "Regex": "accuracy: ([0-9.]+)"}],
        },
        HyperParameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://{bucket}/{job}/sourcedir.tar.gz",
            "depth": str(depth),
        },
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": data}}],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    for described in looks(lambda: sagemaker.describe_training_job(TrainingJobName=job)):
        if described["TrainingJobStatus"] == "Completed":
            for metric in described["FinalMetricDataList"]:
                print(f"{job} is Completed, {metric['MetricName']} {metric['Value']:.4f}")
            return
        if described["TrainingJobStatus"] in ("Failed", "Stopped"):
            sys.exit(f"{job} is {described['TrainingJobStatus']}: {described['FailureReason']}")
    sys.exit(f"{job} does not end")


def follow(version):
    """Tells what changes until the version serves alone, or is Rejected."""
    sagemaker = boto3.client("sagemaker")
    told = None
    for package, endpoint in looks(
        lambda: (package_of(sagemaker, version), endpoint_of(sagemaker))
    ):
        approval = package.get("ModelApprovalStatus", "not registered yet")
        status = endpoint.get("EndpointStatus", "not there yet")
        variants = endpoint.get("ProductionVariants", [])
        shares = [f"{one['VariantName']} at {one['CurrentWeight']:g} %" for one in variants]
        now = f"v{version} is {approval}; {ENDPOINT} is {status} {', '.join(shares)}".strip()
        if now != told:
            print(now)
            told = now
        if approval == "Rejected":
            arn = package["ModelPackageArn"]
            described = sagemaker.describe_model_package(ModelPackageName=arn)
            # The gate's reason is the description; who rejects it later says why beside it.
            reasons = [described.get("ApprovalDescription"), described["ModelPackageDescription"]]
            print(f"why: {next(filter(None, reasons))}")
            return
        names = [one["VariantName"] for one in variants]
        if status == "InService" and names == [f"v{version}"]:
            return
    sys.exit(f"v{version} does not come to serve; `tidegate history {GROUP}` says why")


def package_of(sagemaker, version):
    listed = sagemaker.list_model_package_groups(NameContains=GROUP)
    groups = [one["ModelPackageGroupName"] for one in listed["ModelPackageGroupSummaryList"]]
    if GROUP not in groups:
        return {}
    listed = sagemaker.list_model_packages(ModelPackageGroupName=GROUP)
    packages = {one["ModelPackageVersion"]: one for one in listed["ModelPackageSummaryList"]}
    return packages.get(version, {})


def endpoint_of(sagemaker):
    endpoints = sagemaker.list_endpoints(NameContains=ENDPOINT)["Endpoints"]
    if ENDPOINT not in [one["EndpointName"] for one in endpoints]:
        return {}
    return sagemaker.describe_endpoint(EndpointName=ENDPOINT)


def ask():
    lines, growers = wines()
    runtime = boto3.client("sagemaker-runtime")
    for row in (3, 65, 145):
        answer = runtime.invoke_endpoint(
            EndpointName=ENDPOINT, ContentType="text/csv", Accept="text/csv", Body=lines[row]
        )
        said = answer["Body"].read().decode().strip()
        who = answer["InvokedProductionVariant"]
        print(f"{who} says grower {float(said):g}, and it is {growers[row]}")


def users(per_minute):
    """Traffic is the local world's own; at AWS it is your users'."""
    lines, _ = wines()
    local(
        "traffic",
        {
            "endpoint": ENDPOINT,
            "requests_per_minute": per_minute,
            "payloads": lines,
            "content_type": "text/csv",
        },
    )
    print(f"{per_minute} requests a minute from now on")


def counts():
    # A minute of the local world is a second, so its time is ahead of your watch.
    now = datetime.fromtimestamp(local("clock")["epoch_seconds"], UTC)
    cloudwatch = boto3.client("cloudwatch")
    for one in endpoint_of(boto3.client("sagemaker")).get("ProductionVariants", []):
        name = one["VariantName"]
        answer = cloudwatch.get_metric_data(
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            MetricDataQueries=[
                query("requests", "Invocations", "Sum", name),
                query("errors", "InvocationModelErrors", "Sum", name),
                query("latency", "ModelLatency", "p90", name),
            ],
        )
        values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
        slowest = max(values["latency"], default=0) / 1000
        print(
            f"{name}: {sum(values['requests']):.0f} requests in 15 minutes,"
            f" {sum(values['errors']):.0f} errors, p90 of each minute within {slowest:.0f} ms"
        )


def query(key, metric, statistic, variant):
    dimensions = [
        {"Name": "EndpointName", "Value": ENDPOINT},
        {"Name": "VariantName", "Value": variant},
    ]
    named = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": key, "MetricStat": {"Metric": named, "Period": 60, "Stat": statistic}}


def event():
    ended = [
        one
        for one in local("events")["events"]
        if one["detail-type"] == "SageMaker Training Job State Change"
        and one["detail"]["TrainingJobStatus"] == "Completed"
    ]
    if not ended:
        sys.exit("no training job has completed yet")
    # The local world lists what it sent; these are what EventBridge adds on the way.
    print(json.dumps({"id": "tried-by-hand", "source": "aws.sagemaker", **ended[-1]}, indent=2))


def wines():
    """Lines of 13 measurements, and who grew each wine."""
    from sklearn.datasets import load_wine

    data = load_wine()
    return [",".join(f"{value:g}" for value in row) for row in data.data], list(data.target)


def packed(folder):
    """The scripts of a folder as sourcedir.tar.gz."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for script in sorted(folder.glob("*.py")):
            archive.add(script, arcname=script.name)
    return file.getvalue()


def looks(look):
    """What a look gives, again and again, as long as patience lasts."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        yield look()
        time.sleep(0.2)


def local(path, request=None):
    """What is the local world's own and not SageMaker's: its clock, traffic, list of events."""
    url = f"{os.environ['AWS_ENDPOINT_URL_SAGEMAKER']}/_local/{path}"
    body = None if request is None else json.dumps(request).encode()
    call = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=10) as answer:
        return json.load(answer)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("train")
    command.add_argument("job")
    command.add_argument("--depth", type=int, required=True)
    command.set_defaults(does=train)
    command = commands.add_parser("follow")
    command.add_argument("version", type=int)
    command.set_defaults(does=follow)
    command = commands.add_parser("users")
    command.add_argument("per_minute", type=int)
    command.set_defaults(does=users)
    for does in (ask, counts, event):
        commands.add_parser(does.__name__).set_defaults(does=does)
    arguments = vars(parser.parse_args())
    del arguments["command"]
    does = arguments.pop("does")
    does(**arguments)


if __name__ == "__main__":
    main()
