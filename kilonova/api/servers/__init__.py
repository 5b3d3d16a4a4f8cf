"""Servers and what is below them: one module for each part of the resource, or action on it."""
