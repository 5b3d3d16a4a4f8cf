"""Every error that kilonova raises on purpose.

    KilonovaError
    |-- Invalid                400  the request is wrong; the sentence names the field
    |   |-- MalformedBody      400
    |   |-- BadParameter       400  of a query string
    |   |-- MissingParameter   400
    |   |-- DuplicateParameter 400
    |   `-- NoSuchProvider     400  the request names a resource provider that does not exist
    |-- Unauthorized           401
    |-- Forbidden              403  policy says no
    |   `-- QuotaExceeded      403
    |-- NotFound               404
    |-- MethodNotAllowed       405
    |-- NotAcceptable          406  no such microversion, or no media type that the client takes
    |-- Conflict               409
    |   |-- WrongState         409  the server's state does not allow the action
    |   |-- ServerLocked       409
    |   |-- GenerationConflict 409  somebody else changed it since it was read
    |   |-- Fenced             409  somebody else acts for the server by now
    |   |-- DuplicateName      409
    |   |-- InventoryInUse     409
    |   |-- ProviderInUse      409
    |   |-- ProviderHasChildren 409
    |   `-- NoCapacity         409  a claim asks for more than is left
    |-- Gone                   410  it was part of the API once
    |-- TooLarge               413
    |-- UnsupportedMediaType   415
    |-- NotSupported           501  this deployment cannot do it
    |-- MoveCancelled          500  an operator aborted a live migration
    |-- MemoryLost             500  a guest left its host, and arrived without its memory
    |-- NoValidHost            500  a value more than an accident; see core.scheduling.NoHost
    |-- BuildFailed            500  one host could not build the server
    |   |-- BuildAborted       500  and no other host should try
    |   `-- ShareFailed        500  a host does not come by a share of its server's
    `-- Unavailable            503  a part does not answer; a retry can help
        |-- DatabaseUnavailable
        |-- BusUnavailable
        |   `-- NoAnswer         the bus took the message, and nobody replied in time
        |-- PlacementUnavailable
        |-- ImageStoreUnavailable
        |-- VolumesUnavailable   the block storage service
        |-- SharesUnavailable    the share service
        |-- NetworkUnavailable
        |-- HypervisorUnavailable
        `-- HostsUnavailable     no host at all gives a sign of life

libvirt's, SQLAlchemy's, AMQP's and HTTP's own errors are translated into these at their one adapter.
"""

from typing import ClassVar

_LONGEST_CAUSE = 1000
"""Characters of a cause's words that are kept: some tools say very much."""


class KilonovaError(Exception):
    """The root.

    ``code`` is stable and machine-readable, ``status`` the HTTP status that an API answers with, and
    ``retry_helps`` says whether the same request may succeed later without being changed.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retry_helps: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def in_full(self) -> str:
        """The message with the words of what caused it: for operators, never for tenants."""
        cause = self.__cause__
        if cause is None:
            return self.message
        said = cause.in_full if isinstance(cause, KilonovaError) else str(cause)
        return f"{self.message} ({type(cause).__name__}: {said.strip()[:_LONGEST_CAUSE]})"


class Invalid(KilonovaError):
    """The request is wrong."""

    code = "invalid"
    status = 400


class MalformedBody(Invalid):
    """The body is not what its Content-Type says."""

    code = "malformed_body"


class BadParameter(Invalid):
    """A query string's parameter has a value that means nothing."""

    code = "bad_parameter"


class MissingParameter(Invalid):
    """A query string lacks a parameter that the others ask for."""

    code = "missing_parameter"


class DuplicateParameter(Invalid):
    """A query string's parameter is given twice."""

    code = "duplicate_parameter"


class NoSuchProvider(Invalid):
    """The request names a resource provider that does not exist."""

    code = "no_such_provider"


class Unauthorized(KilonovaError):
    """Nobody is named, or the name is not proven."""

    code = "unauthorized"
    status = 401


class Forbidden(KilonovaError):
    """Policy does not allow it."""

    code = "forbidden"
    status = 403


class QuotaExceeded(Forbidden):
    """The project or user has no quota left."""

    code = "quota_exceeded"


class NotFound(KilonovaError):
    """There is no such thing, or the asker may not know of it."""

    code = "not_found"
    status = 404


