"""The slopes that scripts/dev/soak.py prints, and a short run of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "dev" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = spec_from_file_location("soak", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


TIMES = [15.0 * number for number in range(240)]


def test_growth_is_found_below_noise_and_none_where_there_is_none(soak: ModuleType) -> None:
    pick = random.Random(1)
    noise = [pick.gauss(0, 1) for _ in TIMES]
    flat, grown = (
        soak.fit(TIMES, [50 + rate * t / 3600 + e for t, e in zip(TIMES, noise, strict=True)]) for rate in (0, 3)
    )
    assert flat.is_flat
    assert not grown.is_flat
    assert grown.per_hour == pytest.approx(3, abs=grown.interval)
    assert grown.interval < 1


def test_series_that_are_not_in_every_sample_are_named_and_have_no_slope(
    soak: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [{"seconds": t, "values": {"a": 1.0, **({"b": 2.0} if t > 1800 else {})}} for t in TIMES]
    assert [*soak.series_of(samples, 900)] == ["a"]
    soak.print_slopes(samples, 900)
    assert "not in all samples: b" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="too few"):
        soak.series_of(samples, 3500)


@pytest.mark.exploration
@pytest.mark.timeout(150)
def test_a_minute_of_the_site(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    command = [sys.executable, str(SCRIPT), "--seconds", "60", "--every", "1", "--samples", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ended with code 0" in done.stderr
    last = json.loads(path.read_text().splitlines()[-1])["values"]
    for name in ("up", "server", "monitor", "cloud worker", "edge 3"):
        assert last[f"{name}: RSS MB"] > 1
    assert "edge 1: descriptors" in done.stdout
