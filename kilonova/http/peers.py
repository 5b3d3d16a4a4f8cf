"""What clients of peer services have in common: how a service is found, in whose name it is asked, and what
its refusals are here."""

import re
from typing import Any

import msgspec
from keystoneauth1 import adapter
from keystoneauth1 import loading as ks_loading
from oslo_config import cfg

from kilonova.core.errors import Conflict, Forbidden, Invalid, KilonovaError, NotFound

_PROJECT = re.compile(r"(.*/v[0-9.]+)/[^/]+")
"""The URLs of some deployments end in the project whose token is used."""
_KINDS: dict[int, type[KilonovaError]] = {
    400: Invalid, 403: Forbidden, 409: Conflict, 413: Forbidden, 429: Forbidden
}  # fmt: skip


class Asker(msgspec.Struct, frozen=True):
    """A user on whose behalf something is asked: the token, and the project that it is for."""

    token: str
    project_id: str

    def __repr__(self) -> str:
        return f"Asker(project_id={self.project_id!r})"


def found_by(conf: cfg.ConfigOpts, group: str, service_type: str) -> adapter.Adapter:
    """Return an adapter from a group whose options are keystoneauth1's."""
    _register(conf, group, service_type)
    auth = ks_loading.load_auth_from_conf_options(conf, group)
    session = ks_loading.load_session_from_conf_options(conf, group, auth=auth)
    return ks_loading.load_adapter_from_conf_options(conf, group, session=session)


def _register(conf: cfg.ConfigOpts, group: str, service_type: str) -> None:
    ks_loading.register_session_conf_options(conf, group)
    ks_loading.register_auth_conf_options(conf, group)
    ks_loading.register_adapter_conf_options(conf, group)
    conf.set_default("service_type", service_type, group)


def found_if_there(conf: cfg.ConfigOpts, group: str, service_type: str) -> adapter.Adapter | None:
    """Return the same, or None without ``auth_type``: then there is no such service."""
    _register(conf, group, service_type)
    return found_by(conf, group, service_type) if conf[group].auth_type else None


def root_for(endpoint: str, asker: Asker | None) -> str:
    """Return a service's root for whoever asks."""
    root = endpoint.rstrip("/")
    with_project = _PROJECT.fullmatch(root)
    if asker is not None and with_project is not None:
        return f"{with_project[1]}/{asker.project_id}"
    return root


def refusal(answer: Any, missing: str, unavailable: KilonovaError) -> KilonovaError:
    """Return the error for an answer: in the service's words where it has any, ``missing`` for a 404, and
    ``unavailable`` for what is no refusal."""
    status = answer.status_code
    if status == 404:
        return NotFound(missing)
    if status not in _KINDS:
        return unavailable
    return _KINDS[status](_words(answer) or unavailable.message)


def _words(answer: Any) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    fault = next(iter(body.values()), None) if isinstance(body, dict) else None
    return str(fault.get("message", "")) if isinstance(fault, dict) else ""
