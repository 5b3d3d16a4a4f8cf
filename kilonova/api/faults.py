"""Errors as the Compute API shows them: ``{"<name>": {"code": N, "message": "..."}}``.

Names by status: Compute API guide, "Faults".
"""

import msgspec

JSON_UTF8 = "application/json; charset=UTF-8"

_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}

NO_ROUTE = msgspec.json.encode(
    {
        "message": "The resource could not be found.<br /><br />\n\n\n",
        "code": "404 Not Found",
        "title": "Not Found",
    }
)
"""The body for a path or a method that does not exist, which has another shape."""


def fault_body(status: int, message: str) -> bytes:
    """Return the body of a fault."""
    fault: dict[str, object] = {"code": status, "message": message}
    if status in (413, 429):
        fault["retryAfter"] = "0"
    return msgspec.json.encode({_NAMES.get(status, "computeFault"): fault})


def unexpected(error: Exception) -> str:
    """Return the message for an error that nobody expected: it names the class, never the details."""
    return (
        "Unexpected API Error. Please report this to the operator of this cloud together with the "
        f"request id.\n{type(error).__name__}"
    )
