"""What a cloud's users run, unmodified: the ``openstack`` command and openstacksdk, from PyPI."""
