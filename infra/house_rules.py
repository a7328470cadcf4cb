"""The rules that our own template has to keep, beyond being valid: what a reviewer would ask for.

A rule is a function that takes the translated template and yields problems, each a sentence that
names the resource and says what to do. What IAM can scope to a resource is not our opinion: it is
read from the service authorization data that cfn-lint ships.
"""

import functools
import importlib.resources
import json
import re

# Actions on all resources that IAM could narrow, and why we don't.
WILDCARDS = {
    "cloudwatch:GetMetricData": "its one resource type is for OpenTelemetry data sets, not metrics",
    "cloudwatch:ListMetrics": "its one resource type is for OpenTelemetry data sets, not metrics",
}

# What each function must be able to do: whichever comes first finishes a pipeline's pending
# effects, so the union of all effects and questions (shared/core/src/world.rs and ledger.rs).
NEEDED = frozenset(
    """
    cloudwatch:GetMetricData
    dynamodb:BatchGetItem dynamodb:ConditionCheckItem dynamodb:DeleteItem dynamodb:GetItem
    dynamodb:PutItem dynamodb:Query dynamodb:UpdateItem
    events:PutEvents
    iam:PassRole iam:SimulatePrincipalPolicy
    kms:Decrypt kms:Encrypt kms:GenerateDataKey*
    s3:GetBucketPolicy s3:GetObject s3:ListBucket s3:PutObject
    sagemaker:AddAssociation sagemaker:AddTags sagemaker:CreateAction sagemaker:CreateArtifact
    sagemaker:CreateContext sagemaker:CreateEndpoint sagemaker:CreateEndpointConfig
    sagemaker:CreateHyperParameterTuningJob sagemaker:DescribeHyperParameterTuningJob
    sagemaker:CreateModel sagemaker:CreateModelPackage sagemaker:CreateModelPackageGroup
    sagemaker:CreateTrainingJob
    sagemaker:CreateDataQualityJobDefinition sagemaker:CreateModelBiasJobDefinition
    sagemaker:CreateModelExplainabilityJobDefinition sagemaker:CreateModelQualityJobDefinition
    sagemaker:CreateMonitoringSchedule sagemaker:CreateProcessingJob
    sagemaker:DeleteDataQualityJobDefinition sagemaker:DeleteModelBiasJobDefinition
    sagemaker:DeleteModelExplainabilityJobDefinition sagemaker:DeleteModelQualityJobDefinition
    sagemaker:DeleteMonitoringSchedule
    sagemaker:DescribeDataQualityJobDefinition sagemaker:DescribeModelBiasJobDefinition
    sagemaker:DescribeModelExplainabilityJobDefinition sagemaker:DescribeModelQualityJobDefinition
    sagemaker:StartMonitoringSchedule sagemaker:StopMonitoringSchedule
    sagemaker:DeleteEndpoint sagemaker:DeleteEndpointConfig sagemaker:DeleteModel
    sagemaker:DescribeAction
    sagemaker:DescribeEndpoint sagemaker:DescribeEndpointConfig sagemaker:DescribeModel
    sagemaker:DescribeModelPackage sagemaker:DescribeModelPackageGroup
    sagemaker:DescribeMonitoringSchedule sagemaker:DescribePipelineExecution
    sagemaker:DescribeProcessingJob
    sagemaker:DescribeTrainingJob sagemaker:InvokeEndpoint sagemaker:ListModelPackages
    sagemaker:ListArtifacts sagemaker:ListAssociations sagemaker:ListContexts
    sagemaker:ListMonitoringExecutions sagemaker:ListTags sagemaker:ListTrialComponents
    sagemaker:StartPipelineExecution
    sagemaker:UpdateEndpoint sagemaker:UpdateEndpointWeightsAndCapacities
    sagemaker:UpdateModelPackage
    scheduler:CreateSchedule scheduler:DeleteSchedule scheduler:GetSchedule
    sns:Publish sqs:SendMessage
    """.split()
)

# What one function alone does: package-approved judges whose approval counts, and looks for tags.
OF_ONE = {
    "iam:ListRoleTags": "PackageApprovedFunction",
    "iam:ListUserTags": "PackageApprovedFunction",
}

# What `tidegate redrive` asks of each queue of dead letters (cli/src/redrive/queues.rs).
OF_DEAD_LETTERS = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
)

SECRET_NAME = re.compile(r"secret|password|passwd|token|credential|api_?key|webhook", re.IGNORECASE)
SECRET_VALUE = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN|hooks\.slack\.com|xox[a-z]-|^[A-Za-z0-9/+]{40}$"
)


def problems(template):
    """Every problem of every rule, in the order of the template."""
    return [problem for rule in RULES for problem in rule(template)]


