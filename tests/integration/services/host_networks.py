"""The networks of hosts: a wire between two, and windows to what listens on loopback here."""

import socket
import threading
from collections.abc import Iterable

from tests.integration.compute.networked import in_network
from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.process import run

ADDRESSES = ("10.250.0.1", "10.250.0.2")
"""Of the two ends of the wire."""
_LINKS = ("wire1", "wire2")


def connect(hosts: tuple[Libvirtd, Libvirtd]) -> None:
    """Lay a wire between two hosts."""
    first, second = (str(host.network) for host in hosts)
    here, there = _LINKS
    add = ("ip", "link", "add", here, "type", "veth", "peer", "name", there)
    run(["nsenter", f"--net={first}", *add, "netns", second.split("/")[2]])
    for network, link, address in zip((first, second), _LINKS, ADDRESSES, strict=True):
        inside = ("nsenter", f"--net={network}", "ip")
        run([*inside, "address", "add", f"{address}/30", "dev", link])
        run([*inside, "link", "set", link, "up"])


class Windows:
    """Ports of loopback that a host sees as if it had no network of its own."""

    def __init__(self, host: Libvirtd, ports: Iterable[int]) -> None:
        self._listening = []
        for port in ports:
            with in_network(host.network):
                listener = socket.create_server(("127.0.0.1", port))
            self._listening.append(listener)
            _begin(self._serve, listener, port)

    def stop(self) -> None:
        """Take no more connections."""
        for listener in self._listening:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                near.close()
                continue
            _begin(_pass_on, near, far)
            _begin(_pass_on, far, near)


def _begin(work: object, *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes until it ends; then this direction is closed, and the other one lives on."""
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            end.close()
