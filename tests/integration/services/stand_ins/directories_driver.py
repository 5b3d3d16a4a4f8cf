# mypy: ignore-errors
"""A driver for Manila: shares are directories of one machine. Who is let in to one is noted, no more."""

import shutil
from pathlib import Path

from manila.share import driver
from oslo_config import cfg

_OPTIONS = [cfg.StrOpt("directories_path")]


class DirectoriesDriver(driver.ShareDriver):
    """Shares in ``directories_path``, exported as NFS would."""

    def __init__(self, *args, **kwargs):
        super().__init__(False, *args, config_opts=[_OPTIONS], **kwargs)
        self._directory = Path(self.configuration.directories_path)

    def _path(self, share):
        return self._directory / share["id"]

    def do_setup(self, context):
        self._directory.mkdir(parents=True, exist_ok=True)

    def _exports(self, share):
        return [
            {"path": f"192.0.2.99:/nowhere/{share['id']}", "metadata": {}, "is_admin_only": False},
            {
                "path": f"127.0.0.1:{self._path(share)}",
                "metadata": {"preferred": True},
                "is_admin_only": False,
            },
        ]

    def create_share(self, context, share, share_server=None):
        self._path(share).mkdir(mode=0o777)
        return self._exports(share)

    def delete_share(self, context, share, share_server=None):
        shutil.rmtree(self._path(share), ignore_errors=True)

    def ensure_share(self, context, share, share_server=None):
        return self._exports(share)

    def update_access(self, context, share, access_rules, *args, **kwargs):
        lines = [f"{rule['access_type']} {rule['access_to']}\n" for rule in access_rules]
        (self._directory / f"{share['share_id']}.access").write_text("".join(lines))

    def _update_share_stats(self, data=None):
        room = {"total_capacity_gb": 100, "free_capacity_gb": 100}
        super()._update_share_stats(
            {
                "share_backend_name": "directories",
                "storage_protocol": "NFS",
                "reserved_percentage": 0,
                **room,
            }
        )
