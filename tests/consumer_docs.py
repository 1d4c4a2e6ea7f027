"""The lines of code in `docs/registry.md`, which tests run as they stand there."""

from pathlib import Path

_PAGE = Path(__file__).parents[1] / "docs/registry.md"


def documented(heading: str) -> str:
    """Returns the first Python lines below a heading."""
    section = _PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split("```python\n")[1].split("```")[0]
