"""The Compute HTTP API."""
