"""The part of a payload that says what went wrong."""

import re

from kilonova.core.instance import ActionEvent
from kilonova.rpc.notifications.notification import Payload, versioned

_PLACE = re.compile(
    r'^ *File "(?:.*/)?(?P<module>[^"/]+)\.py", line \d+, in (?P<function>\S+)', re.M
)
_RAISED = re.compile(r"^(?:\w+\.)*(?P<name>[A-Z]\w+)(?::|$)", re.M)
_UNNAMED = "KilonovaError"


def of_event(event: ActionEvent) -> Payload:
    """Return what went wrong in an event that ended in an error; the traceback tells where."""
    traceback = event.traceback or ""
    places = list(_PLACE.finditer(traceback))
    # What is below the last place is the error itself.
    raised = _RAISED.search(traceback, places[-1].end()) if places else None
    return _exception(
        event.details or "",
        name=raised["name"] if raised else _UNNAMED,
        place=(places[-1]["module"], places[-1]["function"]) if places else ("", ""),
        traceback=event.traceback,
    )


def of_sentence(sentence: str) -> Payload:
    """Return what went wrong where no more is known than a sentence."""
    return _exception(sentence, name=_UNNAMED, place=("", ""), traceback=None)


def _exception(
    message: str, *, name: str, place: tuple[str, str], traceback: str | None
) -> Payload:
    module, function = place
    data = {
        "module_name": module,
        "function_name": function,
        "exception": name,
        "exception_message": message,
        "traceback": traceback,
    }
    return versioned("ExceptionPayload", "1.1", data)
