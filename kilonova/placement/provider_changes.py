"""Changes of a provider that others change too: read it, change what is ours, write it if nobody else did.

``ask`` sends a request to Placement.
"""

from collections.abc import Callable, Collection
from typing import Any

from kilonova.core.errors import GenerationConflict
from kilonova.core.host import DISABLED_TRAIT
from kilonova.core.ids import ProviderUuid

_TIMES = 4
"""Others seldom change a provider, so that a second time nearly always does."""

_Ask = Callable[..., Any]
_Change = Callable[[set[str]], set[str]]


def join(
    ask: _Ask, provider: ProviderUuid, wanted: Collection[str], among: Collection[str]
) -> bool:
    """Let a provider be in the ``wanted`` aggregates and in no other of ``among``; False if it was so.

    Raises:
        GenerationConflict: others change the provider again and again.
    """
    return _changed(ask, provider, "aggregates", lambda held: (held - set(among)) | set(wanted))


def set_disabled(ask: _Ask, provider: ProviderUuid, disabled: bool) -> bool:
    """Let a provider have the trait of a disabled host, or not have it; False if it was so.

    Raises:
        GenerationConflict: others change the provider again and again.
    """
    trait = {DISABLED_TRAIT}
    return _changed(
        ask, provider, "traits", lambda held: held | trait if disabled else held - trait
    )


def _changed(ask: _Ask, provider: ProviderUuid, kind: str, change: _Change) -> bool:
    path = f"/resource_providers/{provider}/{kind}"
    for left in reversed(range(_TIMES)):
        answer = ask("GET", path).json()
        held = set(answer[kind])
        after = change(held)
        if after == held:
            return False
        generation = answer["resource_provider_generation"]
        body = {kind: sorted(after), "resource_provider_generation": generation}
        try:
            ask("PUT", path, body)
        except GenerationConflict:
            if not left:
                raise
        else:
            return True
    raise AssertionError("unreachable")
