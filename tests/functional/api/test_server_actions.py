"""Actions of servers as the API takes or refuses them, short of what happens on hosts."""

import re
from typing import Any

from kilonova.api.microversions import MAXIMUM
from kilonova.api.servers import tasks
from kilonova.api.servers.actions import ACTS
from kilonova.core.errors import BusUnavailable
from kilonova.core.states import TaskState, VmState
from kilonova.db import actions, instances
from kilonova.rpc.memory import MemoryBus
from tests.functional.api.api_case import ADMIN, ANN, BOB
from tests.functional.api.bodies import ACTIONS, OLD_ACTIONS
from tests.functional.api.population import ACTIVE, FAILED, GONE, WAITING, Populated
from tests.functional.compute.image_store import ServedImages

NEWEST = ".".join(map(str, MAXIMUM))
PATH = f"/servers/{ACTIVE}/action"
BODIES = {
    next(iter(body)): body for body in (*ACTIONS["/servers/{server_id}/action"], *OLD_ACTIONS)
}

LEGAL: dict[str, frozenset[VmState]] = {
    "os-stop": frozenset({VmState.ACTIVE, VmState.ERROR}),
    "os-start": frozenset({VmState.STOPPED}),
    "reboot": frozenset({VmState.ACTIVE}),
    "pause": frozenset({VmState.ACTIVE}),
    "unpause": frozenset({VmState.PAUSED}),
    "suspend": frozenset({VmState.ACTIVE}),
    "resume": frozenset({VmState.SUSPENDED}),
    "rescue": frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
    "unrescue": frozenset({VmState.RESCUED}),
    "rebuild": frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR}),
    "createImage": frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED}),
    "createBackup": frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED}),
    "changePassword": frozenset({VmState.ACTIVE}),
    "trigger_crash_dump": frozenset(
        {VmState.ACTIVE, VmState.PAUSED, VmState.RESCUED, VmState.RESIZED, VmState.ERROR}
    ),
}
"""Action -> the states in which it is legal (Compute API guide, "Server concepts")."""

ON_DISK = frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED})
ELSEWHERE: dict[str, frozenset[VmState]] = {
    "resize": frozenset({VmState.ACTIVE, VmState.STOPPED}),
    "migrate": frozenset({VmState.ACTIVE, VmState.STOPPED}),
    "confirmResize": frozenset({VmState.RESIZED}),
    "revertResize": frozenset({VmState.RESIZED}),
    "os-migrateLive": frozenset({VmState.ACTIVE, VmState.PAUSED}),
    "shelve": ON_DISK,
    # What is shelved is off its host already.
    "shelveOffload": frozenset(),
    "unshelve": frozenset({VmState.SHELVED, VmState.SHELVED_OFFLOADED}),
    "restore": frozenset({VmState.SOFT_DELETED}),
}
"""The same for what takes more than a host and a state, and so may be refused for something else."""

SHOWN = {
    "os-stop": "stop",
    "os-start": "start",
    "os-migrateLive": "live-migration",
}
"""Actions that are recorded under another name."""

UNLOCKED = frozenset({"createImage", "createBackup"})
"""Actions that a lock does not keep from."""


class ActionCase(Populated):
    """With an image store."""

    def options(self) -> str:
        self.images = ServedImages(self.directory)
        self.addCleanup(self.images.stop)
        self.image = self.images.add(b"\0" * 512).image_id
        return super().options() + self.images.options

    def setUp(self) -> None:
        super().setUp()
        self.patch(tasks, "HOST_SECONDS", 0.01)

    def body(self, action: str) -> dict[str, Any]:
        """Return a good body of an action, with an image that there is."""
        body = {action: BODIES[action][action]}
        for key in ("imageRef", "rescue_image_ref"):
            if isinstance(body[action], dict) and key in body[action]:
                body[action] = body[action] | {key: self.image}
        return body

    def become(self, state: VmState, task: TaskState | None = None, **more: Any) -> None:
        """Let the server be in a state."""
        nothing = {"task_request": None, "task_worker": "", "locked_by": None}
        values = {"vm_state": state, "task_state": task} | nothing | more
        instances.update(self.cell_db, ACTIVE, values)


