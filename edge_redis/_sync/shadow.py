"""Desired and reported state: what a device still has to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_redis._core import validation


def shadow_difference(desired: Mapping[str, Any] | None, reported: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what of a desired state a device has not reported, as the delta of a device shadow.

    Fields of ``desired`` that ``reported`` lacks, or has with another value, each with its desired value. Dicts are
    compared field by field, at every depth; lists and all other values as wholes. A value of another type is another
    value: 1, 1.0 and True differ. Fields that are only reported are left out. None stands for no state.

        >>> shadow_difference({"target": 21.0, "fan": {"mode": "auto", "speed": 2}}, {"fan": {"mode": "auto"}})
        {'target': 21.0, 'fan': {'speed': 2}}

    Raises:
        InvalidTypeError: an argument is neither a dict nor None.

    """
    wanted: Mapping[str, Any] = {} if desired is None else validation.check_instance("desired", desired, Mapping)
    present: Mapping[str, Any] = {} if reported is None else validation.check_instance("reported", reported, Mapping)
    return _difference(wanted, present)


def _difference(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        if name not in present:
            found[name] = value
        elif isinstance(value, Mapping) and isinstance(present[name], Mapping):
            if inner := _difference(value, present[name]):
                found[name] = inner
        elif not _is_same(value, present[name]):
            found[name] = value
    return found


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, their types and those of all that they hold included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 -- NaN is the same value as NaN