def functions_give_up_in_the_open(template):
    """Nothing that fails is lost: retries are bounded, and what they can't save is kept."""
    configs = {
        _target(config["FunctionName"]): config
        for _, config in _of(template, "AWS::Lambda::EventInvokeConfig")
    }
    queues = {name for name, _ in _of(template, "AWS::SQS::Queue")}
    for name, _ in _of(template, "AWS::Lambda::Function"):
        config = configs.get(name)
        if config is None:
            yield f"{name}: has no EventInvokeConfig, so Lambda's defaults decide what is lost"
            continue
        failed = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if _target(failed) not in queues:
            yield f"{name}: needs a queue of this template as EventInvokeConfig's OnFailure"
        if config.get("MaximumRetryAttempts") != 2:
            yield f"{name}: EventInvokeConfig must retry twice, as the local world does"
        if "MaximumEventAgeInSeconds" not in config:
            yield f"{name}: EventInvokeConfig needs a MaximumEventAgeInSeconds"
    for name, rule in _of(template, "AWS::Events::Rule"):
        for target in rule.get("Targets", []):
            if _target(target.get("DeadLetterConfig", {}).get("Arn")) not in queues:
                yield f"{name}: needs a DeadLetterConfig with a queue of this template"
            if not target.get("RetryPolicy"):
                yield f"{name}: needs a RetryPolicy"


def functions_are_apart(template):
    """A role, a log group and an architecture of its own for each function, and logs in JSON."""
    roles = {}
    logs = {name for name, _ in _of(template, "AWS::Logs::LogGroup")}
    for name, function in _of(template, "AWS::Lambda::Function"):
        role = _target(function.get("Role"))
        if role in roles:
            yield f"{name}: shares its role {role} with {roles[role]}"
        roles[role] = name
        logging = function.get("LoggingConfig", {})
        if logging.get("LogFormat") != "JSON" or _target(logging.get("LogGroup")) not in logs:
            yield f"{name}: needs a LoggingConfig with LogFormat JSON and a log group of its own"
        if function.get("Runtime") != "provided.al2023":
            yield f"{name}: must run on provided.al2023"
    for name, group in _of(template, "AWS::Logs::LogGroup"):
        if not group.get("RetentionInDays"):
            yield f"{name}: needs RetentionInDays, or its logs are kept and paid for ever"


def permissions_are_least(template):
    """No wildcard action, no wildcard resource without a reason, no role passed to anyone."""
    for name, statement in _statements(template):
        for action in _list(statement.get("Action")):
            if action == "*" or action.endswith(":*"):
                yield f"{name}: Action {action!r} allows too much; name the actions"
        if "NotAction" in statement or "NotResource" in statement:
            yield f"{name}: NotAction and NotResource allow what nobody thought of"
        resources = _list(statement.get("Resource"))
        if "*" in resources:
            for action in _list(statement.get("Action")):
                if _scopes(action) and action not in WILDCARDS:
                    yield (
                        f"{name}: Resource '*' for {action}, which IAM can scope to "
                        f"{', '.join(sorted(_scopes(action))[:3])}; name it, or give the reason in "
                        "WILDCARDS (infra/house_rules.py)"
                    )
        if "iam:PassRole" in _list(statement.get("Action")):
            to = statement.get("Condition", {}).get("StringEquals", {}).get("iam:PassedToService")
            if not to:
                yield f"{name}: iam:PassRole needs a condition on iam:PassedToService"


def permissions_meet_their_resources(template):
    """Each action finds a resource of a type that it works on; else AWS denies it in silence."""
    for name, statement in _statements(template):
        arns = [_example(resource) for resource in _list(statement.get("Resource"))]
        if any(arn is None or arn == "*" for arn in arns):
            continue
        for action in _list(statement.get("Action")):
            formats = _scopes(action)
            if formats and not any(
                re.fullmatch(pattern, arn) for pattern in formats.values() for arn in arns
            ):
                yield (
                    f"{name}: {action} works on {', '.join(sorted(formats)[:4])}, and the statement "
                    "names none of these"
                )


def functions_can_do_their_effects(template):
    """Each function's role allows every call that an effect or a question may make."""
    granted = {}
    for name, statement in _statements(template):
        granted.setdefault(name, set()).update(_list(statement.get("Action")))
    roles = dict(_of(template, "AWS::IAM::Role"))
    for name, function in _of(template, "AWS::Lambda::Function"):
        role = _target(function.get("Role"))
        allowed = set(granted.get(role, ()))
        for policy in roles.get(role, {}).get("ManagedPolicyArns", []):
            allowed |= granted.get(_target(policy), set())
        own = {action for action, only in OF_ONE.items() if only == name}
        missing = sorted((NEEDED | own) - allowed)
        if missing:
            yield f"{name}: its role {role} lacks {', '.join(missing)}"
        for action in sorted(allowed & OF_ONE.keys() - own):
            yield f"{name}: its role {role} has {action}, which only {OF_ONE[action]} needs"


