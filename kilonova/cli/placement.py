"""``kilonova-placement``: Placement under gunicorn."""

from kilonova.cli.wsgi_service import serve
from kilonova.placement import wsgi


def main() -> None:
    """Serve until SIGTERM."""
    serve("kilonova-placement", "placement_api", "placement_database", wsgi.build)
