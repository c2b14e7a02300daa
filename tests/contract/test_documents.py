"""Every Python example of the documents runs as it stands, in order, on a real server; every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from support.servers import Backend

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGES_WITH_EXAMPLES = [path for path in PAGES if "```python\n" in path.read_text()]

REPOSITORY = re.compile(
    r"https://(?:github\.com|raw\.githubusercontent\.com)/edge-redis/edge-redis/(?:(?:blob|tree)/)?main/"
)
"""What begins the links that PyPI needs to be absolute; they lead to files of this project."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES_WITH_EXAMPLES, ids=_name)
def test_the_examples_run(path: Path, valkey: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_REDIS_URL", str(valkey.url))
    document = Document.parse(str(path), PythonCodeBlockParser())
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_between_pages_lead_to_pages_and_headings_that_exist(path: Path) -> None:
    for link in _LINK.findall(_CODE.sub("", path.read_text())):
        target, _, anchor = REPOSITORY.sub(f"{ROOT}/", link).partition("#")
        if "://" in target:
            continue
        page = (path.parent / target).resolve() if target else path
        assert page.exists(), f"{_name(path)} links to {link}"
        if anchor and page.suffix == ".md":
            assert anchor in _anchors(page), f"{_name(path)} links to {link}"


SOURCES = {
    path: path.read_text() for path in sorted((ROOT / "edge_redis").rglob("*")) if path.suffix in (".py", ".lua")
}
WALKS = sorted((ROOT / "docs" / "explanation").glob("walk-*.md"))

_FILE = re.compile(r"\b((?:\w+/)*\w+\.(?:py|lua))\b")
_METHOD = re.compile(r"\b([A-Z]\w+)\.(\w+)\b")


@pytest.mark.parametrize("path", WALKS, ids=_name)
def test_the_walks_through_the_code_name_files_and_methods_that_exist(path: Path) -> None:
    text, code = path.read_text(), "\n".join(SOURCES.values())
    for name in _FILE.findall(text):
        assert (ROOT / name).exists() or any(str(file).endswith(f"/{name}") for file in SOURCES), f"there is no {name}"
    for owner, method in _METHOD.findall(text):
        assert re.search(rf"^class {owner}\b", code, re.MULTILINE), f"there is no {owner}"
        assert re.search(rf"^    (?:async )?def {method}\b", code, re.MULTILINE), f"there is no {owner}.{method}"
