"""Fixed addresses: each given to one server at a time, with a MAC address that never parts from it."""

import ipaddress
from concurrent.futures import ThreadPoolExecutor

import testtools

from kilonova.compute.addresses import AddressBook, mac_of, range_of
from kilonova.core.errors import BuildFailed, Invalid
from kilonova.core.ids import InstanceUuid

A, B, C = (InstanceUuid(name) for name in "abc")


class AddressBookTest(testtools.TestCase):
    """A range of six addresses, one of which is the host's."""

    def setUp(self) -> None:
        super().setUp()
        self.book = AddressBook(range_of("192.0.2.0/29"))

    def test_each_server_has_an_address_of_its_own_and_keeps_it(self) -> None:
        first, second = self.book.take(A), self.book.take(B)
        self.assertEqual(("192.0.2.2", "52:54:c0:00:02:02"), (first.address, first.mac))
        self.assertEqual("192.0.2.3", second.address)
        self.assertEqual(first, self.book.take(A))
        self.assertEqual(("192.0.2.1", 29), (first.gateway, first.prefix))
        self.assertEqual(first.network_id, second.network_id)

    def test_what_was_given_back_is_free_and_may_be_given_back_again(self) -> None:
        address = self.book.take(A).address
        for _ in range(2):
            self.book.give_back(A)
            self.assertIsNone(self.book.holder(address))
        self.assertEqual(address, self.book.take(B).address)
        self.book.give_back(A)
        self.assertEqual(B, self.book.holder(address), "it is another's by now")

    def test_a_full_range_is_a_reason_to_try_another_host(self) -> None:
        for number in range(5):
            self.book.take(InstanceUuid(str(number)))
        error = self.assertRaises(BuildFailed, self.book.take, A)
        self.assertIn("No address is free", error.message)
        self.book.give_back(InstanceUuid("3"))
        self.assertEqual("192.0.2.5", self.book.take(A).address)

    def test_a_server_that_comes_from_elsewhere_keeps_its_address_if_it_is_free(self) -> None:
        card = AddressBook(range_of("192.0.2.0/29")).take(A)
        had = AddressBook(range_of("192.0.2.0/29"))
        for name in "xyz":
            had.take(InstanceUuid(name))
        moved = had.take(B)
        self.assertEqual("192.0.2.5", moved.address)
        self.assertEqual(moved, self.book.take(B, (moved,)))
        self.assertEqual(card, self.book.take(A, (moved,)), "it is taken here")

    def test_an_address_of_another_range_is_no_wish(self) -> None:
        elsewhere = AddressBook(range_of("198.51.100.0/29")).take(A)
        self.assertEqual("192.0.2.2", self.book.take(A, (elsewhere,)).address)

    def test_what_was_taken_before_a_restart_is_taken_after_it(self) -> None:
        card = self.book.take(A)
        again = AddressBook(range_of("192.0.2.0/29"))
        again.hold(A, card)
        self.assertEqual((card,), again.cards(A))
        self.assertEqual(A, again.holder(card.address))
        self.assertNotEqual(card.address, again.take(B).address)

    def test_no_address_is_given_twice_however_many_ask_at_once(self) -> None:
        book = AddressBook(range_of("10.0.0.0/24"))
        names = [InstanceUuid(str(number)) for number in range(200)]
        with ThreadPoolExecutor(16) as pool:
            addresses = {card.address for card in pool.map(book.take, names)}
        self.assertEqual(200, len(addresses))

    def test_a_range_is_one_of_hosts_not_too_large_and_not_too_small(self) -> None:
        for text in ("", "10.0.0.1/24", "10.0.0.0/8", "10.0.0.0/30", "fd00::/64", "net"):
            error = self.assertRaises(Invalid, range_of, text)
            self.assertIn("fixed_range", error.message)
        self.assertEqual("52:54:ff:fe:01:00", mac_of(ipaddress.IPv4Address("255.254.1.0")))
