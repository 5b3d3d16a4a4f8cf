"""The JSON of every message, pinned by messages.json: services of two versions talk to each other.

``full`` is what a message looks like with every field given; a field that is added stands there too.
``least`` is what the first version could send at least; it is never edited, so a field that is added
without a default, or one that is renamed, fails here. ``means`` is what it stands for: its defaults.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import testtools

from kilonova.core.orders import Order
from kilonova.rpc import messages
from kilonova.rpc.bus import MESSAGES, encode
from tests.unit.rpc import samples

GOLDEN: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("messages.json").read_text(encoding="utf-8")
)


def defaulted(value: object) -> list[str]:
    """Return the paths of the fields of a value, and of what is in it, that are at their defaults."""
    if isinstance(value, list | tuple):
        return [path for item in value for path in defaulted(item)]
    if not isinstance(value, msgspec.Struct):
        return []
    found = []
    for field in msgspec.structs.fields(value):
        held = getattr(value, field.name)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if held == default:
            found.append(f"{type(value).__name__}.{field.name}")
        found += defaulted(held)
    return found


class MessagesTest(testtools.TestCase):
    """The golden file against the code, both ways."""

    def test_every_message_and_every_answer_is_pinned(self) -> None:
        travelling = {
            name
            for name, value in vars(messages).items()
            if isinstance(value, type) and value.__module__ == messages.__name__
        } - {"Message", "Topic"}
        travelling |= {order.__name__ for order in Order.__subclasses__()}
        # What core has that travels by itself.
        travelling |= {"RequestContext", "ConsoleAddress", "Diagnostics"}
        self.assertEqual(travelling, set(GOLDEN))
        self.assertLessEqual(set(MESSAGES), set(GOLDEN))
        for chosen in (samples.FULL, samples.LEAST):
            self.assertEqual(set(GOLDEN), {type(value).__name__ for value in chosen})

    def test_what_is_sent_is_what_is_pinned(self) -> None:
        for value in samples.FULL:
            name = type(value).__name__
            self.assertEqual(GOLDEN[name]["full"], json.loads(encode(value)), name)

    def test_what_is_pinned_is_read(self) -> None:
        for version, chosen in (("full", samples.FULL), ("least", samples.LEAST)):
            for value in chosen:
                name = type(value).__name__
                read = msgspec.json.decode(json.dumps(GOLDEN[name][version]), type=type(value))
                self.assertEqual(value, read, f"{version} {name}")

    def test_what_is_left_out_means_what_it_always_meant(self) -> None:
        for value in samples.LEAST:
            name = type(value).__name__
            read = msgspec.json.decode(json.dumps(GOLDEN[name]["least"]), type=type(value))
            self.assertEqual(GOLDEN[name]["means"], json.loads(encode(read)), name)

    def test_a_field_that_a_newer_service_added_is_passed_over(self) -> None:
        for value in samples.FULL:
            newer = GOLDEN[type(value).__name__]["full"] | {"added_later": {"a": [1]}}
            self.assertEqual(value, msgspec.json.decode(json.dumps(newer), type=type(value)))

    def test_no_field_of_a_full_sample_is_left_at_its_default(self) -> None:
        self.assertEqual([], defaulted(samples.FULL))
