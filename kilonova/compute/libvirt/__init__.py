"""The one place that imports libvirt, and that translates its errors."""
