"""JSON Schemas of requests, by microversion."""
