"""Checks infra/template.yaml (or the template that is named): `python infra/check.py [TEMPLATE]`.

cfn-lint with all its rules in two regions, the SAM transform, and the rules of the house. Prints
every problem; exit code 0 if there is none, 1 if there are some, 2 if the template can't be read.
"""

import pathlib
import subprocess
import sys

import house_rules
import sam_template

HERE = pathlib.Path(__file__).parent
# Ours, and one whose services and instance types differ from it.
REGIONS = ("us-east-1", "eu-south-2")


def lint(path):
    """What cfn-lint says, informational rules included, a line each."""
    command = [sys.executable, "-c", "import sys; from cfnlint.runner import main; sys.exit(main())"]
    command += ["--template", str(path), "--format", "parseable"]
    command += ["--include-checks", "I", "--regions", *REGIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = done.stdout.splitlines()
    if done.returncode and not found:
        found = [f"cfn-lint failed: {done.stderr.strip()}"]
    return [line for line in found if line.strip()]


def check(path):
    """All problems of a template, and whether it could be read."""
    try:
        template = sam_template.translate(sam_template.read(path))
    except sam_template.TemplateError as error:
        return [str(error)], False
    return lint(path) + house_rules.problems(template), True


def main(arguments):
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 2
    path = pathlib.Path(arguments[0]) if arguments else HERE / "template.yaml"
    problems, readable = check(path)
    for problem in problems:
        print(problem)
    if problems:
        print(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
    else:
        print(f"{path}: fine by cfn-lint ({', '.join(REGIONS)}), SAM and {len(house_rules.RULES)} house rules")
    return 0 if not problems else 1 if readable else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
