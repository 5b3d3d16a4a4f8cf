"""``kilonova-api``: the Compute API under gunicorn."""

from kilonova.api import wsgi
from kilonova.cli.wsgi_service import serve


def main() -> None:
    """Serve until SIGTERM."""
    serve("kilonova-api", "compute_api", "api_database", wsgi.build)
