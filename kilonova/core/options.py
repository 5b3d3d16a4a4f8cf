"""Every option that kilonova adds to the libraries' own, under OpenStack's usual names where one exists."""

import socket

from oslo_config import cfg, types

_DEFAULT = [
    cfg.HostAddressOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<the machine's host name>",
        help="The name of this compute host in the deployment.",
    ),
    cfg.StrOpt("state_path", default="/var/lib/kilonova", help="Where services keep their files."),
    cfg.StrOpt(
        "instances_path",
        default="$state_path/instances",
        help="Where a compute host keeps its servers' disks and console logs.",
    ),
    cfg.HostAddressOpt("my_ip", default="127.0.0.1", help="The address of this host."),
    cfg.StrOpt(
        "default_availability_zone",
        default="nova",
        help="The zone of hosts that are in no aggregate with a zone.",
    ),
    cfg.StrOpt(
        "default_schedule_zone",
        help="The zone of servers whose request names none; without it, any zone.",
    ),
    cfg.IntOpt("report_interval", default=5, min=1, help="Seconds between a host's signs of life."),
    cfg.IntOpt(
        "service_down_time",
        default=15,
        min=2,
        help="Seconds without a sign of life after which a host counts as down.",
    ),
    cfg.IntOpt(
        "instance_build_timeout",
        default=600,
        min=0,
        help="Seconds after which a server that is still building becomes ERROR; 0 is never.",
    ),
    cfg.IntOpt(
        "reclaim_instance_interval",
        default=0,
        min=0,
        help="Seconds for which a deleted server can be restored; 0 is not at all.",
    ),
    cfg.IntOpt(
        "resize_confirm_window",
        default=0,
        min=0,
        help="Seconds after which a resize or a migration that nobody decided on is confirmed; 0 is never.",
    ),
    cfg.IntOpt(
        "converge_interval",
        default=10,
        min=1,
        help="Seconds between two rounds of the converger, which re-drives what stopped moving.",
    ),
    cfg.IntOpt(
        "max_concurrent_builds", default=10, min=1, help="Servers built at once by a compute host."
    ),
    cfg.IntOpt("reserved_host_memory_mb", default=512, min=0, help="MiB kept for the host."),
    cfg.IntOpt("reserved_host_disk_mb", default=0, min=0, help="MiB of disk kept for the host."),
    cfg.IntOpt("reserved_host_cpus", default=0, min=0, help="Host CPUs kept for the host."),
    cfg.FloatOpt("cpu_allocation_ratio", default=4.0, min=0.1, help="VCPUs sold per host CPU."),
    cfg.FloatOpt("ram_allocation_ratio", default=1.0, min=0.1, help="MiB sold per MiB."),
    cfg.FloatOpt("disk_allocation_ratio", default=1.0, min=0.1, help="GiB sold per GiB."),
    cfg.BoolOpt(
        "allow_noauth_on_any_address",
        default=False,
        help="Let a service with auth_strategy=noauth2 listen on an address that is not loopback. "
        "Anybody who reaches it is whoever they say they are.",
    ),
]

_API = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=("keystone", "noauth2"),
        help="How the compute and placement APIs learn who asks.",
    ),
    cfg.IntOpt("max_limit", default=1000, min=1, help="The most items in one page of a list."),
    cfg.FloatOpt(
        "cell_timeout",
        default=2.0,
        min=0.1,
        help="Seconds that a list waits for a cell before it goes without it.",
    ),
    cfg.BoolOpt(
        "enable_instance_password",
        default=True,
        help="Answer a new server with an administrator's password.",
    ),
    cfg.StrOpt(
        "compute_link_prefix",
        help="Scheme, host and path that links in answers start with; without it, the request's.",
    ),
]


def _listener(port: int, what: str) -> list[cfg.Opt]:
    return [
        cfg.HostAddressOpt("bind_host", default="127.0.0.1", help=f"The address of the {what}."),
        cfg.PortOpt("bind_port", default=port, help=f"The port of the {what}."),
        cfg.IntOpt("workers", default=2, min=1, help="Processes."),
        cfg.IntOpt("threads", default=8, min=1, help="Threads in each process."),
    ]


