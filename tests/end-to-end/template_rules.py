"""Prints what the local world takes from infra/template.yaml: `template_rules.py [TEMPLATE]`.

The template goes through the same SAM transform as in AWS, so rules, retries, environment and the
ledger's keys are those that are deployed and can't drift. One JSON object on standard output:

    rules      name, pattern, function: the EventBridge rules and whom they invoke
    schedules  name, expression, input, function: what EventBridge Scheduler invokes all the time
    functions  name, timeout (seconds), memory (MB), retries, environment (names of variables)
    table      keys (as CreateTable takes them), ttl (attribute), indexes (as CreateTable takes them)

Names are without the stack's name, as cargo-lambda knows the functions. Exit code 1, with the
reason on standard error, if the template is not one that the local world can follow.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra"))

import sam_template  # noqa: E402

STACK = "${AWS::StackName}-"


def world(template):
    """What the local world needs of a translated template."""
    resources = template["Resources"]
    names = {
        logical: short_name(logical, resource["Properties"].get("FunctionName"))
        for logical, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    tables = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::DynamoDB::Table"]
    if len(tables) != 1:
        raise sam_template.TemplateError(f"there must be one table, there are {len(tables)}")
    return {
        "rules": sorted(rules(resources, names), key=lambda rule: rule["name"]),
        "schedules": sorted(schedules(resources, names), key=lambda schedule: schedule["name"]),
        "functions": sorted(functions(resources, names), key=lambda function: function["name"]),
        "table": table(tables[0]),
    }


def short_name(logical, name):
    """`training-complete` of `!Sub "${AWS::StackName}-training-complete"`."""
    text = name.get("Fn::Sub", "") if isinstance(name, dict) else ""
    if not isinstance(text, str) or not text.startswith(STACK) or "${" in text[len(STACK) :]:
        raise sam_template.TemplateError(
            f"{logical}: its name must be !Sub \"{STACK}NAME\", so that it is known before the "
            "stack is deployed"
        )
    return text[len(STACK) :]


def rules(resources, names):
    """The rules, each with the one function that it invokes."""
    for logical, resource in resources.items():
        if resource["Type"] != "AWS::Events::Rule":
            continue
        properties = resource["Properties"]
        if "EventPattern" not in properties:
            raise sam_template.TemplateError(f"{logical}: not a rule on events")
        if "EventBusName" in properties:
            raise sam_template.TemplateError(f"{logical}: AWS services send to the default bus only")
        targets = [name_of(target["Arn"], names) for target in properties.get("Targets", [])]
        if len(targets) != 1 or targets[0] is None:
            raise sam_template.TemplateError(f"{logical}: must invoke one function of the template")
        yield {
            "name": short_name(logical, properties.get("Name")),
            "pattern": properties["EventPattern"],
            "function": targets[0],
        }


def schedules(resources, names):
    """The schedules, each with the one function that it invokes."""
    for logical, resource in resources.items():
        if resource["Type"] != "AWS::Scheduler::Schedule":
            continue
        properties = resource["Properties"]
        function = name_of(properties["Target"]["Arn"], names)
        if function is None:
            raise sam_template.TemplateError(f"{logical}: must invoke a function of the template")
        yield {
            "name": short_name(logical, properties.get("Name")),
            "expression": properties["ScheduleExpression"],
            "input": properties["Target"].get("Input", "{}"),
            "function": function,
        }


def functions(resources, names):
    """The functions, with what Lambda's asynchronous invocation does for them."""
    retries = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            properties = resource["Properties"]
            name = name_of(properties["FunctionName"], names)
            retries[name] = properties.get("MaximumRetryAttempts", 2)
    for logical, name in names.items():
        properties = resources[logical]["Properties"]
        yield {
            "name": name,
            "timeout": properties.get("Timeout", 3),
            "memory": properties.get("MemorySize", 128),
            "retries": retries.get(name, 2),
            "environment": sorted(properties.get("Environment", {}).get("Variables", {})),
        }


def name_of(value, names):
    """The function that a Ref or GetAtt names, none for anything else."""
    if not isinstance(value, dict):
        return None
    return names.get(value.get("Ref") or value.get("Fn::GetAtt", [None])[0])


def table(properties):
    """The ledger's shape."""
    return {
        "keys": {
            "AttributeDefinitions": properties["AttributeDefinitions"],
            "KeySchema": properties["KeySchema"],
        },
        "ttl": properties.get("TimeToLiveSpecification", {}).get("AttributeName"),
        "indexes": properties.get("GlobalSecondaryIndexes", []),
    }


def main(arguments):
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    path = arguments[0] if arguments else ROOT / "infra" / "template.yaml"
    try:
        print(json.dumps(world(sam_template.translate(sam_template.read(path))), indent=2))
    except sam_template.TemplateError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
