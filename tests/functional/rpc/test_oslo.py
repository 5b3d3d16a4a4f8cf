"""The bus over oslo.messaging, on the transport that it has for one process."""

import uuid

from kilonova.core import settings
from kilonova.rpc.bus import Bus
from kilonova.rpc.oslo import OsloBus
from tests.unit.rpc import bus_case


class OsloBusTest(bus_case.BusCase):
    """What every bus does."""

    def open_bus(self) -> Bus:
        """Return a bus whose exchange no other test uses."""
        conf = settings.new_config()
        conf([])
        return OsloBus(conf, f"fake://{uuid.uuid4()}")
