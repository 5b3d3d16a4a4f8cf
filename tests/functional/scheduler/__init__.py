"""The scheduler with its databases and with Placement."""
