"""Visits a console by the URL that a user got, and prints what it says.

    console_client.py URL [WORDS UNTIL]

Of a screen it prints the greeting; on a line it types the words, and prints what comes until a text does.
"""

import sys
from urllib.parse import parse_qs, urlsplit

from websockets.sync.client import connect

_SECONDS = 20


def main() -> None:
    """Visit."""
    url = urlsplit(sys.argv[1])
    # A page of noVNC opens the websocket that its parameter tells.
    path = parse_qs(url.query).get("path", [f"?{url.query}"])[0]
    with connect(f"ws://{url.netloc}/{path}", origin=f"http://{url.netloc}") as visit:
        said = ""
        if len(sys.argv) > 2:
            visit.send(sys.argv[2] + "\n")
        until = sys.argv[3] if len(sys.argv) > 3 else "\n"
        while until not in said:
            heard = visit.recv(timeout=_SECONDS)
            said += heard if isinstance(heard, str) else heard.decode(errors="replace")
        print(said)


if __name__ == "__main__":
    main()