def people_can_resend_what_was_given_up(template):
    """`tidegate redrive` may read every dead letter, and send it to its function again."""
    granted = {}
    for name, statement in _statements(template):
        if name == "OperatorPolicy":
            for action in _list(statement.get("Action")):
                for resource in _list(statement.get("Resource")):
                    granted.setdefault(action, set()).add(_target(resource) or _example(resource))
    for name, _ in _of(template, "AWS::SQS::Queue"):
        for action in OF_DEAD_LETTERS:
            if name not in granted.get(action, ()):
                yield f"OperatorPolicy: lacks {action} on {name}"
    for name, function in _of(template, "AWS::Lambda::Function"):
        arn = "arn:aws:lambda:us-east-1:123456789012:function:" + str(_example(function["FunctionName"]))
        if arn not in granted.get("lambda:InvokeFunction", ()):
            yield f"OperatorPolicy: lacks lambda:InvokeFunction on {name}"
    keys = {_target(queue.get("KmsMasterKeyId")) for _, queue in _of(template, "AWS::SQS::Queue")}
    for name, statement in _statements(template):
        # The ledger's key is the same one, by another service.
        if name == "OperatorPolicy" and "sqs." in str(statement.get("Condition")):
            if "kms:Decrypt" in _list(statement.get("Action")):
                keys -= {_target(resource) for resource in _list(statement.get("Resource"))}
    for key in sorted(filter(None, keys)):
        yield f"OperatorPolicy: lacks kms:Decrypt on {key} by way of sqs"


def services_act_for_this_account(template):
    """A role that a shared service assumes is assumed for this account alone."""
    for name, role in _of(template, "AWS::IAM::Role"):
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            service = statement.get("Principal", {}).get("Service")
            # Lambda assumes a role only for a function whose creator was allowed to pass it, and
            # sends no source account.
            if service == "lambda.amazonaws.com":
                continue
            condition = statement.get("Condition", {}).get("StringEquals", {})
            if "aws:SourceAccount" not in condition:
                yield f"{name}: {service} must be bound to this account by aws:SourceAccount"


def roles_take_the_boundary(template):
    """An account that asks for a permissions boundary can deploy this."""
    for name, role in _of(template, "AWS::IAM::Role"):
        if "PermissionsBoundary" not in role:
            yield f"{name}: needs the optional PermissionsBoundary"


def the_ledger_is_safe(template):
    """It is encrypted with our key, can be restored to any second, and outlives the stack."""
    tables = [
        (name, resource)
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table"
    ]
    if len(tables) != 1:
        yield f"there must be one table, the ledger; there are {len(tables)}"
    for name, resource in tables:
        table = resource["Properties"]
        if table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
            yield f"{name}: point-in-time recovery is off"
        encryption = table.get("SSESpecification", {})
        if encryption.get("SSEEnabled") is not True or not _target(encryption.get("KMSMasterKeyId")):
            yield f"{name}: must be encrypted with the key of this template"
        ttl = table.get("TimeToLiveSpecification", {})
        if ttl.get("AttributeName") != "expires" or ttl.get("Enabled") is not True:
            yield f"{name}: needs time to live on the attribute 'expires'"
        if not table.get("DeletionProtectionEnabled"):
            yield f"{name}: has no deletion protection"
        for what in ("DeletionPolicy", "UpdateReplacePolicy"):
            if resource.get(what) != "Retain":
                yield f"{name}: {what} must be Retain: the audit trail outlives the stack"
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::KMS::Key":
            if resource.get("DeletionPolicy") != "Retain":
                yield f"{name}: DeletionPolicy must be Retain: the retained ledger needs its key"
            if resource["Properties"].get("EnableKeyRotation") is not True:
                yield f"{name}: must be rotated (EnableKeyRotation)"


def anchors_stay(template):
    """What is kept against a rewritten ledger can't be written over, and outlives the stack."""
    guarded = {
        _target(policy.get("Bucket"))
        for _, policy in _of(template, "AWS::S3::BucketPolicy")
        for statement in _list(policy["PolicyDocument"]["Statement"])
        if statement.get("Effect") == "Deny"
        and "s3:PutObject" in _list(statement.get("Action"))
        and "s3:if-none-match" in statement.get("Condition", {}).get("Null", {})
    }
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::S3::Bucket":
            continue
        bucket = resource["Properties"]
        retention = bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
        if bucket.get("ObjectLockEnabled") is not True or not retention:
            yield f"{name}: needs Object Lock with a default retention"
        if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
            yield f"{name}: Object Lock needs versions"
        if not all(bucket.get("PublicAccessBlockConfiguration", {"": False}).values()):
            yield f"{name}: must block all public access"
        for what in ("DeletionPolicy", "UpdateReplacePolicy"):
            if resource.get(what) != "Retain":
                yield f"{name}: {what} must be Retain: anchors outlive the stack"
        if name not in guarded:
            yield f"{name}: its policy must deny s3:PutObject without If-None-Match"


