# mypy: ignore-errors
"""A driver for Cinder: volumes are files of one machine, and every host on it reaches them by their paths.

What is one server's may be several servers', and grows while they have it.
"""

import shutil
from pathlib import Path

from cinder import interface
from cinder.image import image_utils
from cinder.volume import configuration, driver
from oslo_config import cfg

cfg.CONF.register_opts([cfg.StrOpt("files_directory")], group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class FilesDriver(driver.VolumeDriver):
    """Volumes in ``files_directory``."""

    VERSION = "1"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values([cfg.StrOpt("files_directory")])
        self._directory = Path(self.configuration.files_directory)

    def check_for_setup_error(self):
        self._directory.mkdir(parents=True, exist_ok=True)

    def _path(self, kept):
        return self._directory / (getattr(kept, "name_id", None) or kept.id)

    def _grow(self, volume, size):
        with self._path(volume).open("ab") as file:
            file.truncate(size << 30)

    def _copy(self, source, volume):
        shutil.copyfile(self._path(source), self._path(volume))
        self._grow(volume, volume.size)

    def create_volume(self, volume):
        self._grow(volume, volume.size)

    def extend_volume(self, volume, new_size):
        self._grow(volume, new_size)

    def create_volume_from_snapshot(self, volume, snapshot):
        self._copy(snapshot, volume)

    def create_cloned_volume(self, volume, src_vref):
        self._copy(src_vref, volume)

    def delete_volume(self, volume):
        self._path(volume).unlink(missing_ok=True)

    def create_snapshot(self, snapshot):
        shutil.copyfile(self._path(snapshot.volume), self._path(snapshot))

    def delete_snapshot(self, snapshot):
        self._path(snapshot).unlink(missing_ok=True)

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        path = str(self._path(volume))
        image_utils.fetch_to_raw(context, image_service, image_id, path, "1M", size=volume.size)
        self._grow(volume, volume.size)

    def ensure_export(self, context, volume):
        """Nothing has to be exported."""

    def create_export(self, context, volume, connector):
        """Nothing has to be exported."""

    def remove_export(self, context, volume):
        """Nothing was exported."""

    def initialize_connection(self, volume, connector):
        return {
            "driver_volume_type": "local",
            "data": {"device_path": str(self._path(volume))},
        }

    def terminate_connection(self, volume, connector, **kwargs):
        """Nothing has to be let go of."""

    def clone_image(self, context, volume, image_location, image_meta, image_service):
        return {}, False

    def migrate_volume(self, context, volume, host):
        return False, None

    def _update_volume_stats(self):
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "tests",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "total_capacity_gb": 1000,
            "free_capacity_gb": 1000,
            "multiattach": True,
            "online_extend_support": True,
        }
