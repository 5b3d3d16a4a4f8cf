"""Entry points, and the operator's commands."""
