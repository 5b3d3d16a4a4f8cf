"""What every driver does with shares: part of the contract of drivers."""

import msgspec

from kilonova.core.errors import NotFound
from kilonova.core.share import Share
from kilonova.core.states import PowerState
from tests.functional.compute.driver_contract import DriverContract, World, never

_IDS = tuple(f"{n}e1f0a3c-54a7-4f0b-9c5d-0f6a7b1d2e90" for n in (5, 6))


class SharingWorld(World):
    """A ``World`` with a storage."""

    def export(self, share_id: str) -> str:
        """Return where a share is mounted from."""


class HasShares(DriverContract):
    """The contract, with what is mounted for guests."""

    at: SharingWorld  # type: ignore[mutable-override]

    def shares(self) -> tuple[Share, ...]:
        """Return two shares, not mounted yet."""
        return tuple(
            Share(uuid=one, share_id=one, tag=one, protocol="NFS", export=self.at.export(one))
            for one in _IDS
        )

    def test_what_is_mounted_is_so_once_and_let_go_once(self) -> None:
        first, second = self.shares()
        self.assertEqual(frozenset(), self.driver.mounted_shares())
        self.addCleanup(self.driver.unmount_share, second.share_id)
        for share in (first, first, second):
            self.driver.mount_share(share)
        self.assertEqual(set(_IDS), self.driver.mounted_shares())
        for _ in range(2):
            self.driver.unmount_share(first.share_id)
            self.assertEqual({second.share_id}, self.driver.mounted_shares())

    def test_a_guest_that_is_off_gets_shares_and_loses_them_and_starts(self) -> None:
        shares = self.shares()
        for share in shares:
            self.addCleanup(self.driver.unmount_share, share.share_id)
            self.driver.mount_share(share)
        server = self.spawned(self.server())
        for has in (shares, shares, shares[:1], ()):
            self.driver.stop(server.uuid, 0, never)
            self.driver.give_shares(msgspec.structs.replace(server, shares=has))
            self.driver.start(server.uuid)
            self.assertEqual(PowerState.RUNNING, self.power(server))

    def test_a_guest_is_made_with_the_shares_of_its_server(self) -> None:
        (share, _) = self.shares()
        self.addCleanup(self.driver.unmount_share, share.share_id)
        self.driver.mount_share(share)
        server = self.spawned(self.server(shares=(share,)))
        self.driver.reboot(msgspec.structs.replace(server, shares=()))
        self.assertEqual(PowerState.RUNNING, self.power(server))

    def test_a_guest_that_is_not_there_gets_none(self) -> None:
        server = self.server()
        self.assertRaises(NotFound, self.driver.give_shares, server)
