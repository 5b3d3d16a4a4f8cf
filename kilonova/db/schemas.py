"""The three schemas by their names: services that only look at versions load nothing that migrates."""

from typing import Literal

Schema = Literal["api", "cell", "placement"]


def version_table(schema: Schema) -> str:
    """Return the name of the table that holds a schema's version."""
    return f"{schema}_schema_version"
