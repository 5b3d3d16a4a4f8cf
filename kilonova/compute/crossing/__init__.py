"""How a guest crosses from one host to another: one port, one connection for each thing that is asked.

A destination opens a *berth* for one guest, and tells of it through the cell's bus: where it listens, the
fingerprint of its certificate, and a token. Whoever shows the token over TLS may bring that guest's files,
and reach the hypervisor for as long as the berth is open. So hosts need no keys of each other's, and a
hypervisor listens on no network.
"""
