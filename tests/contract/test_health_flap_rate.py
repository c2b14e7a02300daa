"""Flapping that is slower than a window of checks, and one source for monitors and watches."""

from __future__ import annotations

from typing import Any

import pytest

from edge_redis import EdgeNode, FlapRate, FlapThresholds, HealthMonitor, InvalidArgumentError, InvalidTypeError
from edge_redis._health.flapping import DEFAULT_FLAP_RATE
from edge_redis._health.spells import Spell
from support.site import Site


def slow_flapping(site: Site, watch: Any, seconds: int, period: int, *, every: int = 10) -> list[bool]:
    """Let "a" send a heartbeat every ``period`` seconds; return whether it flaps, at each round."""
    found = []
    for second in range(0, seconds, every):
        site.clock.now += every
        site.beat()
        if second % period < every:
            site.monitor.heartbeat("a")
        watch.run_once()
        found.append(site.monitor.detect_flapping("a"))
        last = [change[1] for change in site.changes() if change[0] == "a" and "flapping" in change[1:]]
        assert found[-1] is (bool(last) and last[-1] == "flapping"), "the watch and the monitor say the same"
    return found


@pytest.mark.parametrize("options", [{}, {"flap_detector": FlapThresholds()}], ids=["window", "thresholds"])
@pytest.mark.parametrize("period", [90])
def test_flapping_slower_than_the_window_is_found_by_default(site: Site, period: int, options: dict[str, Any]) -> None:
    site.watch.close()
    site.monitor = site.make("HealthMonitor", **options)
    watch = site.another(interval_seconds=30, **options)
    site.monitor.register(EdgeNode("a", "a"))
    site.join("b", "c", "d", "e")
    assert True in slow_flapping(site, watch, 4 * period, period)
    assert site.monitor.get_recovery_recommendation("a") == "Reboot node (flapping detected)"
    site.alive.add("a")
    site.rounds(1900, watch, every=30)
    assert site.monitor.detect_flapping("a") is False
    assert site.changes()[-1][1:] == ("healthy", "flapping")


def test_two_failures_in_half_an_hour_are_not_flapping(site: Site) -> None:
    site.monitor.register(EdgeNode("a", "a"))
    site.join("b", "c", "d", "e")
    site.watch.close()
    watch = site.another(interval_seconds=30)
    assert True not in slow_flapping(site, watch, 1500, 700, every=25)


def test_a_change_that_another_monitor_found_counts_as_well(site: Site) -> None:
    site.join("a", "b", "c")
    site.rounds(60)
    for index in range(4):
        site.monitor.check_node(site.node("a") if index % 2 else EdgeNode("a", "a", status="offline"))  # type: ignore[arg-type]
    assert site.monitor.detect_flapping("a") is True
    site.rounds(5)
    assert "flapping" in [change[1] for change in site.changes()]


def spells(*changes: tuple[float, str]) -> list[Spell]:
    return [Spell(round(seconds * 1000), mark) for seconds, mark in changes]


def test_a_rate_counts_changes_of_verdict_within_its_time() -> None:
    rate = FlapRate(3, 100)
    history = spells((0, "1"), (10, "0"), (20, "1"), (30, "0"), (40, "0m"), (50, "1"), (60, "?"), (70, "0"))
    assert rate.count(history, 75_000, 0) == 4, "the end of maintenance is no change, a pause of the checks hides none"
    assert rate.count(history, 125_000, 0) == 2
    assert rate.count(history, 75_000, 15_000) == 4
    assert rate.count(history, 75_000, 25_000) == 3, "the second failure came too soon after the first"
    assert rate.count([], 0, 0) == 0
    assert DEFAULT_FLAP_RATE.failures_apart_seconds is None, "the timeout"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1, 60), InvalidArgumentError),
        ((3, 0), InvalidArgumentError),
        ((3.5, 60), InvalidTypeError),
        ((3, 60, -1), InvalidArgumentError),
    ],
)
def test_rates_that_make_no_sense_are_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        FlapRate(*arguments)


def test_a_rate_may_be_given_left_out_or_take_the_detector_s_place(make: Any) -> None:
    assert isinstance(make("HealthMonitor", flap_rate=None), object)
    assert isinstance(make("HealthMonitor", flap_detector=FlapRate(3, 60)), object)
    with pytest.raises(InvalidTypeError):
        HealthMonitor(make.backend.client(), flap_rate=3)  # type: ignore[arg-type]
