"""The bus over oslo.messaging: RabbitMQ with quorum queues and publisher confirms."""

import logging
from typing import Any, Protocol, TypeVar

import amqp
import kombu.exceptions
import msgspec
import oslo_messaging
from oslo_config import cfg
from oslo_messaging import exceptions
from oslo_messaging._drivers import amqpdriver
from oslo_messaging._metrics import client as metrics
from oslo_messaging._tracing import client as tracing

from kilonova.core.context import RequestContext
from kilonova.core.errors import BusUnavailable, NoAnswer
from kilonova.core.ids import HostName
from kilonova.rpc.bus import DEFAULT_TIMEOUT, Dispatcher, Server, encode, read_answer
from kilonova.rpc.messages import Message, Topic

LOG = logging.getLogger(__name__)

R = TypeVar("R", bound=msgspec.Struct)

# A listener looks first for 1 ms whether something came, then for 2 ms, and so on, to acknowledge messages
# that other threads were done with. Ours are acknowledged by the listener itself, and the looks took a
# quarter of the CPU time of boots that come one after another.
amqpdriver.ACK_REQUEUE_EVERY_SECONDS_MIN = 0.25

_CONFIRMED_WITHIN = 8.0
"""Seconds that a broker has to confirm a message: one that is short of memory or disk does not."""


class _Publish(Protocol):
    def __call__(
        self, channel: Any, *message: Any, confirm_timeout: float | None = None, **how: Any
    ) -> Any: ...


def _in_time(publish: _Publish) -> _Publish:
    def confirmed(
        channel: Any, *message: Any, confirm_timeout: float | None = None, **how: Any
    ) -> Any:
        limit = confirm_timeout or _CONFIRMED_WITHIN
        try:
            return publish(channel, *message, confirm_timeout=limit, **how)
        except TimeoutError:
            # The broker reads nothing of this connection, also no farewell, which would be waited for.
            if channel.connection is not None:
                channel.connection.collect()
            raise

    return confirmed


# oslo.messaging lets a cast wait for ever; nothing of its own says otherwise.
amqp.Channel.basic_publish_confirm = _in_time(amqp.Channel.basic_publish_confirm)

_EXCHANGE = "kilonova"
_SEND_RETRIES = 1
"""Times that a failed send is repeated: whoever sends must learn soon that the broker is away."""


class _Endpoint:
    """The one RPC method on the wire; which message it is stands in its arguments."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def deliver(self, context: dict[str, str], name: str, body: str) -> str:
        return self._dispatcher.dispatch(context["context"], name, body)


class _Server:
    def __init__(self, server: Any) -> None:
        self._server = server

    def stop(self) -> None:
        self._server.stop()
        self._server.wait()


class OsloBus:
    """The ``Bus`` behind any transport URL that oslo.messaging knows.

    Raises:
        BusUnavailable: it does not know this one.
    """

    def __init__(self, conf: cfg.ConfigOpts, url: str | None) -> None:
        self._conf = conf
        # The library registers these with oslo.config's global object only, and reads them from ours.
        conf.register_opts(tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
        conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
        try:
            self._transport = oslo_messaging.get_rpc_transport(conf, url=url)
        except exceptions.MessagingException as error:
            # Its words have the URL in them, passwords and all.
            raise BusUnavailable("There is no message bus behind this transport URL.") from error
        self._client = oslo_messaging.get_rpc_client(
            self._transport, oslo_messaging.Target(exchange=_EXCHANGE), retry=_SEND_RETRIES
        )

    def cast(
        self, context: RequestContext, message: Message, *, host: HostName | None = None
    ) -> None:
        """Send; see ``Bus``."""
        client = self._client.prepare(topic=message.topic.value, server=host)
        try:
            client.cast(
                {"context": encode(context)},
                "deliver",
                name=type(message).__name__,
                body=encode(message),
            )
        except _LOST as error:
            raise _translate(message, error) from error

    def call(
        self,
        context: RequestContext,
        message: Message,
        answer: type[R],
        *,
        host: HostName | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> R:
        """Send and wait; see ``Bus``."""
        client = self._client.prepare(topic=message.topic.value, server=host, timeout=timeout)
        try:
            text = client.call(
                {"context": encode(context)},
                "deliver",
                name=type(message).__name__,
                body=encode(message),
            )
        except _LOST as error:
            raise _translate(message, error) from error
        return read_answer(text, answer)

    def serve(self, topic: Topic, name: str, handlers: object, *, threads: int = 16) -> Server:
        """Listen; see ``Bus``."""
        server = oslo_messaging.get_rpc_server(
            self._transport,
            oslo_messaging.Target(exchange=_EXCHANGE, topic=topic.value, server=name),
            [_Endpoint(Dispatcher(topic, handlers))],
            executor="threading",
        )
        self._conf.set_default("executor_thread_pool_size", threads)
        server.start()
        return _Server(server)

    def close(self) -> None:
        """Close every connection."""
        self._transport.cleanup()


_LOST = (exceptions.MessagingException, kombu.exceptions.KombuError, amqp.AMQPError, OSError)
"""What a send raises when the broker is away: oslo.messaging passes on what lies under it."""


def _translate(message: Message, error: Exception) -> BusUnavailable:
    name = type(message).__name__
    if isinstance(error, exceptions.MessagingTimeout):
        return NoAnswer(f"No answer to {name} in time.")
    return BusUnavailable(f"The message bus did not take {name} ({type(error).__name__}).")
