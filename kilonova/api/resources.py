"""Joins the route tables of all resources."""

from kilonova.api import (
    aggregates,
    availability_zones,
    compute_services,
    decisions,
    extensions,
    external_events,
    flavor_details,
    flavors,
    hypervisors,
    instance_actions,
    key_pairs,
    limits,
    migrations,
    plans,
    quotas,
    remote_consoles,
    server_addresses,
    server_diagnostics,
    server_groups,
    server_metadata,
    server_passwords,
    server_tags,
    server_topology,
    servers,
    usages,
)
from kilonova.api.routing import Route

ROUTES: tuple[Route, ...] = (
    *aggregates.ROUTES,
    *availability_zones.ROUTES,
    *compute_services.ROUTES,
    *extensions.ROUTES,
    *external_events.ROUTES,
    *flavor_details.ROUTES,
    *flavors.ROUTES,
    *hypervisors.ROUTES,
    *instance_actions.ROUTES,
    *key_pairs.ROUTES,
    *limits.ROUTES,
    *migrations.ROUTES,
    *quotas.ROUTES,
    *remote_consoles.ROUTES,
    *server_addresses.ROUTES,
    *server_diagnostics.ROUTES,
    *server_groups.ROUTES,
    *server_metadata.ROUTES,
    *server_passwords.ROUTES,
    *server_tags.ROUTES,
    *server_topology.ROUTES,
    *servers.ROUTES,
    *usages.ROUTES,
)

OWN_ROUTES: tuple[Route, ...] = (*decisions.ROUTES, *plans.ROUTES)
"""What is served below ``/kilonova/v1``, with no microversions."""
