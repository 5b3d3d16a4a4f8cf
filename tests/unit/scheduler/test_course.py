"""What the record of a selection tells."""

import testtools

from kilonova.core.scheduling import Decision, NoHost, Reason
from kilonova.rpc.messages import SelectDestinations
from kilonova.scheduler.course import Course
from kilonova.scheduler.pipeline import Refusals, Sifted
from tests.unit.scheduler.fleet import fit, spec, uuids

WHY = NoHost(
    considered=9,
    reasons=(
        Reason(refused_by="DISK_GB", sentence="lack DISK_GB", hosts=5),
        Reason(refused_by="ComputeFilter", sentence="are down", hosts=3),
        Reason(refused_by="VCPU", sentence="lack VCPU"),
    ),
)


class CourseTest(testtools.TestCase):
    """Three servers, in rounds of picks and claims."""

    def setUp(self) -> None:
        """Begin a selection."""
        super().setUp()
        self.uuids = uuids(3)
        self.course = Course(SelectDestinations(spec=spec(), instance_uuids=tuple(self.uuids)))
        self.course.wanted = {"VCPU": 1, "DISK_GB": 10}
        self.picked = [
            Decision(instance_uuid=uuid, destination=fit("h1").destination()) for uuid in self.uuids
        ]

    def test_what_was_refused_waits_on_and_each_round_of_claims_is_told(self) -> None:
        one, two, three = self.uuids
        self.course.settle(self.picked, {two: "full", three: "full"})
        self.assertEqual([two, three], self.course.waiting)
        self.course.settle(self.picked[1:], {three: "still full"})
        self.course.settle([Decision(instance_uuid=three)], {})
        self.assertEqual({one, two}, self.course.decided.keys())
        record = self.course.record(WHY)
        self.assertEqual(
            [(3, 1, {"full": 2}), (2, 1, {"still full": 1})],
            [(one.asked, one.granted, one.refused) for one in record.claims],
        )
        self.assertEqual((3, 2), (record.servers, record.placed))

    def test_a_dry_run_places_without_a_claim(self) -> None:
        self.course.settle(self.picked, None)
        record = self.course.record(None)
        self.assertEqual((3, 3, ()), (record.servers, record.placed, record.claims))

    def test_of_many_reasons_of_refused_claims_the_most_frequent_are_told(self) -> None:
        many = uuids(100)
        course = Course(SelectDestinations(spec=spec(), instance_uuids=tuple(many)))
        picked = [Decision(instance_uuid=u, destination=fit("h").destination()) for u in many]
        refused = {uuid: f"no room {min(n, 90)}" for n, uuid in enumerate(many)}
        course.settle(picked, refused)
        (told,) = course.record(WHY).claims
        self.assertEqual((100, 0, 5), (told.asked, told.granted, len(told.refused)))
        self.assertEqual(10, told.refused["no room 90"])

    def test_a_stage_is_timed_over_all_rounds_from_when_it_began_first(self) -> None:
        for _ in range(3):
            with self.course.stage("pick"):
                pass
        with self.course.stage("claim"):
            pass
        record = self.course.record(WHY)
        self.assertEqual(["pick", "claim"], [stage.name for stage in record.stages])
        pick, claim = record.stages
        self.assertLessEqual(pick.began_at, claim.began_at)
        self.assertGreater(pick.seconds, 0.0)
        self.assertAlmostEqual(
            pick.seconds, (pick.ended_at - pick.began_at).total_seconds(), delta=1e-6
        )
        self.assertEqual((claim, None), (record.stage("claim"), record.stage("reasons")))

    def test_the_classes_that_are_exhausted_are_those_that_were_asked_for(self) -> None:
        self.assertEqual(("DISK_GB", "VCPU"), self.course.record(WHY).exhausted)

    def test_hosts_that_were_refused_are_told_also_where_all_is_well(self) -> None:
        refusals = Refusals()
        refusals.add(Reason(refused_by="ComputeFilter", sentence="are down"))
        self.course.sifted = Sifted(fits=[fit("h1")], considered=2, refusals=refusals)
        self.course.settle(self.picked, {})
        record = self.course.record(None)
        self.assertEqual((2, 1), (record.considered, record.passed))
        self.assertEqual(["1 is down"], [reason.counted() for reason in record.refused])

    def test_the_sentence_says_how_many_fit_and_why_the_others_do_not(self) -> None:
        why = "0 of 9 hosts fit: 5 lack DISK_GB, 3 are down, 1 lacks VCPU"
        self.assertEqual(why, self.course.record(WHY).sentence())
        self.course.settle(self.picked[:2], {})
        self.assertEqual(
            f"2 of 3 servers fit; for the others {why}", self.course.record(WHY).sentence()
        )
        self.course.settle(self.picked[2:], {})
        self.assertEqual("3 of 3 servers fit", self.course.record(None).sentence())
