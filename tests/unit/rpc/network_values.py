"""A network card with no field left at its default."""

from kilonova.core.instance import FixedAddress, Nic, Plug

NIC = Nic(
    network="default",
    network_id="88888888-8888-4888-8888-888888888888",
    mac="52:54:c0:00:02:07",
    address="192.0.2.7",
    prefix=24,
    gateway="192.0.2.1",
    dns="192.0.2.2",
    mtu=9000,
    tag="front",
    port_id="99999999-9999-4999-8999-999999999999",
    fixed=(
        FixedAddress(
            address="192.0.2.7",
            prefix=24,
            subnet_id="66666666-6666-4666-8666-666666666666",
            gateway="192.0.2.1",
            dns=("192.0.2.2",),
            floating=("203.0.113.7",),
            given="static",
        ),
    ),
    groups=("web",),
    plug=Plug(kind="ovs", bridge="br-int", device="tap99999999-99", hybrid=True, datapath="netdev"),
    is_active=False,
    is_ours=False,
)
