"""Networks that know shapes before they see a scan: layers in plain torch, and the files of their weights."""

from surfrecon.networks.layout import LAYOUTS, Layout
from surfrecon.networks.occupancy_network import Features, OccupancyNetwork

__all__ = ["LAYOUTS", "Features", "Layout", "OccupancyNetwork"]
