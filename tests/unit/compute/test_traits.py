"""What libvirt's capabilities make a host's traits."""

from pathlib import Path

import os_traits
import testtools

from kilonova.compute.libvirt import traits

DIRECTORY = Path(__file__).parent / "capabilities"
CPU = """
<cpu mode="custom" match="exact">
  <model fallback="forbid">EPYC</model>
  <feature policy="require" name="avx2"/><feature policy="require" name="aes"/>
  <feature policy="require" name="sse4.1"/><feature policy="require" name="svm"/>
  <feature policy="require" name="pni"/><feature policy="disable" name="fma"/>
  <feature policy="require" name="never-heard-of"/>
</cpu>
"""


class TraitsTest(testtools.TestCase):
    """The capabilities are those of QEMU 7.2 with libvirt 9.0."""

    def told(self, name: str) -> str:
        """Return what libvirt told of a machine."""
        return (DIRECTORY / f"{name}.xml").read_text()

    def test_machines_firmware_buses_screens_and_tpms_are_told(self) -> None:
        found = set(traits.traits_of([self.told("pc"), self.told("q35")], CPU))
        golden = (DIRECTORY / "traits.txt").read_text().split()
        self.assertEqual(set(golden), found)

    def test_a_host_without_ovmf_and_swtpm_has_neither(self) -> None:
        bare = self.told("q35").replace("<value>efi</value>", "")
        bare = bare.replace("<value>emulator</value>", "")
        missing = set(traits.traits_of([self.told("q35")], None)) - set(
            traits.traits_of([bare], None)
        )
        self.assertEqual(
            {
                "COMPUTE_FIRMWARE_UEFI",
                "COMPUTE_SECURITY_UEFI_SECURE_BOOT",
                "COMPUTE_SECURITY_TPM_1_2",
                "COMPUTE_SECURITY_TPM_2_0",
            },
            missing,
        )

    def test_every_trait_is_one_that_there_is(self) -> None:
        every = set(os_traits.get_traits())
        ends = {traits._CPU + end for ends in traits._FEATURES.values() for end in ends}
        self.assertEqual(set(), ends - every)
        self.assertEqual(set(), set(traits.traits_of([self.told("pc")], CPU)) - every)

    def test_the_hosts_own_processor_is_what_libvirt_calls_its_model(self) -> None:
        model = traits.host_model(self.told("pc")) or ""
        self.assertIn("<model fallback=", model)
        self.assertIn("EPYC</model>", model)
        none = self.told("pc").replace("name='host-model' supported='yes'", "name='host-model'")
        self.assertIsNone(traits.host_model(none))