class StatesTest(ActionCase):
    """What each state allows."""

    def test_an_action_is_taken_in_its_states_and_refused_with_a_sentence_in_others(self) -> None:
        for action, legal in LEGAL.items():
            for state in set(VmState) - {VmState.DELETED}:
                self.become(state)
                answer = self.ask("POST", PATH, self.body(action), version=NEWEST, token=ANN)
                if state in legal:
                    self.assertIn(answer.status_code, (200, 202), f"{action} {state} {answer.text}")
                    continue
                self.assertEqual(409, answer.status_code, f"{action} {state} {answer.text}")
                sentence = (
                    f"Cannot '{SHOWN.get(action, action)}' instance {ACTIVE} while it is in "
                    f"vm_state {state}"
                )
                self.assertEqual(sentence, answer.json["conflictingRequest"]["message"])

    def test_what_needs_more_than_its_state_is_refused_for_the_state_in_others_alone(self) -> None:
        self.add_host("h2", 2)
        for action, legal in ELSEWHERE.items():
            for state in set(VmState) - {VmState.DELETED}:
                self.become(state)
                answer = self.ask("POST", PATH, self.body(action), version=NEWEST)
                says = f"Cannot '{SHOWN.get(action, action)}' instance {ACTIVE} while it is in vm_state"
                case = f"{action} {state} {answer.text}"
                if state in legal:
                    self.assertNotIn(says, answer.text, case)
                    continue
                self.assertEqual(409, answer.status_code, case)
                self.assertEqual(f"{says} {state}", answer.json["conflictingRequest"]["message"])

    def test_nothing_is_taken_while_something_is_under_way_but_what_goes_beside_it(self) -> None:
        for action, legal in LEGAL.items():
            self.become(min(legal), TaskState.REBUILDING)
            answer = self.ask("POST", PATH, self.body(action), version=NEWEST, token=ANN)
            expected = 202 if action == "trigger_crash_dump" else 409
            self.assertEqual(expected, answer.status_code, action)

    def test_a_lock_keeps_its_owner_but_no_administrator_from_all_but_copies(self) -> None:
        others = {"restore", "addSecurityGroup", "removeSecurityGroup", "injectNetworkInfo"}
        for action in (*LEGAL, *sorted(others), "forceDelete"):
            admin_only = action == "injectNetworkInfo"
            self.become(min(LEGAL.get(action, {VmState.ACTIVE})), locked_by="owner")
            owner = {"token": ADMIN} if admin_only else {"token": ANN}
            answer = self.ask("POST", PATH, self.body(action), version=NEWEST, **owner)
            if action in UNLOCKED:
                self.assertEqual(202, answer.status_code, f"{action}: {answer.text}")
            elif not admin_only:
                self.assertEqual(409, answer.status_code, f"{action}: {answer.text}")
                self.assertIn(f"Instance {ACTIVE} is locked", answer.text)
            if action in LEGAL:
                self.become(min(LEGAL[action]), locked_by="owner")
                answer = self.ask("POST", PATH, self.body(action), version=NEWEST)
                self.assertIn(answer.status_code, (200, 202), f"{action}: {answer.text}")

    def test_what_was_never_active_is_not_acted_on(self) -> None:
        self.become(VmState.ACTIVE, launched_at=None)
        self.refused(409, "has never been active", "POST", PATH, {"os-stop": None})
        self.asked(202, "POST", PATH, {"forceDelete": None})

    def test_what_has_no_cell_or_is_deleted_is_not_acted_on(self) -> None:
        for action in LEGAL:
            path = f"/servers/{WAITING}/action"
            self.refused(409, "task_state scheduling", "POST", path, self.body(action))
            path = f"/servers/{GONE}/action"
            self.refused(404, GONE, "POST", path, self.body(action))
            self.refused(404, ACTIVE, "POST", PATH, self.body(action), token=BOB)

    def test_each_action_is_recorded_under_its_name_and_request(self) -> None:
        for action, legal in LEGAL.items():
            self.become(min(legal))
            answer = self.ask("POST", PATH, self.body(action), version=NEWEST, token=ANN)
            request = answer.headers["x-openstack-request-id"]
            record = actions.get_action(self.cell_db, ACTIVE, request)
            assert record is not None
            self.assertEqual(
                (SHOWN.get(action, action), "ann", None),
                (record.action, record.user_id, record.message),
            )
            server = instances.get(self.cell_db, ACTIVE)
            assert server is not None
            expected = None if action == "trigger_crash_dump" else request
            self.assertEqual(expected, server.task_request)

    def test_what_a_host_cannot_be_told_is_as_if_it_had_not_been_asked(self) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise BusUnavailable("The bus does not answer.")

        self.patch(MemoryBus, "cast", refuse)
        listed = self.images.count()
        for action, legal in LEGAL.items():
            self.become(min(legal))
            before = self.asked(200, "GET", f"/servers/{ACTIVE}")
            self.asked(503, "POST", PATH, self.body(action))
            self.assertEqual(before, self.asked(200, "GET", f"/servers/{ACTIVE}"), action)
        path = f"/servers/{ACTIVE}/os-instance-actions"
        newest = self.asked(200, "GET", path)["instanceActions"][0]
        self.assertEqual("Error", newest["message"])
        self.assertEqual(listed, self.images.count(), "an image without data was left")


