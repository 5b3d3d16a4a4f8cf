"""Joins the route tables of all resources."""

from kilonova.api import instance_actions, server_metadata, servers
from kilonova.api.routing import Route

ROUTES: tuple[Route, ...] = (
    *servers.ROUTES,
    *server_metadata.ROUTES,
    *instance_actions.ROUTES,
)
