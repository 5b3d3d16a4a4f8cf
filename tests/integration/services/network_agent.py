"""What a network service's agents do on a host for one network: DHCP, and the way to the metadata.

The real ones take a broker and a plugin each; what is shown here is what they ask of the compute service.
"""

import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from tests.integration.compute.networked import in_network
from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.process import Process, run

_METADATA = "169.254.169.254"


class NetworkAgent:
    """Serves the ports of a network on a host; ``router`` is its own address there."""

    def __init__(self, directory: Path, host: Libvirtd, network: str, router: str) -> None:
        self._directory = directory
        self._host = host
        self._bridge = f"brq{network[:11]}"
        self._router = router
        self._dhcp: Process | None = None
        self._server: ThreadingHTTPServer | None = None

    def start(self, ports: list[dict[str, Any]]) -> None:
        """Make the bridge, which guests find there, and give each port its address."""
        self._directory.mkdir(parents=True)
        for command in (
            ("link", "add", self._bridge, "type", "bridge", "forward_delay", "0"),
            ("address", "add", f"{self._router}/24", "dev", self._bridge),
            ("address", "add", f"{_METADATA}/32", "dev", self._bridge),
            ("link", "set", self._bridge, "up"),
        ):
            run([*self._inside(), "ip", *command])
        given = [
            f"--dhcp-host={port['mac_address']},{port['fixed_ips'][0]['ip_address']}"
            for port in ports
        ]
        self._dhcp = Process(
            "dnsmasq",
            [
                *(*self._inside(), "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
                *("--port=0", f"--interface={self._bridge}", "--bind-interfaces", "--user=root"),
                *(
                    f"--dhcp-range={self._router},static",
                    f"--dhcp-leasefile={self._directory}/leases",
                ),
                *(f"--dhcp-option=3,{self._router}", "--no-ping", "--pid-file=", *given),
            ],
            log=self._directory / "dnsmasq.log",
        )

    def tell(self, network_url: str, token: str, compute_url: str, secret: str) -> None:
        """Pass on what guests ask of their metadata to ``compute_url``, signed with ``secret``.

        Whose address it is that asks, ``network_url`` tells who has ``token``.
        """

        class Asks(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = self.client_address[0]
                found = requests.get(
                    f"{network_url}/v2.0/ports",
                    params={"fixed_ips": f"ip_address={address}"},
                    headers={"X-Auth-Token": token},
                    timeout=60,
                ).json()["ports"]
                (port,) = found
                server = port["device_id"]
                signature = hmac.new(secret.encode(), server.encode(), "sha256").hexdigest()
                answer = requests.get(
                    compute_url + self.path,
                    headers={
                        "X-Instance-ID": server,
                        "X-Tenant-ID": port["project_id"],
                        "X-Instance-ID-Signature": signature,
                        "X-Forwarded-For": address,
                    },
                    timeout=60,
                )
                self.send_response(answer.status_code)
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with in_network(self._host.network):
            self._server = ThreadingHTTPServer((_METADATA, 80), Asks)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End both."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        if self._dhcp:
            self._dhcp.stop()

    def _inside(self) -> list[str]:
        return ["nsenter", f"--net={self._host.network}"]
