"""Results for people: tables, and one page that stands alone.

Lines of `tgim.evaluation` go in; Markdown, plain text or HTML comes out. Nothing is measured here.
"""

from __future__ import annotations

from tgim.reporting.composing import compose_tables
from tgim.reporting.l2 import l2_tables
from tgim.reporting.page import page
from tgim.reporting.parts import parts_tables
from tgim.reporting.pictures import Gallery, gallery_of
from tgim.reporting.results import read_results
from tgim.reporting.tables import (
    Table,
    generation_tables,
    retrieval_tables,
    section_tables,
    summary_tables,
)

__all__ = [
    "Gallery",
    "Table",
    "compose_tables",
    "gallery_of",
    "generation_tables",
    "l2_tables",
    "page",
    "parts_tables",
    "read_results",
    "retrieval_tables",
    "section_tables",
    "summary_tables",
]