def _database(what: str) -> list[cfg.Opt]:
    return [cfg.StrOpt("connection", secret=True, help=f"SQLAlchemy URL of {what}.")]


_CANDIDATES = [
    cfg.BoolOpt(
        "randomize_allocation_candidates",
        default=True,
        help="Answer with allocation candidates in random order, from anywhere in the fleet. "
        "Otherwise those who ask for a few of many always get the same.",
    ),
    cfg.IntOpt(
        "max_allocation_candidates",
        default=100000,
        min=1,
        help="The most allocation candidates in one answer, also to those who set no limit.",
    ),
]

_QUOTA = [
    cfg.IntOpt(name, default=default, min=-1, help=f"{help_} -1 is unlimited.")
    for name, default, help_ in (
        ("instances", 10, "Servers in a project."),
        ("cores", 20, "VCPUs in a project."),
        ("ram", 51200, "MiB of memory in a project."),
        ("key_pairs", 100, "Key pairs of a user."),
        ("metadata_items", 128, "Metadata items of a server."),
        ("server_groups", 10, "Server groups in a project."),
        ("server_group_members", 10, "Servers in a server group."),
    )
]

_SCHEDULER = [
    cfg.IntOpt(
        "max_placement_results",
        default=1000,
        min=1,
        help="The most allocation candidates that one decision looks at.",
    ),
    cfg.IntOpt(
        "max_attempts",
        default=3,
        min=1,
        help="Hosts that are tried for one server: its destination and its alternates.",
    ),
    cfg.ListOpt(
        "request_filters",
        item_type=types.String(choices=("availability_zone", "tenant_isolation", "image_type")),
        default=[],
        help="What Placement is asked beside resources and traits. availability_zone and "
        "tenant_isolation need the aggregates in Placement, image_type needs hosts with "
        "COMPUTE_IMAGE_TYPE traits.",
    ),
    cfg.IntOpt(
        "host_refresh_interval", default=2, min=1, help="Seconds between two looks at the hosts."
    ),
]

_WEIGHERS = (
    # (what it weighs, the usual multiplier, what the sign means)
    ("ram", 1.0, "free memory. Above 0 spreads, below 0 packs."),
    ("cpu", 1.0, "free VCPUs. Above 0 spreads, below 0 packs."),
    ("disk", 1.0, "free disk. Above 0 spreads, below 0 packs."),
    ("io_ops", -1.0, "servers being built or changed. Below 0 prefers idle hosts."),
    ("num_instances", 0.0, "servers on the host. Below 0 spreads, above 0 packs."),
    ("build_failure", 1000000.0, "builds that failed there lately. Above 0 avoids the host."),
    ("hypervisor_version", 1.0, "the hypervisor's version. Above 0 prefers newer ones."),
    ("pci", 1.0, "free PCI devices. Above 0 keeps them for servers that ask for some."),
    ("image_props", 0.0, "servers of like images. Above 0 packs, below 0 spreads them."),
    # More than all that is weighed by room together: a wish that an empty host outweighs is none.
    ("soft_affinity", 10.0, "members of the server's group, where its policy is soft-affinity."),
    ("soft_anti_affinity", 10.0, "members of the group, where its policy is soft-anti-affinity."),
    ("cross_cell_move", 1000000.0, "the cell. Above 0 keeps servers that move in theirs."),
)

_FILTER_SCHEDULER = [
    cfg.ListOpt(
        "enabled_filters",
        default=[
            "ComputeFilter",
            "AvailabilityZoneFilter",
            "ComputeCapabilitiesFilter",
            "ImagePropertiesFilter",
            "ServerGroupAntiAffinityFilter",
            "ServerGroupAffinityFilter",
        ],
        help="The filters, in the order in which they are asked. Those of server groups are always asked.",
    ),
    cfg.ListOpt(
        "weight_classes",
        default=["all_weighers"],
        help="The weighers, by name; all_weighers are all that come with kilonova.",
    ),
    *(
        cfg.FloatOpt(f"{name}_weight_multiplier", default=default, help=f"How much counts: {what}")
        for name, default, what in _WEIGHERS
    ),
    cfg.IntOpt(
        "host_subset_size",
        default=1,
        min=1,
        help="Pick among this many of the best hosts; equals are always shuffled.",
    ),
    cfg.IntOpt(
        "max_io_ops_per_host",
        default=8,
        min=1,
        help="Servers being built or changed at which IoOpsFilter refuses a host.",
    ),
    cfg.IntOpt(
        "max_instances_per_host",
        default=50,
        min=1,
        help="Servers at which NumInstancesFilter refuses a host.",
    ),
]

