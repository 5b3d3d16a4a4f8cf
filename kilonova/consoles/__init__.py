"""The proxy through which users reach the consoles of their servers."""
