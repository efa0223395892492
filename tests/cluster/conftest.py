"""The fixtures of Pancar on the cluster; see rigs.pancar_cluster."""

from rigs.pancar_cluster import bare, pancar

__all__ = ["bare", "pancar"]
