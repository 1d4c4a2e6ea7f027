"""Documentation names files that exist."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tests/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
FOLDERS = ("benchmarks", "components", "docs", "findings", "infra", "pipelines", "presets", "tests")

LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#]+)")
PATH = re.compile(rf"(?<![\w./])(?:{'|'.join(FOLDERS)})/[\w./*{{}},-]+")
MODULE = re.compile(r"(?<=python -m )benchmarks\.[a-z_]+")
ALTERNATIVES = re.compile(r"{([^}]*)}")
LEFT_OUT = "\n## Where a test went"  # names tests that were removed


def spelt_out(pattern: str) -> Iterator[str]:
    """Yields the paths that `a/{b,c}.py` stands for."""
    parts = ALTERNATIVES.split(pattern)
    yield from map("".join, product(*(part.split(",") for part in parts)))


def missing_in(page: Path) -> Iterator[str]:
    """Yields the links and paths of a page that lead nowhere.

    A path counts from the repository's root or, as in tests/README.md, from the page's folder.
    """
    text = page.read_text().partition(LEFT_OUT)[0]
    for link in LINK.findall(text):
        if not (page.parent / link).exists():
            yield link
    for named in PATH.findall(text):
        for path in spelt_out(named.rstrip(".,")):
            if not any(any(base.glob(path)) for base in (ROOT, page.parent)):
                yield path
    for module in MODULE.findall(text):
        if not (ROOT / module.replace(".", "/")).with_suffix(".py").exists():
            yield f"python -m {module}"


def test_documentation_names_files_that_exist() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {name}" for page in PAGES for name in sorted(missing_in(page))
    ]
    assert not missing, "\n".join(missing)


def test_the_check_sees_what_is_missing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[a](gone.md) [b](page.md#part) [c](https://example.com/gone.md) [d](#part)\n"
        "`components/{tables,gone}.py` and `tests/components/gone*`, `docs/*.md`.\n"
        "python -m benchmarks.gone and python -m benchmarks.gather"
    )
    assert sorted(missing_in(page)) == [
        "components/gone.py",
        "gone.md",
        "python -m benchmarks.gone",
        "tests/components/gone*",
    ]
