"""Figures for people: tables for the terminal, a picture of the flows, and a page on which they can be played."""

from .answer import Answer
from .document import document_html
from .flow_picture import draw_flows
from .page import page_html, trace_html, write_page
from .scene import SampleNote, Scene
from .tables import cost_table, examples_table, metrics_table

__all__ = [
    "Answer",
    "SampleNote",
    "Scene",
    "cost_table",
    "document_html",
    "draw_flows",
    "examples_table",
    "metrics_table",
    "page_html",
    "trace_html",
    "write_page",
]
