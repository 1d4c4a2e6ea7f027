"""A report as one HTML file that needs nothing else: no script, no network."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components import files
from components.report.content import Report

_BREAKABLE = Markup("_<wbr>")  # names such as neckline_design are wider than a tile

_SIGNS = {"query": "?", "agrees": "✓", "differs": "✗", "plain": ""}


def render(report: Report) -> str:
    """Returns the page; names from the data are escaped, figures are put in as they are."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html")
    return page.render(report=report, signs=_SIGNS, breakable=_BREAKABLE)


def write_report(report: Report, path: Path) -> None:
    """Writes the page."""
    files.write_text(render(report), path)
