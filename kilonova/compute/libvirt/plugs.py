"""The host's side of ports: what connects the end of a card to the network.

Bridges are made here; what is to be done on switches of Open vSwitch's is os-vif's to do, whose own options
(``[os_vif_ovs]``) are read from the service's files. This service may change the host's network.
"""

import logging
import socket
import threading
from typing import Any

from oslo_config import cfg

from kilonova.compute.libvirt import tool
from kilonova.compute.libvirt.elements.nics import bridge_of, switch_of
from kilonova.core.errors import BuildFailed
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Nic, Plug

LOG = logging.getLogger(__name__)

_KINDS = ("bridge", "ovs", "tap")


class Plugs:
    """Connects cards. Every method may be repeated."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._switches: _Switches | None = None

    def connect(self, uuid: InstanceUuid, nic: Nic) -> None:
        """See that this host has what a card is plugged into.

        Raises:
            BuildFailed: it has not.
        """
        plug = nic.plug
        if plug is None or plug.kind not in _KINDS:
            what = plug.kind if plug else "no"
            raise BuildFailed(
                f"Port {nic.port_id} needs a plug of kind {what}, which this host has not."
            )
        if plug.kind == "ovs":
            self._open().plug(uuid, nic, plug)
        elif plug.kind == "bridge":
            _ensure_bridge(bridge_of(nic, plug), nic)

    def disconnect(self, uuid: InstanceUuid, nic: Nic) -> None:
        """Take away what was made for one card alone. What cannot be is told in the log."""
        if nic.plug is None or nic.plug.kind != "ovs":
            return
        try:
            self._open().unplug(uuid, nic, nic.plug)
        except BuildFailed as error:
            LOG.warning("What port %s was plugged into is left: %s", nic.port_id, error.in_full)

    def _open(self) -> "_Switches":
        with self._lock:
            if self._switches is None:
                self._switches = _Switches(self._conf)
            return self._switches


def _ensure_bridge(bridge: str, nic: Nic) -> None:
    """Make the bridge of a network that has no guest here yet. The host itself has no address on it."""
    if _is_there(bridge):
        return
    try:
        tool.run(
            *("ip", "link", "add", "name", bridge, "mtu", str(nic.mtu)),
            *("type", "bridge", "forward_delay", "0"),
        )
        tool.run("ip", "link", "set", bridge, "addrgenmode", "none")
        tool.run("ip", "link", "set", bridge, "up")
    except tool.ToolFailed as error:
        if not _is_there(bridge):
            raise BuildFailed(f"The bridge of port {nic.port_id} cannot be made.") from error


def _is_there(link: str) -> bool:
    try:
        socket.if_nametoindex(link)
    except OSError:
        return False
    return True


class _Switches:
    """Open vSwitch, through os-vif."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        try:
            # Imported here: only hosts with such switches have it.
            import os_vif  # noqa: PLC0415
            from vif_plug_ovs import privsep  # noqa: PLC0415
        except ImportError as error:
            raise BuildFailed(
                "This host has no os-vif, which ports of Open vSwitch need."
            ) from error
        # os-vif knows no other configuration than oslo.config's own.
        cfg.CONF([], project="kilonova", default_config_files=list(conf.config_file or ()))
        # What takes privileges is done here: this service has them, as it makes bridges, too.
        privsep.vif_plug.set_client_mode(False)
        os_vif.initialize()
        self._os_vif: Any = os_vif

    def plug(self, uuid: InstanceUuid, nic: Nic, plug: Plug) -> None:
        """Connect a card to its switch, as far as libvirt does not do that.

        Raises:
            BuildFailed: the switch does not do it.
        """
        try:
            self._os_vif.plug(self._vif(nic, plug), self._owner(uuid))
        except self._os_vif.exception.ExceptionBase as error:
            raise BuildFailed(f"The switch of port {nic.port_id} does not take it.") from error

    def unplug(self, uuid: InstanceUuid, nic: Nic, plug: Plug) -> None:
        """Take a card off its switch.

        Raises:
            BuildFailed: the switch does not do it.
        """
        try:
            self._os_vif.unplug(self._vif(nic, plug), self._owner(uuid))
        except self._os_vif.exception.ExceptionBase as error:
            raise BuildFailed(f"The switch of port {nic.port_id} does not let it go.") from error

    def _owner(self, uuid: InstanceUuid) -> Any:
        return self._os_vif.objects.instance_info.InstanceInfo(uuid=uuid, name=uuid)

    def _vif(self, nic: Nic, plug: Plug) -> Any:
        objects = self._os_vif.objects
        switch = switch_of(plug)
        profile = objects.vif.VIFPortProfileOpenVSwitch(
            interface_id=nic.port_id, datapath_type=plug.datapath or "system"
        )
        network = objects.network.Network(id=nic.network_id, bridge=switch, mtu=nic.mtu)
        common = {
            "id": nic.port_id,
            "address": nic.mac,
            "network": network,
            "plugin": "ovs",
            "port_profile": profile,
            "vif_name": plug.device,
            "bridge_name": bridge_of(nic, plug),
        }
        kind = objects.vif.VIFBridge if plug.hybrid else objects.vif.VIFOpenVSwitch
        return kind(**common)