class MethodNotAllowed(KilonovaError):
    """The path is there, but the method has no meaning on it."""

    code = "method_not_allowed"
    status = 405


class NotAcceptable(KilonovaError):
    """The microversion is outside what is served, or the client takes no media type that is."""

    code = "not_acceptable"
    status = 406


class Conflict(KilonovaError):
    """The request is right but the present state refuses it."""

    code = "conflict"
    status = 409


class WrongState(Conflict):
    """The server's state does not allow the action."""

    code = "wrong_state"


class ServerLocked(Conflict):
    """The server is locked to its owner."""

    code = "server_locked"


class GenerationConflict(Conflict):
    """Somebody else changed it since it was read."""

    code = "generation_conflict"
    retry_helps = True


class Fenced(Conflict):
    """Somebody else acts for the server by now: nothing was done, and nothing should be."""

    code = "fenced"


class DuplicateName(Conflict):
    """Something else has the name already."""

    code = "duplicate_name"


class InventoryInUse(Conflict):
    """What would be taken away is allocated to somebody."""

    code = "inventory_in_use"


class ProviderInUse(Conflict):
    """The resource provider has allocations."""

    code = "provider_in_use"


class ProviderHasChildren(Conflict):
    """The resource provider is the parent of others."""

    code = "provider_has_children"


class NoCapacity(Conflict):
    """A claim asks for more than is left."""

    code = "no_capacity"


class Gone(KilonovaError):
    """It was part of the API once, and is no more."""

    code = "gone"
    status = 410


class TooLarge(KilonovaError):
    """The body is over the limit."""

    code = "too_large"
    status = 413


class UnsupportedMediaType(KilonovaError):
    """The Content-Type is not one that is read here."""

    code = "unsupported_media_type"
    status = 415


class NotSupported(KilonovaError):
    """This deployment cannot do what is asked."""

    code = "not_supported"
    status = 501


class MoveCancelled(KilonovaError):
    """Somebody wanted a live migration to be aborted, and it was: the guest is where it was."""

    code = "move_cancelled"


class MemoryLost(KilonovaError):
    """A guest left its host while it ran, and cannot run on where it went: its disks are there."""

    code = "memory_lost"


class NoValidHost(KilonovaError):
    """No host fits; the message carries the counted reasons."""

    code = "no_valid_host"


class BuildFailed(KilonovaError):
    """One host could not build the server; another may."""

    code = "build_failed"
    retry_helps = True

    @classmethod
    def unexpected(cls, error: Exception) -> "BuildFailed":
        """Return what is told of an error that nobody foresaw; the host's log has the rest."""
        failed = cls("The host failed in an unexpected way.")
        failed.__cause__ = error
        return failed


class BuildAborted(BuildFailed):
    """The server cannot be built on any host (its image is broken, its data too large)."""

    code = "build_aborted"
    retry_helps = False


class ShareFailed(BuildFailed):
    """A host does not come by a share of its server's, so the server's guest does not run."""

    code = "share_failed"


class Unavailable(KilonovaError):
    """A part that is needed does not answer."""

    code = "unavailable"
    status = 503
    retry_helps = True


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class BusUnavailable(Unavailable):
    """The message bus does not answer, or nobody replied in time."""

    code = "bus_unavailable"


class NoAnswer(BusUnavailable):
    """The message bus took the message, and nobody replied in time."""

    code = "no_answer"


class PlacementUnavailable(Unavailable):
    """Placement does not answer."""

    code = "placement_unavailable"


class ImageStoreUnavailable(Unavailable):
    """The image store does not answer."""

    code = "image_store_unavailable"


class VolumesUnavailable(Unavailable):
    """The block storage service does not answer."""

    code = "volumes_unavailable"


class SharesUnavailable(Unavailable):
    """The share service does not answer."""

    code = "shares_unavailable"


class NetworkUnavailable(Unavailable):
    """The network service does not answer."""

    code = "network_unavailable"


class HypervisorUnavailable(Unavailable):
    """libvirt does not answer."""

    code = "hypervisor_unavailable"


class HostsUnavailable(Unavailable):
    """No host gives a sign of life, or those of a cell were never read: it is not the hosts' fault."""

    code = "hosts_unavailable"
