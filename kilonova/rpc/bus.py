"""The bus: how a message reaches the service that handles it.

Owns encoding, dispatch by message name, and the way an error travels back. What carries the bytes is
behind ``Bus``: oslo.messaging (rpc/oslo.py) or this process's memory (rpc/memory.py).
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import msgspec

from kilonova.core import errors
from kilonova.core.context import RequestContext, log_under
from kilonova.core.ids import HostName
from kilonova.rpc import messages
from kilonova.rpc.messages import Message, Topic

LOG = logging.getLogger(__name__)

R = TypeVar("R", bound=msgspec.Struct)

DEFAULT_TIMEOUT = 60.0
"""Seconds that a call waits for its answer."""


class Server(Protocol):
    """A listener on a topic."""

    def stop(self) -> None:
        """Take no more messages and return when those in hand are handled."""


class Bus(Protocol):
    """What services know of messaging."""

    def cast(
        self, context: RequestContext, message: Message, *, host: HostName | None = None
    ) -> None:
        """Send without waiting for anybody to handle it.

        Raises:
            BusUnavailable: the broker did not take it.
        """

    def call(
        self,
        context: RequestContext,
        message: Message,
        answer: type[R],
        *,
        host: HostName | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> R:
        """Send, wait for the handler and return its answer.

        Raises:
            BusUnavailable: the broker did not take it.
            NoAnswer: it did, and no answer came within ``timeout`` seconds.
            KilonovaError: what the handler raised.
        """

    def serve(self, topic: Topic, name: str, handlers: object, *, threads: int = 16) -> Server:
        """Hand the messages of ``topic`` to the methods of ``handlers``, in ``threads`` threads.

        ``name`` is the host that ``cast(..., host=...)`` addresses.
        """

    def close(self) -> None:
        """Close every connection."""


class _Failure(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    value: msgspec.Raw = msgspec.Raw(b"null")
    failure: _Failure | None = None


_encode = msgspec.json.Encoder().encode
_decode_context = msgspec.json.Decoder(RequestContext).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode

MESSAGES: Mapping[str, type[Message]] = {
    name: value
    for name, value in vars(messages).items()
    if isinstance(value, type) and issubclass(value, Message) and value is not Message
}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in MESSAGES.items()}


def _walk(root: type[errors.KilonovaError]) -> Iterator[type[errors.KilonovaError]]:
    yield root
    for child in root.__subclasses__():
        yield from _walk(child)


_ERRORS = {kind.code: kind for kind in _walk(errors.KilonovaError)}


def handler_name(message: type[Message]) -> str:
    """Return the name of the method that handles a message: ``BuildServers`` -> ``build_servers``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", message.__name__).lower()


def encode(value: msgspec.Struct) -> str:
    """Return the JSON text of a context, message or answer."""
    return _encode(value).decode()


class Dispatcher:
    """Calls the method that handles a message, and turns what comes of it into an answer's text.

    Raises ``TypeError`` at construction if ``handlers`` lacks a method for a message of the topic.
    """

    def __init__(self, topic: Topic, handlers: object) -> None:
        self._handlers: dict[str, Callable[[RequestContext, Message], msgspec.Struct | None]] = {}
        for name, kind in MESSAGES.items():
            if kind.topic is topic:
                handler = getattr(handlers, handler_name(kind), None)
                if handler is None:
                    raise TypeError(f"{type(handlers).__name__} has no {handler_name(kind)}()")
                self._handlers[name] = handler

    def dispatch(self, context: str, name: str, body: str) -> str:
        """Handle one message and return the text of its answer. Raises nothing."""
        try:
            message = _DECODERS[name].decode(body)
            asker = _decode_context(context)
            log_under(asker)
            value = self._handlers[name](asker, message)
        except errors.KilonovaError as error:
            LOG.warning("%s was refused: %s", name, error)
            return encode(_Answer(failure=_Failure(error.code, str(error))))
        except Exception as error:
            LOG.exception("%s failed", name)
            return encode(_Answer(failure=_Failure("internal", f"{type(error).__name__}: {error}")))
        return encode(_Answer(value=msgspec.Raw(_encode(value))))


def read_answer(text: str, answer: type[R]) -> R:
    """Return the value in an answer's text, or raise the error that it carries."""
    decoded = _decode_answer(text)
    if decoded.failure is not None:
        raise _ERRORS.get(decoded.failure.code, errors.KilonovaError)(decoded.failure.message)
    return msgspec.json.decode(decoded.value, type=answer)
