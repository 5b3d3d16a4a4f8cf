"""Which method handles a message, and how what comes of it travels back."""

import json
import logging
from collections.abc import Callable

import testtools

from kilonova.core import errors
from kilonova.core.context import RequestContext
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.rpc import messages
from kilonova.rpc.bus import Dispatcher, encode, handler_name, read_answer
from kilonova.rpc.messages import (
    BuildServers,
    Destinations,
    GetConsoleOutput,
    SelectDestinations,
    Taken,
    Topic,
)
from tests.unit.rpc.values import LEAST_SPEC

CONTEXT = encode(RequestContext(request_id=RequestId("req-1")))
SELECT = SelectDestinations(spec=LEAST_SPEC, instance_uuids=(InstanceUuid("u"),))


class Scheduler:
    """Answers what it is made with."""

    def __init__(self, answer: Callable[[], Destinations | None]) -> None:
        self._answer = answer
        self.seen: list[tuple[RequestContext, SelectDestinations]] = []

    def select_destinations(
        self, context: RequestContext, message: SelectDestinations
    ) -> Destinations | None:
        """Remember and answer."""
        self.seen.append((context, message))
        return self._answer()


def every_error(root: type[errors.KilonovaError]) -> list[type[errors.KilonovaError]]:
    """Return an error class of core/errors.py and all below it."""
    below = [error for child in root.__subclasses__() for error in every_error(child)]
    return [error for error in (root, *below) if error.__module__ == errors.__name__]


class DispatcherTest(testtools.TestCase):
    """Text in, text out."""

    def setUp(self) -> None:
        super().setUp()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def _dispatch(self, answer: Callable[[], Destinations | None]) -> str:
        dispatcher = Dispatcher(Topic.SCHEDULER, Scheduler(answer))
        return dispatcher.dispatch(CONTEXT, "SelectDestinations", encode(SELECT))

    def _failing(self, error: Exception) -> str:
        def fail() -> Destinations:
            raise error

        return self._dispatch(fail)

    def test_a_handler_carries_the_name_of_its_message_in_snake_case(self) -> None:
        self.assertEqual("build_servers", handler_name(BuildServers))
        self.assertEqual("get_console_output", handler_name(GetConsoleOutput))

    def test_handlers_that_lack_a_method_are_refused_by_its_name(self) -> None:
        for topic, lacking in (
            (Topic.CONDUCTOR, "build_servers"),
            (Topic.SCHEDULER, "select_destinations"),
            (Topic.COMPUTE, "build_instance"),
            (Topic.CELL_CONDUCTOR, "report_instances"),
        ):
            error = self.assertRaises(TypeError, Dispatcher, topic, object())
            self.assertIn(f"object has no {lacking}()", str(error))

    def test_a_handler_gets_context_and_message_as_they_were_sent(self) -> None:
        scheduler = Scheduler(lambda: None)
        Dispatcher(Topic.SCHEDULER, scheduler).dispatch(
            CONTEXT, "SelectDestinations", encode(SELECT)
        )
        self.assertEqual([(RequestContext(request_id=RequestId("req-1")), SELECT)], scheduler.seen)

    def test_what_a_handler_returns_is_read_as_the_answer(self) -> None:
        answer = Destinations(decisions=())
        self.assertEqual(answer, read_answer(self._dispatch(lambda: answer), Destinations))

    def test_every_error_arrives_as_what_it_was_raised_as_with_its_sentence(self) -> None:
        for kind in every_error(errors.KilonovaError):
            text = self._failing(kind("the sentence"))
            error = self.assertRaises(errors.KilonovaError, read_answer, text, Taken)
            self.assertEqual((kind, "the sentence"), (type(error), error.message))

    def test_an_error_that_is_only_known_where_it_was_raised_arrives_as_the_root(self) -> None:
        text = json.dumps({"failure": {"code": "from_the_future", "message": "later"}})
        error = self.assertRaises(errors.KilonovaError, read_answer, text, Taken)
        self.assertEqual((errors.KilonovaError, "later"), (type(error), error.message))

    def test_an_accident_arrives_as_an_internal_error_that_names_it(self) -> None:
        text = self._failing(ZeroDivisionError("by nothing"))
        error = self.assertRaises(errors.KilonovaError, read_answer, text, Taken)
        self.assertEqual(errors.KilonovaError, type(error))
        self.assertEqual("ZeroDivisionError: by nothing", error.message)

    def test_a_message_that_is_not_known_or_not_readable_is_answered_with_a_failure(self) -> None:
        dispatcher = Dispatcher(Topic.SCHEDULER, Scheduler(lambda: None))
        good = encode(SELECT)
        for context, name, body in (
            (CONTEXT, "Nonsense", "{}"),
            # Known, but of another topic.
            (CONTEXT, "BuildServers", encode(BuildServers(instance_uuids=()))),
            (CONTEXT, "SelectDestinations", "{"),
            (CONTEXT, "SelectDestinations", '{"instance_uuids": []}'),
            (CONTEXT, "SelectDestinations", good.replace('"vcpus":1', '"vcpus":"one"')),
            ("{}", "SelectDestinations", good),
        ):
            text = dispatcher.dispatch(context, name, body)
            self.assertRaises(errors.KilonovaError, read_answer, text, Taken)

    def test_every_message_has_a_topic(self) -> None:
        for value in vars(messages).values():
            if isinstance(value, type) and issubclass(value, messages.Message):
                self.assertTrue(value is messages.Message or isinstance(value.topic, Topic))
