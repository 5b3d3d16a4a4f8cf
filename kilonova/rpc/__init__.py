"""Every message of the system, and the bus that carries them."""

import sys

# oslo.service, which oslo.messaging needs, installs eventlet, and libraries that find it import it.
# kilonova runs on native threads only, so here it cannot be found.
sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]

from oslo_service import backend  # noqa: E402 - only after eventlet is out of reach

backend.init_backend(backend.BackendType.THREADING)
