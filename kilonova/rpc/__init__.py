"""Every message of the system, and the bus that carries them."""

from oslo_service import backend

# oslo.messaging imports oslo.service, whose own choice would be eventlet.
backend.init_backend(backend.BackendType.THREADING)
