"""The cloud that a command asks: found as OpenStack's clients find theirs, and asked under its user's name.

Knows no path of any API but the root of kilonova's own.
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import exceptions, loading, session

from kilonova.core.errors import Forbidden, Invalid, KilonovaError, NotFound, Unavailable

_VERSION = "2.96"
_TIMEOUT = 120
_CLOUDS = (
    Path("clouds.yaml"),
    Path("~/.config/openstack/clouds.yaml"),
    Path("/etc/openstack/clouds.yaml"),
)
_DOMAINS = ("user_domain_id", "user_domain_name", "project_domain_id", "project_domain_name")


class Refused(KilonovaError):
    """An API refused what a command asked."""

    code = "refused"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which cloud; without any, the OS_* variables say it."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--os-cloud", default=os.environ.get("OS_CLOUD"), help="a cloud of clouds.yaml ($OS_CLOUD)"
    )
    where.add_argument("--endpoint", help="the Compute API of a noauth2 deployment")
    parser.add_argument(
        "--token", default="admin:bench", help="user:project, with --endpoint (%(default)s)"
    )
    parser.add_argument(
        "--clouds-file",
        type=Path,
        default=os.environ.get("OS_CLIENT_CONFIG_FILE"),
        help="instead of clouds.yaml here or where clients look for it",
    )


class Cloud:
    """A session with a cloud, and where its Compute API is."""

    def __init__(self, http: session.Session, compute: str, region: str | None = None) -> None:
        self._http = http
        self._region = region
        self.compute = compute.rstrip("/")

    @property
    def token(self) -> str:
        """A token with which the APIs may be asked."""
        return str(self._http.get_token() or "")

    @property
    def own(self) -> str:
        """The root of kilonova's own API, which is served beside the Compute API."""
        return re.sub(r"/v2(\.\d+)?(/[^/]*)?$", "", self.compute) + "/kilonova/v1"

    def image(self) -> str:
        """Return where the Image API is.

        Raises:
            Invalid: the catalog has none.
        """
        found = self._http.get_endpoint(service_type="image", region_name=self._region)
        if not found:
            raise Invalid("The catalog has no image service: give the image's id.")
        return re.sub(r"/v2(\.\d+)?$", "", str(found).rstrip("/")) + "/v2"

    def ask(self, method: str, url: str, body: Any = None) -> Any:
        """Return what an API answers; None where that is nothing.

        Raises:
            NotFound, Forbidden, Refused: it refused, with its sentence.
            Unavailable: it does not answer.
        """
        answer = self._answer(method, url, body)
        return answer.json() if answer.content else None

    def lines(self, url: str) -> list[Any]:
        """Return what an API answers with one JSON value a line.

        Raises:
            NotFound, Forbidden, Refused, Unavailable: as ``ask``.
        """
        return [json.loads(line) for line in self._answer("GET", url).content.splitlines()]

    def _answer(self, method: str, url: str, body: Any = None) -> Any:
        headers = {"OpenStack-API-Version": f"compute {_VERSION}"}
        try:
            answer = self._http.request(
                url, method, json=body, headers=headers, timeout=_TIMEOUT, raise_exc=False
            )
        except exceptions.ClientException as error:
            raise Unavailable(f"{method} {url}: {error}") from error
        if answer.status_code < 400:
            return answer
        kind = {403: Forbidden, 404: NotFound}.get(answer.status_code, Refused)
        raise kind(_said(answer))


def _said(answer: Any) -> str:
    """Return the sentence of a fault, whatever its shape."""
    try:
        body = answer.json()
        fault = next(iter(body.values()))
        return str(fault["message"])
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return f"{answer.url} answered {answer.status_code}: {answer.text[:300]}"


def connect(options: argparse.Namespace) -> Cloud:
    """Return the cloud that the options, or the OS_* variables, name.

    Raises:
        Invalid: they name none, or clouds.yaml does not have it.
        Unavailable: Keystone refused, or does not answer.
    """
    try:
        if options.endpoint:
            return _noauth(options.endpoint, options.token)
        described = _of_file(options) if options.os_cloud else _of_environment()
        return _described(described)
    except exceptions.MissingRequiredOptions as error:
        raise Invalid(f"{options.os_cloud or 'The OS_* variables'}: {error}") from error
    except (exceptions.ClientException, exceptions.NoMatchingPlugin) as error:
        raise Unavailable(f"Keystone: {error}") from error


def _noauth(endpoint: str, token: str) -> Cloud:
    auth = loading.get_plugin_loader("admin_token").load_from_options(
        endpoint=endpoint, token=token
    )
    return Cloud(session.Session(auth), endpoint)


def _described(cloud: Mapping[str, Any]) -> Cloud:
    """Return the cloud of an entry in the form of clouds.yaml."""
    loader = loading.get_plugin_loader(cloud.get("auth_type") or "password")
    given = {str(name).replace("-", "_"): value for name, value in cloud["auth"].items()}
    known = {option.dest for option in loader.get_options()}
    values = {name: value for name, value in given.items() if name in known}
    if "default_domain_id" in known and not any(name in values for name in _DOMAINS):
        values["default_domain_id"] = "default"
    verify = cloud.get("cacert") or cloud.get("verify", True)
    http = session.Session(loader.load_from_options(**values), verify=verify)
    region = cloud.get("region_name")
    compute = http.get_endpoint(
        service_type="compute", interface=cloud.get("interface") or "public", region_name=region
    )
    if not compute:
        raise Invalid("The catalog has no compute service")
    return Cloud(http, str(compute), region)


def _of_file(options: argparse.Namespace) -> Mapping[str, Any]:
    path = _clouds_file(options)
    try:
        cloud = yaml.safe_load(path.read_text())["clouds"][options.os_cloud]
        return {**cloud, "auth": dict(cloud["auth"])}
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        raise Invalid(f"{path}: cloud {options.os_cloud}: {error}") from error


def _clouds_file(options: argparse.Namespace) -> Path:
    if options.clouds_file:
        return Path(options.clouds_file)
    found = (path.expanduser() for path in _CLOUDS)
    return next((path for path in found if path.exists()), _CLOUDS[0])


def _of_environment() -> Mapping[str, Any]:
    variables = dict(_variables())
    if not {"auth_url", "endpoint"} & variables.keys():
        raise Invalid("Say which cloud: --os-cloud, --endpoint, or the OS_* variables.")
    top = ("auth_type", "region_name", "interface", "cacert")
    return {name: variables.get(name) for name in top} | {"auth": variables}


def _variables() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if name.startswith("OS_") and value:
            yield name.removeprefix("OS_").lower(), value
