"""What hosts' parts of moves are called among the events of an action. The names are Nova's."""

from kilonova.core.migration import Kind, Migration, Stage

_EVENTS: dict[Stage, str] = {
    Stage.PREPARING: "compute_prep_resize",
    Stage.SENDING: "compute_resize_instance",
    Stage.FINISHING: "compute_finish_resize",
    Stage.CLEARING: "compute_confirm_resize",
    Stage.UNDOING: "compute_revert_resize",
    Stage.RESTORING: "compute_finish_revert_resize",
    Stage.ABANDONING: "compute_revert_resize",
}
_LIVE_EVENTS: dict[Stage, str] = {
    Stage.PREPARING: "compute_pre_live_migration",
    Stage.SENDING: "compute_live_migration",
    Stage.FINISHING: "compute_post_live_migration_at_destination",
    Stage.CLEARING: "compute_post_live_migration",
    Stage.UNDOING: "compute_rollback_live_migration_at_destination",
    Stage.RESTORING: "compute_rollback_live_migration",
    Stage.ABANDONING: "compute_rollback_live_migration_at_destination",
}

_OTHER_EVENTS: dict[Kind, dict[Stage, str]] = {
    Kind.EVACUATION: {Stage.FINISHING: "compute_rebuild_instance"},
    Kind.SHELVE: {
        Stage.SENDING: "compute_shelve_instance",
        Stage.CLEARING: "compute_shelve_offload_instance",
        Stage.RESTORING: "compute_shelve_instance_failed",
    },
    Kind.UNSHELVE: {Stage.FINISHING: "compute_unshelve_instance"},
}


def event_of(migration: Migration) -> str:
    """Return the name of the event that a host's part is."""
    if migration.kind in _OTHER_EVENTS:
        return _OTHER_EVENTS[migration.kind].get(migration.stage, _EVENTS[migration.stage])
    return (_LIVE_EVENTS if migration.is_live else _EVENTS)[migration.stage]
