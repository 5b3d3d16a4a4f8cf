"""Values, states, errors and settings. Imports nothing of ours and does no I/O."""
