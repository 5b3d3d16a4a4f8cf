"""What the client asks of Placement, and what it makes of the answer."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import testtools

from kilonova.core.candidates import Group, Request
from kilonova.placement.client import Placement
from kilonova.placement.offers import Candidate

EMPTY: dict[str, Any] = {"allocation_requests": [], "provider_summaries": {}}


class Recorded:
    """What a keystoneauth1 adapter is to the client: it notes the request and gives an answer."""

    default_microversion = "1.36"

    def __init__(self, body: Any) -> None:
        self.body = body
        self.asked = ""
        self.version = ""

    def request(self, path: str, method: str, **options: Any) -> "Recorded":
        """Note the request."""
        self.asked, self.version = path, options["microversion"]
        return self

    @property
    def status_code(self) -> int:
        """Everything is well."""
        return 200

    @property
    def content(self) -> bytes:
        """The answer."""
        return json.dumps(self.body).encode()


def summary(root: str, traits: tuple[str, ...] = (), **free: int) -> dict[str, Any]:
    """Return what is told of a provider: so much free, of twice as much."""
    figures = {name: {"capacity": 2 * left, "used": left} for name, left in free.items()}
    return {"resources": figures, "traits": traits, "root_provider_uuid": root}


def offer(**parts: dict[str, int]) -> dict[str, Any]:
    """Return an allocation request."""
    return {"allocations": {uuid: {"resources": amounts} for uuid, amounts in parts.items()}}


class QueryTest(testtools.TestCase):
    """The parameters of a request."""

    def _asked(self, request: Request) -> tuple[list[tuple[str, str]], str]:
        http = Recorded(EMPTY)
        Placement(http).allocation_candidates(request, limit=7)
        return sorted(parse_qsl(urlsplit(http.asked).query)), http.version

    def test_a_plain_request_asks_for_resources(self) -> None:
        asked = Request(groups=(Group(resources={"VCPU": 1, "MEMORY_MB": 512}),))
        expected = [("limit", "7"), ("resources", "MEMORY_MB:512,VCPU:1")]
        self.assertEqual((expected, "1.36"), self._asked(asked))

    def test_everything_that_can_be_asked_is_written(self) -> None:
        first = Group(
            resources={"VCPU": 1},
            required=(frozenset({"B"}), frozenset({"A"})),
            forbidden=frozenset({"C"}),
            member_of=(frozenset({"y", "x"}), frozenset({"z"})),
            not_member_of=frozenset({"w"}),
            in_tree="root",
        )
        second = Group(suffix="_GPU", resources={"VGPU": 2}, required=(frozenset({"D"}),))
        third = Group(suffix="1", resources={"VF": 1})
        asked = Request(
            groups=(first, second, third),
            isolate=True,
            root_required=frozenset({"R"}),
            root_forbidden=frozenset({"S"}),
            same_subtree=(frozenset({"_GPU", "1"}),),
        )
        expected = [
            ("group_policy", "isolate"),
            ("in_tree", "root"),
            ("limit", "7"),
            ("member_of", "!in:w"),
            ("member_of", "in:x,y"),
            ("member_of", "in:z"),
            ("required", "A,B,!C"),
            ("required_GPU", "D"),
            ("resources", "VCPU:1"),
            ("resources1", "VF:1"),
            ("resources_GPU", "VGPU:2"),
            ("root_required", "R,!S"),
            ("same_subtree", "1,_GPU"),
        ]
        self.assertEqual((expected, "1.36"), self._asked(asked))

    def test_one_of_several_traits_needs_a_newer_microversion(self) -> None:
        asked = Request(groups=(Group(resources={"V": 1}, required=(frozenset({"A", "B"}),)),))
        expected = [("limit", "7"), ("required", "in:A,B"), ("resources", "V:1")]
        self.assertEqual((expected, "1.39"), self._asked(asked))

    def test_a_single_group_needs_no_policy(self) -> None:
        asked = Request(groups=(Group(resources={"V": 1}), Group(suffix="1", resources={"W": 1})))
        self.assertNotIn("group_policy", dict(self._asked(asked)[0]))

    def test_what_a_flavor_names_cannot_add_a_parameter(self) -> None:
        asked = Request(groups=(Group(resources={"V": 1}, required=(frozenset({"A&limit=9"}),)),))
        self.assertEqual("7", dict(self._asked(asked)[0])["limit"])


class AnswerTest(testtools.TestCase):
    """Candidates out of an answer."""

    def _found(self, *offers: dict[str, Any], **summaries: dict[str, Any]) -> tuple[Candidate, ...]:
        answer = {"allocation_requests": offers, "provider_summaries": summaries}
        asked = Request(groups=(Group(resources={"VCPU": 1}),))
        return Placement(Recorded(answer)).allocation_candidates(asked, limit=7)

    def test_a_host_is_a_candidate_with_all_that_is_free_on_it(self) -> None:
        (found,) = self._found(
            offer(a={"VCPU": 1}), a=summary("a", ("COMPUTE_NODE", "X"), VCPU=3, DISK_GB=9)
        )
        self.assertEqual(("a", {"a": {"VCPU": 1}}), (found.provider_uuid, found.allocation))
        self.assertEqual({"VCPU": 3, "DISK_GB": 9}, found.free)
        self.assertEqual({"COMPUTE_NODE", "X"}, found.traits)

    def test_what_providers_under_a_host_give_is_the_hosts(self) -> None:
        (found,) = self._found(
            offer(gpu={"VGPU": 1}, a={"VCPU": 1}),
            a=summary("a", ("COMPUTE_NODE",), VCPU=3),
            gpu=summary("a", VGPU=2, OTHER=5),
        )
        self.assertEqual("a", found.provider_uuid)
        self.assertEqual({"VCPU": 3, "VGPU": 2}, found.free)

    def test_who_shares_a_disk_is_no_host(self) -> None:
        (found,) = self._found(
            offer(shared={"DISK_GB": 1}, a={"VCPU": 1}),
            a=summary("a", ("COMPUTE_NODE",), VCPU=3),
            shared=summary("shared", ("MISC_SHARES_VIA_AGGREGATE",), DISK_GB=70),
        )
        self.assertEqual("a", found.provider_uuid)
        self.assertEqual({"VCPU": 3, "DISK_GB": 70}, found.free)
