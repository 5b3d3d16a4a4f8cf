"""Joins the route tables of all resources."""

from kilonova.api import (
    aggregates,
    assisted_snapshots,
    audit_logs,
    availability_zones,
    compute_services,
    decisions,
    desired,
    extensions,
    external_events,
    flavor_details,
    flavors,
    gone,
    hypervisors,
    image_caching,
    key_pairs,
    limits,
    migrations,
    old_hosts,
    operator_tasks,
    plans,
    quotas,
    server_groups,
    usages,
    vitals,
)
from kilonova.api.microversions import Since
from kilonova.api.routing import Route
from kilonova.api.servers import (
    addresses,
    diagnostics,
    instance_actions,
    interfaces,
    metadata,
    networks,
    passwords,
    remote_consoles,
    server,
    shares,
    tags,
    topology,
    volume_attachments,
)

ROUTES: tuple[Route, ...] = (
    *aggregates.ROUTES,
    *assisted_snapshots.ROUTES,
    *audit_logs.ROUTES,
    *availability_zones.ROUTES,
    *compute_services.ROUTES,
    *extensions.ROUTES,
    *external_events.ROUTES,
    *flavor_details.ROUTES,
    *flavors.ROUTES,
    *hypervisors.ROUTES,
    *image_caching.ROUTES,
    *instance_actions.ROUTES,
    *key_pairs.ROUTES,
    *limits.ROUTES,
    *migrations.ROUTES,
    *old_hosts.ROUTES,
    *quotas.ROUTES,
    *remote_consoles.ROUTES,
    *addresses.ROUTES,
    *diagnostics.ROUTES,
    *server_groups.ROUTES,
    *interfaces.ROUTES,
    *metadata.ROUTES,
    *networks.ROUTES,
    *passwords.ROUTES,
    *shares.ROUTES,
    *tags.ROUTES,
    *topology.ROUTES,
    *server.ROUTES,
    *usages.ROUTES,
    *volume_attachments.ROUTES,
)

_VOLUMES_BOOT = tuple(
    Route(
        route.method,
        route.path.replace("/servers", "/os-volumes_boot"),
        route.rule,
        route.handler,
        body=route.body,
        query=route.query,
        when=route.when & Since.NO_VOLUMES_BOOT.before,
    )
    for route in server.ROUTES
    if not route.path.endswith("/action")
)
"""Another name that servers once had."""

OLD_ROUTES: tuple[Route, ...] = (*gone.ROUTES, *_VOLUMES_BOOT)
"""What only old clients ask for: it stands in no document."""

OWN_ROUTES: tuple[Route, ...] = (
    *decisions.ROUTES,
    *desired.ROUTES,
    *operator_tasks.ROUTES,
    *plans.ROUTES,
    *vitals.ROUTES,
)
"""What is served below ``/kilonova/v1``, with no microversions."""
