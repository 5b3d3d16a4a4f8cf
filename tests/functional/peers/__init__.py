"""Peers that are played in the test's process: they keep state, and refuse as the real ones do."""
