"""The compute-node service: builds guests on this host, keeps them, and says how they are."""
