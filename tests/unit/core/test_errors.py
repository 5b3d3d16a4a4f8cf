"""The tree of errors: what each is called, answered with, and whether asking again helps."""

import re

import testtools

from kilonova.core import errors
from kilonova.core.errors import KilonovaError

TABLE = {
    # name: (code, HTTP status, whether a retry helps, parent)
    "KilonovaError": ("internal", 500, False, "Exception"),
    "Invalid": ("invalid", 400, False, "KilonovaError"),
    "MalformedBody": ("malformed_body", 400, False, "Invalid"),
    "Unauthorized": ("unauthorized", 401, False, "KilonovaError"),
    "Forbidden": ("forbidden", 403, False, "KilonovaError"),
    "QuotaExceeded": ("quota_exceeded", 403, False, "Forbidden"),
    "NotFound": ("not_found", 404, False, "KilonovaError"),
    "NotAcceptable": ("not_acceptable", 406, False, "KilonovaError"),
    "Conflict": ("conflict", 409, False, "KilonovaError"),
    "WrongState": ("wrong_state", 409, False, "Conflict"),
    "ServerLocked": ("server_locked", 409, False, "Conflict"),
    "GenerationConflict": ("generation_conflict", 409, True, "Conflict"),
    "NoCapacity": ("no_capacity", 409, False, "Conflict"),
    "TooLarge": ("too_large", 413, False, "KilonovaError"),
    "UnsupportedMediaType": ("unsupported_media_type", 415, False, "KilonovaError"),
    "NotSupported": ("not_supported", 501, False, "KilonovaError"),
    "NoValidHost": ("no_valid_host", 500, False, "KilonovaError"),
    "Gone": ("gone", 410, False, "KilonovaError"),
    "MemoryLost": ("memory_lost", 500, False, "KilonovaError"),
    "MoveCancelled": ("move_cancelled", 500, False, "KilonovaError"),
    "BuildFailed": ("build_failed", 500, True, "KilonovaError"),
    "BuildAborted": ("build_aborted", 500, False, "BuildFailed"),
    "ShareFailed": ("share_failed", 500, True, "BuildFailed"),
    "Unavailable": ("unavailable", 503, True, "KilonovaError"),
    "DatabaseUnavailable": ("database_unavailable", 503, True, "Unavailable"),
    "BusUnavailable": ("bus_unavailable", 503, True, "Unavailable"),
    "NoAnswer": ("no_answer", 503, True, "BusUnavailable"),
    "PlacementUnavailable": ("placement_unavailable", 503, True, "Unavailable"),
    "ImageStoreUnavailable": ("image_store_unavailable", 503, True, "Unavailable"),
    "VolumesUnavailable": ("volumes_unavailable", 503, True, "Unavailable"),
    "SharesUnavailable": ("shares_unavailable", 503, True, "Unavailable"),
    "NetworkUnavailable": ("network_unavailable", 503, True, "Unavailable"),
    "HypervisorUnavailable": ("hypervisor_unavailable", 503, True, "Unavailable"),
    "BadParameter": ("bad_parameter", 400, False, "Invalid"),
    "MissingParameter": ("missing_parameter", 400, False, "Invalid"),
    "DuplicateParameter": ("duplicate_parameter", 400, False, "Invalid"),
    "NoSuchProvider": ("no_such_provider", 400, False, "Invalid"),
    "MethodNotAllowed": ("method_not_allowed", 405, False, "KilonovaError"),
    "Fenced": ("fenced", 409, False, "Conflict"),
    "DuplicateName": ("duplicate_name", 409, False, "Conflict"),
    "InventoryInUse": ("inventory_in_use", 409, False, "Conflict"),
    "ProviderInUse": ("provider_in_use", 409, False, "Conflict"),
    "ProviderHasChildren": ("provider_has_children", 409, False, "Conflict"),
    "HostsUnavailable": ("hosts_unavailable", 503, True, "Unavailable"),
}
"""Clients and other versions of kilonova rely on these: add, but do not change."""

CLASSES: dict[str, type[KilonovaError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, KilonovaError)
}
_DRAWN = re.compile(r"^    (?P<branch>[|` ]*(?:--)? ?)(?P<name>[A-Z]\w+)(?: +(?P<status>\d{3}))?")


class ErrorsTest(testtools.TestCase):
    """The classes against the table and against the drawing."""

    def test_every_error_has_its_code_status_and_whether_a_retry_helps(self) -> None:
        self.assertEqual(
            TABLE,
            {
                name: (kind.code, kind.status, kind.retry_helps, kind.__base__.__name__)
                for name, kind in CLASSES.items()
                if kind.__base__ is not None
            },
        )

    def test_no_two_errors_have_one_code(self) -> None:
        codes = [kind.code for kind in CLASSES.values()]
        self.assertEqual(sorted(set(codes)), sorted(codes))

    def test_the_tree_is_drawn_as_it_is(self) -> None:
        drawn: dict[str, tuple[str, str | None]] = {}
        above: dict[int, str] = {-1: "Exception"}
        for line in (errors.__doc__ or "").splitlines():
            found = _DRAWN.match(line)
            if found:
                depth = len(found["branch"]) // 4
                drawn[found["name"]] = (above[depth - 1], found["status"])
                above[depth] = found["name"]
        self.assertEqual(
            {name: parent for name, (_, _, _, parent) in TABLE.items()},
            {name: parent for name, (parent, _) in drawn.items()},
        )
        for name, (_, shown) in drawn.items():
            if shown is not None:
                self.assertEqual(TABLE[name][1], int(shown), name)

    def test_an_error_is_its_sentence(self) -> None:
        error = errors.NotFound("There is no server 1.")
        self.assertEqual("There is no server 1.", str(error))
        self.assertEqual("There is no server 1.", error.message)
