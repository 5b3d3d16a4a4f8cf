"""The compute service and its drivers."""
