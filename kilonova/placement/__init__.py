"""The Placement service: what providers hold, who uses it, and claims that never collide."""
