"""Figures for people: tables for the terminal, and a picture of the flows."""

from .flow_picture import draw_flows
from .tables import cost_table, examples_table, metrics_table

__all__ = ["cost_table", "draw_flows", "examples_table", "metrics_table"]
