"""kilonova boots virtual machines behind OpenStack's Compute and Placement APIs."""

__version__ = "0.1.0"