_METRICS = [
    cfg.ListOpt(
        "weight_setting", default=[], help="What MetricsWeigher counts, as NAME=MULTIPLIER."
    ),
]

_COMPUTE = [
    cfg.StrOpt("driver", default="libvirt", choices=("libvirt", "fake"), help="The hypervisor."),
    cfg.StrOpt(
        "cpu_dedicated_set",
        help="Host CPUs, such as 2-15,^7, that are set apart for servers with CPUs of their own (PCPU).",
    ),
]

_LIBVIRT = [
    cfg.StrOpt(
        "connection_uri",
        help="libvirt's URI of this host; qemu:///system, or lxc:///system for containers, without it.",
    ),
    cfg.StrOpt(
        "virt_type",
        default="kvm",
        choices=("kvm", "qemu", "lxc", "test"),
        help="The domain type. kvm needs a working /dev/kvm; qemu emulates and is slow; lxc runs "
        "containers; test goes with libvirt's own test:/// driver.",
    ),
    cfg.BoolOpt(
        "live_migration_permit_post_copy",
        default=False,
        help="Let a live migration that is forced to complete, or takes too long, start the server at its "
        "destination before all of its memory is there. It is never paused for long then, and is lost if "
        "either host dies meanwhile.",
    ),
]

_VNC = [
    cfg.URIOpt(
        "novncproxy_base_url",
        schemes=("http", "https"),
        help="How users reach kilonova-consoleproxy, with its page, such as "
        "https://consoles.example.org/vnc_auto.html; without it, port 6080 of the host by which they "
        "reach the API.",
    ),
]

_HA = [
    cfg.StrOpt(
        "evacuate_on_host_failure",
        default="never",
        choices=("never", "asked", "always"),
        help="Which servers of a dead host are started elsewhere: asked are those whose metadata, or whose "
        "flavor's extra specs, say kilonova:evacuate=true; always are all that do not say false.",
    ),
    cfg.StrOpt(
        "fence_command",
        help="A program that switches a host off, given its name and address, and exits 0 once it is.",
    ),
]

_NETWORK = [
    cfg.StrOpt(
        "provider",
        default="none",
        choices=("none", "libvirt", "neutron"),
        help="Where servers' network cards come from. none gives them none; libvirt gives each one in "
        "a network of its host's own, with a fixed address and the metadata service; neutron plugs them "
        "into ports of the network service that [neutron] says how to reach.",
    ),
    cfg.StrOpt(
        "fixed_range",
        default="10.77.0.0/24",
        help="The addresses of a host's network, for provider = libvirt; from /20 to /29.",
    ),
]

_NEUTRON = [
    cfg.StrOpt(
        "metadata_proxy_shared_secret",
        secret=True,
        help="What Neutron's metadata agents sign their requests with. With it the Compute API answers "
        "them, where it listens.",
    ),
]

_FAKE = [
    cfg.StrOpt(
        "script",
        help="A YAML file that says how many hosts the process plays, what each has, and which "
        "steps are slow or fail; see doc/fake-driver.md. Without it, one host that never fails.",
    ),
]

GROUPS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": _DEFAULT,
    "api": _API,
    "compute_api": _listener(8774, "Compute API"),
    "placement_api": _listener(8778, "Placement API") + _CANDIDATES,
    "api_database": _database("the API database"),
    "database": _database("this cell's database"),
    "placement_database": _database("Placement's database"),
    "quota": _QUOTA,
    "scheduler": _SCHEDULER,
    "filter_scheduler": _FILTER_SCHEDULER,
    "metrics": _METRICS,
    "compute": _COMPUTE,
    "libvirt": _LIBVIRT,
    "vnc": _VNC,
    "network": _NETWORK,
    "neutron": _NEUTRON,
    "ha": _HA,
    "fake": _FAKE,
}
"""Group -> options. ``[placement]``, ``[glance]`` and other peers have keystoneauth1's own options, too."""
