"""Each weigher through every service: of three hosts that all fit, the one that it likes best is chosen.

A weigher is a row of ``ROWS``, which reads as a sentence. Nothing counts but what a row says: it sets the
multiplier in the metadata of an aggregate that all hosts are in. The host that is liked is the same for all
rows; with the opposite multiplier it is the last to be chosen.
"""

from typing import NamedTuple

from tests.functional.pipeline.choice_case import ChoiceCase, host_name

LIKED, OTHERS = host_name(1), (host_name(0), host_name(2))
_NOTHING = "\n".join(
    f"{name}_weight_multiplier = 0"
    for name in (
        "ram",
        "cpu",
        "disk",
        "io_ops",
        "num_instances",
        "build_failure",
        "hypervisor_version",
        "pci",
        "image_props",
    )
)


class Row(NamedTuple):
    """What is weighed, under which key, and with which multiplier the host is liked."""

    what: str
    key: str
    multiplier: float
    flavor: str = "1"
    image: str = ""


ROWS = (
    # First, while builds that failed are the last there were, and while something is being built.
    Row("BuildFailureWeigher: no builds that failed", "build_failure", 1),
    Row("IoOpsWeigher: the fewest servers being built", "io_ops", -1),
    Row("NumInstancesWeigher: the fewest servers", "num_instances", -1),
    Row("RAMWeigher: the most free memory", "ram", 1),
    Row("CPUWeigher: the most free VCPUs", "cpu", 1),
    Row("DiskWeigher: the most free disk", "disk", 1),
    Row("HypervisorVersionWeigher: the newest", "hypervisor_version", 1),
    Row("MetricsWeigher: the lowest temperature", "metrics", 1),
    Row("PCIWeigher: the most devices, for who asks for one", "pci", 1, flavor="device"),
    Row("PCIWeigher: the fewest devices, for who asks for none", "pci", -1),
    Row("ImagePropertiesWeigher: servers of like images", "image_props", 1, image="debian"),
)


class WeighersTest(ChoiceCase):
    """Three hosts, of which the second is liked for whatever counts."""

    script = [
        {
            "step": "report",
            "host": LIKED,
            "report": {
                "pci": [{"alias": "gpu", "free": 64}],
                "metrics": {"temperature": 20.0},
                "hypervisor_version": 7,
                "memory_mb": 60_000,
            },
        },
        {
            "step": "report",
            "report": {
                "pci": [{"alias": "gpu", "free": 32}],
                "metrics": {"temperature": 40.0},
                "memory_mb": 50_000,
            },
        },
        {"step": "spawn", "server": "unlucky", "error": "out of luck"},
        {"step": "spawn", "server": "slow", "seconds": 4.0},
    ]
    more = (
        f"[filter_scheduler]\n{_NOTHING}\n[metrics]\nweight_setting = temperature=-1\n"
        "[DEFAULT]\nreport_interval = 1\n[quota]\ninstances = -1\ncores = -1\nram = -1\n"
    )

    def setUp(self) -> None:
        super().setUp()
        # Metrics alone have no multiplier that a configuration could turn off.
        everywhere = {"metrics_weight_multiplier": "0"}
        self.everywhere = self.add_aggregate("everywhere", [LIKED, *OTHERS], **everywhere)
        self.add_flavor("device", {"pci_passthrough:alias": "gpu:1"})
        self.add_flavor("ballast", {}, vcpus=16, ram=1024, disk=100)
        self.images = {"": self.image, "debian": self.add_image({"os_distro": "debian"})}
        for host in OTHERS:
            for _ in range(3):
                self.host_of(self._put(host, flavorRef="ballast"))
            self.why_not(self._put(host, name="unlucky"))
        for host in OTHERS:
            self._put(host, name="slow")
        self.host_of(self._put(LIKED, imageRef=self.images["debian"]))
        self.until("the scheduler knows of all this", self._is_known)

    def _put(self, host: str, **server: str) -> str:
        return self.request({"availability_zone": f"nova:{host}"} | server, {})

    def _is_known(self) -> bool:
        return self.reported() == {
            LIKED: (1, 0, 0, {"os_distro=debian": 1}),
            OTHERS[0]: (4, 1, 1, {}),
            OTHERS[1]: (4, 1, 1, {}),
        }

    def _chosen(self, row: Row, multiplier: float) -> str:
        key = f"{row.key}_weight_multiplier"
        self.set_metadata(self.everywhere, {key: str(multiplier)})
        self.see()
        wanted = {"flavorRef": row.flavor, "imageRef": self.images[row.image]}
        host = self.host_of(self.request(wanted, {}))
        self.set_metadata(self.everywhere, {key: "0"})
        return host

    def test_the_host_that_a_weigher_likes_is_chosen(self) -> None:
        for row in ROWS:
            self.assertEqual(LIKED, self._chosen(row, row.multiplier), row.what)
            self.assertIn(self._chosen(row, -row.multiplier), OTHERS, row.what)
        ram = next(row for row in ROWS if row.key == "ram")
        self.set_enabled(LIKED, enabled=False)
        self.see()
        self.assertIn(self._chosen(ram, ram.multiplier), OTHERS)
