"""Reports reach the cell: in order, many in one message, again until they are taken."""

import uuid
from concurrent.futures import CancelledError, Future

import testtools

from kilonova.compute.reporter import Reporter, Told
from kilonova.core.errors import BuildFailed, BusUnavailable, Invalid
from kilonova.core.ids import InstanceUuid, RequestId
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.states import PowerState
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.messages import Topic
from tests.instances import HOST
from tests.unit.compute.cell import Cell


def report(name: str, **changed: object) -> InstanceReport:
    """Return a report on a server."""
    return InstanceReport(
        instance_uuid=InstanceUuid(name), epoch=1, request_id=RequestId("req-1"), **changed
    )


class ReporterCase(testtools.TestCase):
    """A reporter and a cell on one bus."""

    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBus(f"memory://{uuid.uuid4()}")
        self.cell = Cell()
        self.server = self.bus.serve(Topic.CELL_CONDUCTOR, "cell", self.cell)
        self.addCleanup(self.server.stop)
        self.reporter = Reporter(self.bus, HOST)
        self.addCleanup(self.reporter.stop, 5)
        self.addCleanup(self.cell.flow)

    def start(self) -> None:
        """Begin to send."""
        self.reporter.start()

    def names(self) -> list[str]:
        """Return whose reports the cell took."""
        return [one.instance_uuid for one in self.cell.taken]


class ReporterTest(ReporterCase):
    """What is sent, and what comes of it."""

    def test_a_report_that_is_taken_says_so(self) -> None:
        self.start()
        self.assertTrue(self.reporter.send(report("a")).result(10))

    def test_what_is_queued_goes_in_one_message_and_in_order(self) -> None:
        wanted = [str(number) for number in range(500)]
        answers = [self.reporter.send(report(name)) for name in wanted]
        self.start()
        self.assertEqual([True] * 500, [answer.result(10) for answer in answers])
        self.assertEqual(wanted, self.names())
        self.assertEqual([200, 200, 100], [len(batch) for batch in self.cell.batches])

    def test_what_comes_while_a_message_is_on_its_way_goes_with_the_next(self) -> None:
        self.cell.hold()
        self.start()
        first = self.reporter.send(report("first"))
        # The first is on its way by itself, or with those that were as quick.
        others = [self.reporter.send(report(str(number))) for number in range(50)]
        self.cell.flow()
        self.assertTrue(all(answer.result(10) for answer in [first, *others]))
        self.assertEqual(["first", *map(str, range(50))], self.names())
        self.assertLess(len(self.cell.batches), 10)

    def test_a_build_that_must_not_begin_here_is_told_why(self) -> None:
        self.cell.judge = lambda reports: (1, 2)
        self.cell.unfit = {1: "too many"}
        answers = [self.reporter.send(report(name)) for name in ("a", "unfit", "late")]
        self.start()
        self.assertEqual((True, False), (answers[0].result(10), answers[2].result(10)))
        self.assertEqual("too many", str(answers[1].exception(10)))
        self.assertRaises(BuildFailed, answers[1].result, 10)

    def test_only_what_is_refused_is_refused(self) -> None:
        self.cell.judge = lambda reports: tuple(
            index for index, one in enumerate(reports) if one.instance_uuid == "late"
        )
        answers = [self.reporter.send(report(name)) for name in ("a", "late", "b")]
        self.start()
        self.assertEqual([True, False, True], [answer.result(10) for answer in answers])

    def test_a_cell_that_is_away_gets_everything_once_it_is_back(self) -> None:
        away = [3]

        def judge(_reports: tuple[InstanceReport, ...]) -> tuple[int, ...]:
            if away[0]:
                away[0] -= 1
                raise BusUnavailable("not now")
            return ()

        self.cell.judge = judge
        answers = [self.reporter.send(report(name)) for name in ("a", "b")]
        self.start()
        self.assertEqual([True, True], [answer.result(10) for answer in answers])
        self.assertEqual(["a", "b"], self.names())

    def test_a_report_that_cannot_be_handled_does_not_stop_the_others(self) -> None:
        def judge(reports: tuple[InstanceReport, ...]) -> tuple[int, ...]:
            if any(one.instance_uuid == "poison" for one in reports):
                raise Invalid("no")
            return ()

        self.cell.judge = judge
        answers = [self.reporter.send(report(name)) for name in ("a", "poison", "b")]
        self.start()
        self.assertEqual([True, False, True], [answer.result(10) for answer in answers])
        self.assertEqual(["a", "b"], self.names())
        self.assertTrue(self.reporter.send(report("c")).result(10))

    def test_what_is_queued_is_sent_before_the_end(self) -> None:
        answers = [self.reporter.send(report(name)) for name in ("a", "b")]
        self.start()
        self.reporter.stop(10)
        self.assertEqual([True, True], [answer.result(0) for answer in answers])

    def test_a_report_can_be_taken_back_before_it_is_sent(self) -> None:
        answers = [self.reporter.send(report(name)) for name in ("a", "b")]
        self.assertTrue(answers[0].cancel())
        self.start()
        self.assertTrue(answers[1].result(10))
        self.assertEqual(["b"], self.names())

    def test_what_could_not_be_sent_before_the_end_is_neither_taken_nor_refused(self) -> None:
        self.cell.judge = self.never
        answers = [self.reporter.send(report(name)) for name in ("a", "b")]
        self.start()
        self.reporter.stop(0.3)
        answers.append(self.reporter.send(report("late")))
        for answer in answers:
            self.assertRaises(CancelledError, self.result, answer)

    @staticmethod
    def never(_reports: tuple[InstanceReport, ...]) -> tuple[int, ...]:
        """Take nothing."""
        raise BusUnavailable("not now")

    @staticmethod
    def result(answer: "Future[bool]") -> bool:
        """Return what came of a report."""
        return answer.result(10)


class ToldTest(ReporterCase):
    """What the cell was told of guests' power."""

    def test_the_last_word_counts_from_the_moment_it_is_queued(self) -> None:
        a = InstanceUuid("a")
        self.cell.hold()
        self.start()
        self.reporter.send(report("a", power_state=PowerState.RUNNING))
        self.assertEqual({a: Told(1, PowerState.RUNNING)}, dict(self.reporter.told))
        self.reporter.send(report("a"))
        self.reporter.send(report("a", power_state=PowerState.SHUTDOWN))
        self.assertEqual({a: Told(1, PowerState.SHUTDOWN)}, dict(self.reporter.told))

    def test_a_word_that_was_refused_was_not_told(self) -> None:
        self.cell.judge = lambda reports: (0,)
        self.start()
        self.reporter.send(report("a", power_state=PowerState.RUNNING)).result(10)
        self.assertEqual({}, dict(self.reporter.told))

    def test_a_refusal_does_not_undo_a_later_word(self) -> None:
        self.cell.judge = lambda reports: (0,)
        first = self.reporter.send(report("a", power_state=PowerState.SHUTDOWN))
        second = self.reporter.send(report("a", power_state=PowerState.RUNNING))
        self.start()
        self.assertEqual((False, True), (first.result(10), second.result(10)))
        self.assertEqual({InstanceUuid("a"): Told(1, PowerState.RUNNING)}, dict(self.reporter.told))

    def test_of_what_is_gone_or_failed_nothing_is_kept(self) -> None:
        self.start()
        for last in (report("a", gone=True), report("a", failure=BuildFailure(reason="no"))):
            self.reporter.send(report("a", power_state=PowerState.RUNNING))
            self.reporter.send(last)
            self.assertEqual({}, dict(self.reporter.told))
