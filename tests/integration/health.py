"""What a deployment's services say of themselves, over HTTP or on their sockets."""

import json
import socket

import requests

from tests.integration.deployment import Deployment


def ask(deployment: Deployment, name: str, path: str) -> tuple[int, str]:
    """Ask a service over HTTP, or on its socket if it has none; return its status and its words."""
    if name in ("api", "placement"):
        ports = {"api": deployment.compute_port, "placement": deployment.placement_port}
        answer = requests.get(f"http://127.0.0.1:{ports[name]}{path}", timeout=60)
        return answer.status_code, answer.text
    program = "compute" if name == "fake" else name
    (found,) = deployment.directory.glob(f"*state/kilonova-{program}-*.sock")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(found))
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), body


def missing(deployment: Deployment, name: str) -> set[str]:
    """Return the dependencies that a service says are not ok."""
    status, body = ask(deployment, name, "/healthcheck")
    found = {one for one, state in json.loads(body)["dependencies"].items() if state != "ok"}
    if (status == 200) != (not found):
        raise AssertionError(f"{name} answers {status}, and says {body}")
    return found
