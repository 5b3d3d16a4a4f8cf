"""What is kept of a guest as it was, beside what it goes on with, until its move is decided on.

Where hosts share a directory each has its own there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kilonova.compute.libvirt.tool import run, written


class Kept:
    """The files of guests below ``root`` that ``host`` keeps, of those of the given ``names``."""

    def __init__(self, root: Path, host: str, names: Sequence[str]) -> None:
        self._root = root
        self._host = host
        self._names = names

    def _pairs(self, uuid: str) -> Iterator[tuple[Path, Path]]:
        """Yield each file with where it is kept."""
        for name in self._names:
            file = self._root / uuid / name
            yield file, self.of(file)

    def of(self, file: Path) -> Path:
        """Return where a file of a guest is kept, if it is."""
        return file.with_name(f"kept-{self._host}{file.suffix}")

    def keep(self, uuid: str) -> None:
        """Keep a guest's files as they are. What is kept before, stays so.

        Raises:
            BuildFailed: they cannot be copied.
        """
        for file, kept in self._pairs(uuid):
            if file.exists() and not kept.exists():
                copy = kept.with_name(f"{kept.name}.part")
                with written():
                    run("cp", "--reflink=auto", "--sparse=always", str(file), str(copy))
                    copy.chmod(file.stat().st_mode & 0o777)
                    copy.replace(kept)

    def has(self, uuid: str) -> bool:
        """Whether something of a guest is kept."""
        return any(kept.exists() for _, kept in self._pairs(uuid))

    def put_back(self, uuid: str) -> None:
        """Let a guest have again what was kept.

        Raises:
            BuildFailed: it cannot be moved.
        """
        for file, kept in self._pairs(uuid):
            if kept.exists():
                with written():
                    kept.replace(file)

    def forget(self, uuid: str) -> None:
        """Remove what was kept."""
        for _, kept in self._pairs(uuid):
            kept.unlink(missing_ok=True)
