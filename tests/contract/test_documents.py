"""Every Python example of the documents runs as it stands, in order, on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from support.servers import Backend

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = [path for path in FILES if "```python" in path.read_text()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_run(path: Path, valkey: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_REDIS_URL", str(valkey.url))
    document = Document.parse(str(path), PythonCodeBlockParser())
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()