def messages_are_encrypted(template):
    """Queues and topics hold events and notices, with names of models and people."""
    for kind in ("AWS::SQS::Queue", "AWS::SNS::Topic"):
        for name, resource in _of(template, kind):
            if not _target(resource.get("KmsMasterKeyId")):
                yield f"{name}: must be encrypted with the key of this template (KmsMasterKeyId)"


def environments_hold_no_secret(template):
    """Anyone who may look at a function sees its environment."""
    for name, function in _of(template, "AWS::Lambda::Function"):
        for variable, value in function.get("Environment", {}).get("Variables", {}).items():
            if SECRET_NAME.search(variable):
                yield f"{name}: {variable} sounds like a secret; keep it in Secrets Manager"
            elif isinstance(value, str) and SECRET_VALUE.search(value):
                yield f"{name}: the value of {variable} looks like a secret; keep it in Secrets Manager"


def silence_is_noticed(template):
    """Dead letters and errors of every function raise an alarm."""
    watched = set()
    for _, alarm in _of(template, "AWS::CloudWatch::Alarm"):
        if alarm.get("AlarmActions"):
            for dimension in alarm.get("Dimensions", []):
                watched.add((alarm["MetricName"], _target(dimension["Value"])))
    for name, _ in _of(template, "AWS::Lambda::Function"):
        if ("Errors", name) not in watched:
            yield f"{name}: no alarm on its errors"
    for name, _ in _of(template, "AWS::SQS::Queue"):
        if ("ApproximateNumberOfMessagesVisible", name) not in watched:
            yield f"{name}: no alarm on its depth"


RULES = (
    functions_give_up_in_the_open,
    functions_are_apart,
    permissions_are_least,
    permissions_meet_their_resources,
    functions_can_do_their_effects,
    people_can_resend_what_was_given_up,
    services_act_for_this_account,
    roles_take_the_boundary,
    the_ledger_is_safe,
    anchors_stay,
    messages_are_encrypted,
    environments_hold_no_secret,
    silence_is_noticed,
)


def _of(template, kind):
    """Name and properties of the resources of a type."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def _statements(template):
    """Allowing statements of roles and managed policies, conditions (`Fn::If`) taken as true."""
    for name, role in _of(template, "AWS::IAM::Role"):
        for policy in role.get("Policies", []):
            yield from _allowing(name, policy["PolicyDocument"])
    for name, policy in _of(template, "AWS::IAM::ManagedPolicy"):
        yield from _allowing(name, policy["PolicyDocument"])


def _allowing(name, document):
    for statement in _list(document["Statement"]):
        if "Fn::If" in statement:
            statement = statement["Fn::If"][1]
        if statement.get("Effect") == "Allow":
            yield name, statement


def _list(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def _target(value):
    """The resource that a Ref or GetAtt names, none for anything else."""
    if isinstance(value, dict):
        if "Ref" in value:
            return value["Ref"]
        if "Fn::GetAtt" in value:
            return value["Fn::GetAtt"][0]
    return None


def _example(resource):
    """An ARN that the resource stands for, none if it is only known when it is deployed."""
    if isinstance(resource, dict):
        resource = resource.get("Fn::Sub")
    if not isinstance(resource, str):
        return None
    values = {
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::AccountId": "123456789012",
        "AWS::StackName": "tidegate",
    }
    return re.sub(r"\$\{([^}]+)\}", lambda name: values.get(name[1], "example"), resource)


@functools.cache
def _authorization():
    text = importlib.resources.files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json")
    return json.loads(text.read_text(encoding="utf-8"))


def _scopes(action):
    """The resource types that IAM scopes an action to: name to a pattern of their ARNs."""
    service, _, verb = action.partition(":")
    data = _authorization().get(service.lower(), {})
    scopes = {}
    for known, details in data.get("Actions", {}).items():
        if re.fullmatch(re.escape(verb.lower()).replace(r"\*", ".*"), known):
            for kind in details.get("Resources", []):
                formats = data["Resources"].get(kind, {}).get("ARNFormats", [])
                scopes[kind] = "|".join(_arn_pattern(text) for text in formats)
    return scopes


def _arn_pattern(text):
    """IAM's `arn:${Partition}:...:endpoint/.*` as a pattern for the ARNs of our statements."""
    parts = re.split(r"(\$\{[^}]*\}|\.\*)", text)
    return "".join(
        ("[^/]*" if part.startswith("${Region") or part.startswith("${Account") else ".*")
        if part.startswith("${") or part == ".*"
        else re.escape(part)
        for part in parts
    )
