"""What each microversion changed: the one table that routes, schemas, views and handlers read.

Nothing else in the API knows a microversion's number. Whoever wants to know whether a change holds asks
``version in Since.SERVER_TAGS``; what was before it, ``version in Since.SERVER_TAGS.before``; what came
with one change and went with another, ``Since.CPU_INFO_OBJECT & Since.HYPERVISOR_UPTIME.before``.
"""

from collections.abc import Iterable, Mapping
from enum import Enum

Version = tuple[int, int]

MINIMUM: Version = (2, 1)
MAXIMUM: Version = (2, 104)


class Span:
    """The microversions from ``since`` to ``until``, both included; none if ``since`` is the later one."""

    since: Version
    until: Version

    def __init__(self, since: Version = MINIMUM, until: Version = MAXIMUM) -> None:
        self.since = since
        self.until = until

    def __contains__(self, version: Version) -> bool:
        return self.since <= version <= self.until

    def __and__(self, other: "Span") -> "Span":
        """Return where both hold."""
        return Span(max(self.since, other.since), min(self.until, other.until))

    @property
    def before(self) -> "Span":
        """All earlier microversions."""
        return Span(until=(self.since[0], self.since[1] - 1))


ALWAYS = Span()
NEVER = Span(MAXIMUM, MINIMUM)


