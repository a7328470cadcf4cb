"""Reads a SAM template and translates it to plain CloudFormation, without an AWS account.

Both the checks in this folder and the local world (tests/end-to-end/template_rules.py) look at
the translated template: what is deployed, not what was meant.
"""

import copy
import logging
import os

import yaml

# The translator asks boto3 for a region to name partitions by; nothing is called.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.public.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402

logging.getLogger("samtranslator").setLevel(logging.ERROR)


class TemplateError(Exception):
    """The template can't be read or translated; the text says what to change."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags (`!Ref x` is `{"Ref": "x"}`), no key twice."""


def _short_tag(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    return {name: value}


def _mapping(loader, node):
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise TemplateError(f"line {key_node.start_mark.line + 1}: the key {key!r} is there twice")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _short_tag)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path):
    """The template as plain dicts and lists."""
    try:
        with open(path, encoding="utf-8") as file:
            template = yaml.load(file, Loader=_Loader)
    except OSError as error:
        raise TemplateError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TemplateError(f"{path}: not YAML: {error}") from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise TemplateError(f"{path}: no Resources: is it a template?")
    return template


class _NoManagedPolicies:
    """Names of AWS managed policies aren't resolved: the template uses none."""

    def load(self):
        return {}


def translate(template):
    """The template after the transform AWS::Serverless-2016-10-31, as AWS would apply it."""
    fragment = copy.deepcopy(template)
    for resource in fragment["Resources"].values():
        properties = resource.get("Properties") or {}
        # Packaging uploads the zip and puts its place here; the transform insists on one.
        if resource.get("Type") == "AWS::Serverless::Function" and isinstance(
            properties.get("CodeUri"), str
        ):
            properties["CodeUri"] = "s3://packaged/function.zip"
    try:
        return transform(fragment, {}, _NoManagedPolicies())
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes) or error.message
        raise TemplateError(f"the SAM transform refuses it: {causes}") from error
