"""The ``openstack`` command and openstacksdk, unmodified, against all of kilonova on a pretended cloud."""

import os
from pathlib import Path

from tests.integration.clients import (
    acting,
    creating,
    fleet,
    listing,
    moving,
    signing_in,
    tenancy,
)
from tests.integration.clients.case import ADMIN, DEMO
from tests.integration.services.keystone import PROGRAMS
from tests.integration.services.process import run

STORY = Path(__file__).parent / "clients" / "sdk_story.py"


class ClientsTest(
    creating.Creating,
    acting.Acting,
    listing.Listing,
    moving.Moving,
    fleet.Fleet,
    tenancy.Tenancy,
    signing_in.SigningIn,
):
    """Every command of the client, on one deployment."""

    def test_a_program_that_uses_the_sdk(self) -> None:
        told = run(
            [str(PROGRAMS / "python"), str(STORY), DEMO, ADMIN, self.image_id, "fake-1"],
            env=os.environ
            | {"OS_CLIENT_CONFIG_FILE": str(self.deployment.directory / "clouds.yaml")},
        )
        self.assertIn("told to the end", told)


class WithoutKeystoneTest(signing_in.WithoutKeystone):
    """The client of a deployment that one command starts."""
