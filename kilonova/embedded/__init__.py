"""A whole deployment in one process on loopback, with what other projects are elsewhere."""