class FaultsTest(ActionCase):
    """What is wrong is said by name, and nothing is begun."""

    def test_every_action_refuses_a_body_of_another_shape(self) -> None:
        before = self.stored()
        for action in ACTS:
            argument = BODIES[action][action]
            version = "2.5" if re.match("os-get(VNC|SPICE|Serial)", action) else NEWEST
            for body in ({action: argument, "more": 1}, [action], action, {f"{action}x": None}):
                self.asked(400, "POST", PATH, body, version=version)
            if isinstance(argument, dict):
                for wrong in ([], "x", argument | {"unknown": 1}):
                    self.asked(400, "POST", PATH, {action: wrong}, version=version)
        self.assertEqual(before, self.stored())

    def test_a_rebuild_is_refused_for_what_it_asks_for(self) -> None:
        before = self.stored()
        missing = "0e1c9f6e-70a5-4d8c-8a0e-3a1f0c9d5b11"
        for more, says in (
            ({"imageRef": missing}, "Can not find requested image"),
            ({"imageRef": "x"}, "imageRef"),
            ({"key_name": "nobody's"}, "key_name"),
            ({"user_data": "?"}, "user_data"),
            ({"OS-DCF:diskConfig": "manual"}, "diskConfig"),
            ({"trusted_image_certificates": ["c"]}, "trusted_image_certificates"),
            ({"accessIPv4": "nowhere"}, "accessIPv4"),
        ):
            body = {"rebuild": {"imageRef": self.image} | more}
            self.refused(400, says, "POST", PATH, body, version=NEWEST, token=ANN)
        body = {"rebuild": {"imageRef": self.image, "metadata": {str(n): "" for n in range(129)}}}
        self.refused(403, "metadata", "POST", PATH, body, token=ANN)
        self.assertEqual(before, self.stored())

    def test_copies_and_rescues_are_refused_for_what_they_ask_for(self) -> None:
        before = self.stored()
        many = {str(n): "" for n in range(129)}
        for body, status in (
            ({"createImage": {"name": ""}}, 400),
            ({"createImage": {}}, 400),
            ({"createImage": {"name": "x", "metadata": many}}, 403),
            ({"createBackup": {"name": "x", "backup_type": "d"}}, 400),
            ({"createBackup": {"name": "x", "backup_type": "d", "rotation": -1}}, 400),
            ({"createBackup": {"name": "x", "backup_type": "d", "rotation": "many"}}, 400),
            ({"rescue": {"rescue_image_ref": "0e1c9f6e-70a5-4d8c-8a0e-3a1f0c9d5b11"}}, 400),
            ({"changePassword": {}}, 400),
            ({"changePassword": {"adminPass": 1}}, 400),
            ({"os-resetState": {"state": "deleted"}}, 400),
        ):
            self.asked(status, "POST", PATH, body, token=ADMIN if "os-" in str(body) else ANN)
        self.assertEqual(before, self.stored())

    def test_without_an_image_store_no_copy_is_begun(self) -> None:
        before = self.stored()
        self.images.stop()
        for action in ("createImage", "createBackup", "rebuild"):
            self.refused(503, "image store", "POST", PATH, self.body(action), token=ANN)
        self.assertEqual(before, self.stored())

    def test_what_needs_a_network_service_says_that_there_is_none(self) -> None:
        for action, status in (
            ("addSecurityGroup", 400),
            ("removeSecurityGroup", 400),
            ("injectNetworkInfo", 409),
        ):
            says = "no network service is configured"
            self.refused(status, says, "POST", PATH, self.body(action))
        self.refused(410, "gone", "POST", PATH, {"resetNetwork": None})

    def test_a_deleted_server_is_never_restored(self) -> None:
        says = f"Cannot 'restore' instance {ACTIVE} while it is in vm_state active"
        self.refused(409, says, "POST", PATH, {"restore": None}, token=ANN)

    def test_only_administrators_say_what_a_server_is(self) -> None:
        body = {"os-resetState": {"state": "error"}}
        self.refused(403, "reset_state", "POST", PATH, body, token=ANN)
        self.become(VmState.ACTIVE, TaskState.PAUSING)
        self.asked(202, "POST", PATH, body)
        shown = self.asked(200, "GET", f"/servers/{ACTIVE}")["server"]
        self.assertEqual(("ERROR", None), (shown["status"], shown["OS-EXT-STS:task_state"]))
        self.asked(202, "POST", PATH, {"os-resetState": {"state": "active"}})
        shown = self.asked(200, "GET", f"/servers/{ACTIVE}")["server"]
        self.assertEqual("ACTIVE", shown["status"])
        self.assertNotIn("fault", shown)

    def test_external_events_say_of_each_what_became_of_it(self) -> None:
        def events(*some: tuple[str, str, str | None]) -> dict[str, Any]:
            all_ = [{"name": n, "server_uuid": u} | ({"tag": t} if t else {}) for n, u, t in some]
            return {"events": all_}

        path = "/os-server-external-events"
        missing = "0e1c9f6e-70a5-4d8c-8a0e-3a1f0c9d5b11"
        body = events(
            ("network-changed", ACTIVE, None),
            ("power-update", ACTIVE, None),
            ("network-changed", missing, None),
            ("network-changed", WAITING, None),
            ("network-changed", FAILED, None),
        )
        told = self.asked(207, "POST", path, body, version=NEWEST)["events"]
        self.assertEqual([200, 400, 404, 404, 422], [event["code"] for event in told])
        self.assertEqual(["completed", *["failed"] * 4], [event["status"] for event in told])
        nobodys = events(("network-changed", missing, None))
        self.refused(404, "No instances found", "POST", path, nobodys)
        self.refused(400, "events", "POST", path, {"events": []})
        good = events(("network-changed", ACTIVE, "t"))
        self.refused(403, "external-events", "POST", path, good, token=ANN)
        self.asked(200, "POST", path, good, token="neutron:service", roles="service")

    def test_a_server_that_does_not_run_is_not_measured(self) -> None:
        self.become(VmState.STOPPED, power_state=4)
        says = f"Cannot 'get_diagnostics' instance {ACTIVE} while it is in power state shutdown"
        self.refused(409, says, "GET", f"/servers/{ACTIVE}/diagnostics")
        self.refused(403, "diagnostics", "GET", f"/servers/{ACTIVE}/diagnostics", token=ANN)
