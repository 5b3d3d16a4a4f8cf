"""Joins the route tables of all resources."""

from kilonova.api.routing import Route

ROUTES: tuple[Route, ...] = ()
