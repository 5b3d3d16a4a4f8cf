"""Tempest from PyPI, unmodified: OpenStack's own tests of a cloud, whose compute service is kilonova.

``python -m tests.integration.tempest`` runs all of it that asks something of a compute service;
``tests/integration/test_tempest.py`` runs what stands in ``quick.txt``.
"""
