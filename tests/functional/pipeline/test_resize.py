"""Resize and cold migration, from the request to the host and back."""

from tests.functional.pipeline.moving_case import BOTH, LARGE, SMALL, MovingCase


class ResizeTest(MovingCase):
    """Everything works."""

    def test_a_resize_that_is_confirmed_leaves_the_new_size(self) -> None:
        uuid = self.active("vm")
        self.asked_for(uuid, {"resize": {"flavorRef": "large"}})
        server = self.until_idle(uuid, "VERIFY_RESIZE")
        self.assertEqual("large", server["flavor"]["original_name"])
        self.assertEqual("resized", server["OS-EXT-STS:vm_state"])
        self.assertEqual(BOTH, self.held())
        self.asked_for(uuid, {"confirmResize": None}, 204)
        self.settled(uuid, "ACTIVE", LARGE)
        self.gone(uuid)
