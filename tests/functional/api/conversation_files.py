"""Reads the conversations of ``conversations/``, whose form its README tells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent / "conversations"
Doc = dict[str, Any]
_VERSION = "openstack-api-version"


class _Loader(yaml.CSafeLoader):
    """Reads numbers with a point as text, so that 2.10 is not 2.1."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":float")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def names() -> list[str]:
    """Return the names of all conversations."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def read(name: str) -> Doc:
    """Return a conversation, its requests in the form that gabbi reads."""
    told: Doc = yaml.load((HERE / f"{name}.yaml").read_text(), _Loader)  # noqa: S506 - safe
    root = told.pop("root", "/v2.1")
    usual = {"as": told.pop("as", None), "at": told.pop("at", "latest")}
    told["tests"] = [_request(usual | test, root) for test in told["tests"]]
    told.pop("vars", None)
    return told


def _request(told: Mapping[str, Any], root: str) -> Doc:
    """Return one request: with its headers, below the root, expecting what it ``says``."""
    test = dict(told)
    who, version, says = test.pop("as"), test.pop("at"), test.pop("says", None)
    headers = {"content-type": "application/json", "accept": "application/json"}
    if version is not None:
        headers[_VERSION] = f"compute {version}"
    if who is not None:
        headers["x-auth-token"], *roles = who.split(" ")
        headers |= {"x-roles": ",".join(roles)} if roles else {}
    test["request_headers"] = headers | test.get("request_headers", {})
    if says is not None:
        test["response_strings"] = [says, *test.get("response_strings", ())]
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"):
        if method in test and test[method].startswith("/"):
            test[method] = root + test[method]
    return test
