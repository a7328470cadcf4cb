"""That each kind of mistake in a value is found, and a good value is not one."""

import unittest
from typing import Any

from botocore.model import ServiceModel
from shapes import check

MODEL = ServiceModel(
    {
        "metadata": {},
        "operations": {},
        "shapes": {
            "Thing": {
                "type": "structure",
                "required": ["Name"],
                "members": {
                    "Name": {"shape": "Name"},
                    "Kind": {"shape": "Kind"},
                    "Count": {"shape": "Count"},
                    "Weight": {"shape": "Weight"},
                    "On": {"shape": "On"},
                    "Made": {"shape": "Time"},
                    "Parts": {"shape": "Parts"},
                    "Notes": {"shape": "Notes"},
                    "Choice": {"shape": "Choice"},
                    "Body": {"shape": "Body"},
                    "Anything": {"shape": "Anything"},
                },
            },
            "Name": {"type": "string", "min": 2, "max": 5, "pattern": "[a-z]+"},
            "Kind": {"type": "string", "enum": ["Approved", "Rejected"]},
            "Count": {"type": "integer", "min": 0, "max": 10},
            "Weight": {"type": "float", "min": 0},
            "On": {"type": "boolean"},
            "Time": {"type": "timestamp"},
            "Parts": {"type": "list", "member": {"shape": "Name"}, "min": 1, "max": 2},
            "Notes": {
                "type": "map",
                "key": {"shape": "Name"},
                "value": {"shape": "Count"},
                "max": 1,
            },
            "Choice": {
                "type": "structure",
                "union": True,
                "members": {"A": {"shape": "Count"}, "B": {"shape": "Count"}},
            },
            "Body": {"type": "blob", "max": 4},
            "Anything": {"type": "structure", "document": True, "members": {}},
            "Envelope": {
                "type": "structure",
                "required": ["Body"],
                "payload": "Body",
                "members": {"Body": {"shape": "Body"}},
            },
        },
    },
    "things",
)
GOOD = {
    "Name": "abc",
    "Kind": "Approved",
    "Count": 10,
    "Weight": 0.5,
    "On": False,
    "Made": 1_790_000_000.5,
    "Parts": ["ab", "cd"],
    "Notes": {"ab": 1},
    "Choice": {"A": 1},
    "Body": "1234",
    "Anything": {"free": [None]},
}


def findings(value: Any, shape: str = "Thing", **options: bool) -> list[str]:
    return [f"{one.path} {one.what}" for one in check(MODEL.shape_for(shape), value, **options)]


class Shapes(unittest.TestCase):
    def bad(self, member: str, value: Any, *expected: str) -> None:
        found = findings({**GOOD, member: value})
        self.assertEqual(len(found), len(expected), found)
        for text, part in zip(found, expected, strict=True):
            self.assertIn(part, text)

    def test_a_good_value_has_no_findings(self) -> None:
        self.assertEqual(findings(GOOD), [])
        self.assertEqual(findings({"Name": "ab", "Weight": 1}), [])

    def test_a_missing_member_is_found(self) -> None:
        self.assertEqual(findings({}), ["Name is required and missing"])

    def test_an_unknown_member_is_found_with_the_nearest_name(self) -> None:
        self.bad("Nmae", "ab", "Nmae is not a member of Thing: Name?")

    def test_null_is_not_a_value(self) -> None:
        self.bad("Kind", None, "Kind is null")

    def test_types_are_checked(self) -> None:
        self.bad("Name", 5, "must be text")
        self.bad("Count", "5", "must be a whole number")
        self.bad("Count", 5.0, "must be a whole number")
        self.bad("Count", True, "must be a whole number")
        self.bad("Weight", "0.5", "must be a number")
        self.bad("On", "true", "must be true or false")
        self.bad("Parts", {"0": "ab"}, "must be a list")
        self.bad("Notes", ["ab"], "must be an object")
        self.bad("Choice", [], "must be an object")
        self.bad("Body", [1, 2], "must be text (a blob)")
        self.assertIn("must be an object", findings("abc")[0])

    def test_timestamps_are_seconds(self) -> None:
        self.bad("Made", "2026-01-01T00:00:00Z", "must be a number of seconds")
        self.bad("Made", 1_790_000_000_000, "milliseconds?")
        self.bad("Made", 0, "no number of seconds of our time")

    def test_values_outside_of_an_enum_are_found(self) -> None:
        self.bad("Kind", "approved", "none of the 2 values allowed; nearest: Approved")

    def test_lengths_sizes_and_ranges_are_checked(self) -> None:
        self.bad("Name", "a", "has 1 characters, 2 at least")
        self.bad("Name", "abcdef", "has 6 characters, 5 at most")
        self.bad("Count", 11, "more than 10")
        self.bad("Count", -1, "less than 0")
        self.bad("Weight", -0.1, "less than 0")
        self.bad("Parts", [], "has 0 items, 1 at least")
        self.bad("Parts", ["ab"] * 3, "has 3 items, 2 at most")
        self.bad("Notes", {"ab": 1, "cd": 2}, "has 2 pairs, 1 at most")
        self.bad("Body", "ééé", "has 6 bytes, 4 at most")

    def test_patterns_are_checked(self) -> None:
        self.bad("Name", "a1", "not of the pattern [a-z]+")

    def test_paths_lead_to_the_place(self) -> None:
        self.bad("Parts", ["ab", "c"], "Parts[1] has 1 characters")
        self.bad("Notes", {"X1": 11}, "Notes['X1'] has a key that is", "Notes['X1'] is 11")
        self.bad("Choice", {"A": -1}, "Choice.A is -1, less than 0")

    def test_a_union_has_one_member(self) -> None:
        self.bad("Choice", {}, "must have one member, not 0")
        self.bad("Choice", {"A": 1, "B": 2}, "must have one member, not 2")

    def test_a_body_is_always_there_when_it_is_the_whole_message(self) -> None:
        self.assertEqual(findings({}, "Envelope", bodiless=True), [])
        self.assertEqual(findings({}, "Envelope"), ["Body is required and missing"])


if __name__ == "__main__":
    unittest.main()
