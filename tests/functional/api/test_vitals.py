"""``GET /kilonova/v1/vitals``: how servers are, as their hosts told."""

from typing import Any

from kilonova.core.clock import utcnow
from kilonova.core.ids import InstanceUuid, ProjectId
from kilonova.core.instance import Nic
from kilonova.core.states import VmState
from kilonova.core.vitals import Allowance, Amounts, CpuUse, HostVitals, Share, Vitals
from kilonova.db import hosts, instances
from tests.functional.api.api_case import ANN
from tests.functional.api.test_decisions import OwnApiCase
from tests.functional.db.servers import H1, H2, placed

NOW = utcnow()
NIC = Nic(
    network="net",
    network_id="22222222-2222-4222-8222-222222222222",
    mac="fa:16:3e:00:00:01",
    address="198.51.100.9",
    prefix=24,
    gateway="198.51.100.1",
    dns="198.51.100.1",
)


class VitalsTest(OwnApiCase):
    """Two servers on a host that told of both, and of one that is gone; one on a silent host."""

    def setUp(self) -> None:
        super().setUp()
        active = {"vm_state": VmState.ACTIVE, "task_state": None, "availability_zone": "z"}
        self.one, self.two, self.three = (
            placed(**active, host=host, project_id=ProjectId(project)).instance
            for host, project in ((H1, "p"), (H1, "q"), (H2, "p"))
        )
        rows = [
            placed(**active, uuid=one.uuid, host=one.host, project_id=one.project_id,
                   access_ipv4="192.0.2.7" if one is self.one else None,
                   nics=(NIC,) if one is self.one else ())
            for one in (self.one, self.two, self.three)
        ]  # fmt: skip
        instances.insert(self.cell_db, rows)
        full = Vitals(
            instance_uuid=self.one.uuid,
            at=NOW,
            state="running",
            uptime=77,
            load=(0.5, 0.25, 0.125),
            cpu=CpuUse(total=25.0, user=20.0),
            memory=Share(100, 512),
            system_disk=Share(10, 1024),
            read_bytes=5,
            above=(Allowance.DISK,),
        )
        others = [
            Vitals(instance_uuid=uuid, at=NOW, state="shutdown")
            for uuid in (self.two.uuid, InstanceUuid("00000000-0000-4000-8000-99999999999f"))
        ]
        word = HostVitals(
            at=NOW,
            used=Amounts(cpus=0.5, memory_mb=100, disk_gb=1),
            reserved=Amounts(cpus=2.0, memory_mb=1024, disk_gb=2),
            servers=(full, *others),
        )
        for host, told in ((H1, word), (H2, None)):
            hosts.beat(self.cell_db, (hosts.COMPUTE, host, "compute"), None, NOW, told)

    def found(self, query: str = "") -> Any:
        """Return what is told of servers."""
        return self.own_asked(200, "GET", f"/vitals{query}")

    def ids(self, query: str) -> list[str]:
        """Return the servers that a query finds."""
        return [one["id"] for one in self.found(query)["vitals"]]

    def test_a_server_is_told_whole_and_what_is_not_known_is_null(self) -> None:
        told = self.found()
        first, second, third = told["vitals"]
        self.assertEqual(
            {
                "id": self.one.uuid,
                "name": "vm",
                "project_id": "p",
                "status": "ACTIVE",
                "host": "h1",
                "availability_zone": "z",
                "addresses": ["198.51.100.9", "192.0.2.7"],
                "created_at": first["created_at"],
                "at": NOW.isoformat(),
                "power": "running",
                "uptime": 77,
                "load": [0.5, 0.25, 0.125],
                "cpu": {"total": 25.0, "user": 20.0, "system": None, "wait": None},
                "memory": {"used": 100, "size": 512},
                "swap": None,
                "system_disk": {"used": 10, "size": 1024},
                "ephemeral_disk": None,
                "persistent_disk": None,
                "read_bytes": 5,
                "written_bytes": None,
                "received_bytes": None,
                "sent_bytes": None,
                "above": ["disk"],
            },
            first,
        )
        self.assertEqual(("shutdown", None), (second["power"], second["cpu"]))
        self.assertEqual((None, None, "h2"), (third["power"], third["at"], third["host"]))
        self.assertEqual([], told["silent"])

    def test_hosts_are_told_in_sum(self) -> None:
        self.assertEqual(
            [
                {
                    "host": "h1",
                    "at": NOW.isoformat(),
                    "used": {"cpus": 0.5, "memory_mb": 100, "disk_gb": 1},
                    "reserved": {"cpus": 2.0, "memory_mb": 1024, "disk_gb": 2},
                }
            ],
            self.found()["hosts"],
        )

    def test_servers_are_found_by_host_and_project_and_page_by_page(self) -> None:
        one, two, three = self.one.uuid, self.two.uuid, self.three.uuid
        for query, expected in (
            ("", [one, two, three]),
            ("?host=h1", [one, two]),
            ("?project=p", [one, three]),
            ("?host=h1&project=p", [one]),
            ("?host=h9", []),
            ("?limit=2", [one, two]),
            (f"?limit=2&marker={two}", [three]),
        ):
            self.assertEqual(expected, self.ids(query), query)
        self.assertEqual(two, self.found("?limit=2")["next_marker"])
        self.assertNotIn("next_marker", self.found())

    def test_a_query_that_means_nothing_is_refused_by_name(self) -> None:
        for query, says in (
            ("?limit=0", "limit"),
            ("?limit=10001", "limit"),
            ("?limit=x", "limit"),
            ("?host=%00", "NUL"),
            ("?colour=blue", "colour"),
            ("?host=a&host=b", "host"),
        ):
            fault = self.own_asked(400, "GET", f"/vitals{query}")["badRequest"]
            self.assertIn(says, fault["message"])

    def test_only_administrators_see_them(self) -> None:
        fault = self.own_asked(403, "GET", "/vitals", token=ANN)["forbidden"]
        self.assertIn("kilonova:vitals:list", fault["message"])
