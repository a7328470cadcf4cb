"""That patterns of the service models mean in Python what they mean at AWS."""

import re
import unittest
import warnings

from botocore.loaders import Loader
from check import SERVICES
from patterns import compiled, matches

CUSTOMER_METADATA = r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}"
ATHENA_CATALOG = r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*"


class Patterns(unittest.TestCase):
    def test_every_pattern_of_the_three_services_can_be_read(self) -> None:
        seen = 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for service in SERVICES:
                shapes = Loader().load_service_model(service, "service-2")["shapes"]
                for shape in shapes.values():
                    if "pattern" in shape:
                        compiled(shape["pattern"])
                        seen += 1
        self.assertGreater(seen, 400)

    def test_a_pattern_is_matched_against_the_whole_value(self) -> None:
        name = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
        self.assertTrue(matches(name, "fraud-prod"))
        self.assertFalse(matches(name, "fraud_prod"))
        self.assertFalse(matches(name, "-fraud"))
        self.assertFalse(matches(name, "fraud\n"))

    def test_unicode_classes_are_unicode(self) -> None:
        self.assertTrue(matches(CUSTOMER_METADATA, "größe = 3 µm"))
        self.assertTrue(matches(r"\p{L}+", "模型"))
        self.assertFalse(matches(CUSTOMER_METADATA, "a,b"))
        self.assertFalse(matches(CUSTOMER_METADATA, "50%"))

    def test_a_length_after_the_end_is_only_an_end(self) -> None:
        self.assertTrue(matches(CUSTOMER_METADATA, "x" * 300))

    def test_posix_classes_and_the_letter_escapes_are_ascii(self) -> None:
        self.assertTrue(matches(r"\A\S[\p{Print}]*\z", "id 1"))
        self.assertFalse(matches(r"\A\S[\p{Print}]*\z", "id\t1"))
        self.assertFalse(matches(r"\p{ASCII}*", "é"))
        self.assertFalse(matches(r"\w+", "é"))

    def test_surrogate_pairs_are_the_characters_they_stand_for(self) -> None:
        self.assertTrue(matches(ATHENA_CATALOG, "tab\there \U0001f40b"))
        self.assertFalse(matches(ATHENA_CATALOG, "\x07"))

    def test_an_unknown_class_is_an_error_not_a_match(self) -> None:
        with self.assertRaises(re.error):
            compiled(r"\p{Nonsense}")


if __name__ == "__main__":
    unittest.main()
