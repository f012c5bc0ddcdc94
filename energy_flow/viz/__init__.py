"""Figures for people: tables for the terminal."""

from .tables import cost_table, examples_table, metrics_table

__all__ = ["cost_table", "examples_table", "metrics_table"]