class Since(Span, Enum):
    """What the API does since a microversion (Compute API history)."""

    FIRST = 1, "The first."
    KEY_PAIR_TYPES = 2, "Key pairs have a type."
    MORE_FOR_ADMINS = 3, "Administrators see more attributes of servers."
    FIXED_ADDRESS_RESERVED = 4, "Fixed addresses say whether they are reserved."
    FILTER_BY_IPV6 = 5, "Everybody filters servers by IPv6 address."
    REMOTE_CONSOLES = 6, "Consoles are resources below a server."
    ACCESS_TO_PRIVATE_ONLY = 7, "Access is granted to private flavors only."
    MKS_CONSOLES = 8, "Consoles of the protocol mks."
    LOCKED_SHOWN = 9, "Servers say whether they are locked."
    KEY_PAIRS_OF_OTHERS = 10, "Administrators manage other users' key pairs."
    FORCED_DOWN = 11, "Compute services can be forced down."
    INTERFACE_NETWORK = 12, "Virtual interfaces say their network."
    GROUP_OWNERS = 13, "Server groups say their project and user."
    NO_SHARED_STORAGE = 14, "Evacuation needs no word on shared storage."
    SOFT_POLICIES = 15, "Server groups with soft policies."
    HOST_STATUS = 16, "Servers say the status of their host."
    CRASH_DUMP = 17, "A crash dump can be triggered."
    NO_PROJECT_IN_PATH = 18, "The project in the path is optional."
    DESCRIPTION = 19, "Servers have a description."
    VOLUMES_OF_SHELVED = 20, "Volumes of shelved servers."
    ACTIONS_OF_DELETED = 21, "Actions of deleted servers can be read."
    FORCE_COMPLETE = 22, "A live migration can be forced to complete."
    SERVER_MIGRATIONS = 23, "Live migrations in progress are listed below their server."
    ABORT_MIGRATION = 24, "A live migration can be aborted."
    BLOCK_MIGRATION_AUTO = 25, "Live migration chooses by itself whether to copy disks."
    SERVER_TAGS = 26, "Servers have tags."
    NEW_HEADER = 27, "The header OpenStack-API-Version."
    CPU_INFO_OBJECT = 28, "Hypervisors show cpu_info as an object."
    EVACUATION_CHECKS_HOST = 29, "Evacuation checks the host that is named, unless forced."
    LIVE_MIGRATION_CHECKS_HOST = 30, "Live migration checks the host that is named, unless forced."
    TOKENS_OF_EVERY_CONSOLE = 31, "Console tokens of every type can be looked up."
    DEVICE_TAGS = 32, "Network and block devices have tags."
    HYPERVISOR_PAGES = 33, "Lists of hypervisors have pages."
    BLOCK_DEVICE_TAGS_LOST = 33, "Block devices have no tags any more."
    MIGRATION_CHECKED_LATER = 34, "Live migration is checked after it is accepted."
    KEY_PAIR_PAGES = 35, "Lists of key pairs have pages."
    NO_PROXIES = 36, "What other services do is no longer passed on to them."
    NETWORKS_NAMED = 37, "Servers name their networks, or say auto or none."
    NETWORK_TAGS_LOST = 37, "Network devices have no tags any more."
    UNKNOWN_STATUS_REFUSED = 38, "A status that does not exist is refused in lists."
    NO_IMAGE_METADATA = 39, "Metadata of images is no longer passed on."
    USAGE_PAGES = 40, "Usage has pages."
    AGGREGATE_UUIDS = 41, "Aggregates show their UUID."
    DEVICE_TAGS_AGAIN = 42, "Network and block devices have tags again."
    NO_HOSTS = 43, "Hosts are seen as hypervisors and services only."
    NO_ADDRESS_ACTIONS = 44, "Addresses and virtual interfaces are the network service's."
    IMAGE_ID_IN_BODY = 45, "Creating an image answers its id in the body."
    COMPUTE_REQUEST_ID = 46, "The header X-Compute-Request-Id."
    FLAVOR_EMBEDDED = 47, "Servers show their flavor's figures instead of its id."
    SAME_DIAGNOSTICS = 48, "Diagnostics are the same on every hypervisor."
    TAGS_AT_ATTACHING = 49, "Devices that are attached have tags."
    CLASSES_WITH_GROUPS = 50, "Quota classes hold server groups and no networks."
    EVENTS_FOR_OWNERS = 51, "Owners see the events of actions."
    VOLUME_EXTENDED = 51, "External events about extended volumes."
    CREATED_WITH_TAGS = 52, "Servers are created with tags."
    UUIDS_OF_HOSTS = 53, "Services and hypervisors are known by UUID."
    REBUILD_KEY_PAIR = 54, "A rebuild changes the key pair."
    FLAVOR_DESCRIPTION = 55, "Flavors have a description."
    MIGRATION_NAMES_HOST = 56, "A cold migration names its host."
    NO_FILES = 57, "Files are no longer injected; a rebuild changes the user data."
    ACTION_PAGES = 58, "Lists of actions have pages."
    MIGRATION_PAGES = 59, "Lists of migrations have pages, and migrations a UUID."
    MULTIATTACH = 60, "Volumes of several servers."
    FLAVOR_EXTRA_SPECS = 61, "Flavors show their extra specs."
    EVENT_HOSTS = 62, "Events of actions show their host."
    TRUSTED_CERTIFICATES = 63, "Servers name the certificates that their image is trusted by."
    GROUP_RULES = 64, "Server groups have one policy with rules."
    ABORT_QUEUED = 65, "A queued live migration can be aborted."
    CHANGES_BEFORE = 66, "Lists are filtered by changes-before."
    VOLUME_TYPE = 67, "Block devices name a volume type."
    HOSTS_ALWAYS_CHECKED = 68, "Hosts that are named are always checked."
    DOWN_CELLS = 69, "Servers of a cell that is down are listed in part."
    ATTACHED_TAGS = 70, "Attached devices show their tags."
    GROUPS_OF_SERVER = 71, "A server shows its groups."
    GUARANTEED_BANDWIDTH = 72, "Ports with a guaranteed bandwidth."
    LOCK_REASON = 73, "A lock has a reason, and lists are filtered by locks."
    HOST_NAMED = 74, "A server is created on a host that is named."
    STRICT_LISTS = 75, "Unknown query parameters and sort keys are refused in most lists."
    WHOLE_CHANGED_SERVER = 75, "A change of a server answers all of it."
    SERVERS_ALWAYS_SHOWN = 75, "A hypervisor without servers shows that it has none."
    SWAP_AS_NUMBER = 75, "A flavor without swap has 0 of it, not an empty text."
    POWER_UPDATE = 76, "External events about power."
    UNSHELVE_TO_ZONE = 77, "A server is unshelved into a zone."
    TOPOLOGY = 78, "The NUMA topology of a server."
    DELETE_ON_TERMINATION = 79, "An attached volume can be deleted with its server."
    MIGRATION_OWNERS = 80, "Migrations show their user and project."
    IMAGE_CACHING = 81, "Images are cached on the hosts of an aggregate."
    ACCELERATOR_BOUND = 82, "External events about accelerators."
    MORE_FILTERS = 83, "Everybody filters servers by more of their fields."
    EVENT_DETAILS = 84, "Events of actions show details."
    ATTACHMENT_CHANGED = 85, "An attachment can be changed."
    EXTRA_SPECS_CHECKED = 86, "Extra specs are checked."
    RESCUE_OF_VOLUMES = 87, "Servers that boot from a volume can be rescued."
    HYPERVISOR_UPTIME = 88, "Hypervisors show uptime and no usage."
    ATTACHMENT_IDS = 89, "Attachments show their own id."
    HOST_NAMES = 90, "Servers have a host name of their own."
    UNSHELVE_TO_HOST = 91, "A server is unshelved onto a host."
    KEY_PAIRS_IMPORTED = 92, "Key pairs are imported, not made."
    REBUILD_OF_VOLUMES = 93, "Servers that boot from a volume can be rebuilt."
    HOST_NAMES_WITH_DOMAIN = 94, "Host names may have a domain."
    EVACUATED_STAY_OFF = 95, "Evacuated servers stay stopped."
    PINNED_ZONE = 96, "Servers show the zone that was asked for."
    SHARES = 97, "Servers have shares."
    IMAGE_PROPERTIES = 98, "Servers show their image's properties."
    SPICE_DIRECT = 99, "Consoles of the protocol SPICE, direct."
    HINTS_SHOWN = 100, "Servers show their scheduler hints."
    ATTACHED_LATER = 101, "Volumes are attached without waiting for them."
    FLAVOR_NAMES = 102, "Flavors are found by name and lose two fields."
    STRICT_QUERIES = 102, "No route takes unknown query parameters."
    NO_VOLUMES_BOOT = 103, "The other name of servers that boot from volumes is gone."
    PINNED_ZONE_CHANGED = 104, "The zone that a server is pinned to can be changed."

    def __init__(self, minor: int, what: str) -> None:
        super().__init__((2, minor))
        self.what = what


def edges(spans: Iterable[Span]) -> set[Version]:
    """Return the microversions at which what holds in these spans comes or goes, and the first one."""
    found = {MINIMUM}
    for span in spans:
        after = (span.until[0], span.until[1] + 1)
        found |= {span.since, after} if span.until < MAXIMUM else {span.since}
    return found


def _sentences() -> Mapping[Version, str]:
    found: dict[Version, str] = {}
    for change in Since:
        found[change.since] = f"{found.get(change.since, '')} {change.what}".strip()
    return found


VERSIONS: Mapping[Version, str] = _sentences()
"""Every microversion that is served and what it changed, for the routes that are served and the others.

A version is served only if its change, and every earlier one's, holds for the routes that are served.
"""
