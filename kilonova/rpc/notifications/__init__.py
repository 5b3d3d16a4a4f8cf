"""Notifications: what happened, told to whoever listens on the bus, in the form that Nova's consumers read.

Each payload names its type and version, and is made by a pure function of a module of its own kind:
``instances``, ``flavors``, ``services``, ``aggregates``, ``key_pairs``, ``server_groups``. What follows
from a host's report is in ``reports``; ``notifier`` sends. Source of names, versions and fields: Nova,
"Available versioned notifications".
"""
