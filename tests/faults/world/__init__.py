"""A deployment in one thread, on a clock of its own: what happens in it follows from a seed alone.

The services are the real ones. Only what lies under them is the world's: threads and time (``kernel``,
``threads``), the bus and HTTP (``network``), the answers of databases (``storage``), and a process's life.
"""
