"""What must hold of scopes that many processes update at an edge, each a field of its own, once all is carried.

lost        each field is at least at the last number that was acknowledged, and at most at the last that was sent
versions    those of acknowledged updates are distinct, and rise with time; there are no more than updates
equal       the cloud has what the edge has
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.history.log import Call
from support.service_history.cache_rules import Before


def scope_faults(
    calls: Sequence[Call], edge: Mapping[str, Mapping[str, Any]], cloud: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what is wrong; ``edge`` and ``cloud`` are the data of each scope at the end."""
    by_scope: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_scope[call.scope].append(call)
    for scope, some in sorted(by_scope.items()):
        yield from (f"{scope}: {fault}" for fault in _faults(some, edge.get(scope, {})))
        if edge.get(scope) != cloud.get(scope):
            yield f"{scope}: the edge has {edge.get(scope)}, and the cloud {cloud.get(scope)}"


def _faults(calls: Sequence[Call], data: Mapping[str, int]) -> Iterator[str]:
    sent: dict[str, int] = {}
    acknowledged: dict[str, int] = {}
    for call in calls:
        ((field, number),) = call.data.items()
        sent[field] = max(sent.get(field, 0), number)
        if call.outcome == "ok":
            acknowledged[field] = max(acknowledged.get(field, 0), number)
    for field, number in sent.items():
        if not acknowledged.get(field, 0) <= data.get(field, 0) <= number:
            yield f"{field} is {data.get(field)}, {acknowledged.get(field)} was acknowledged and {number} sent"
    done = [call for call in calls if call.outcome == "ok"]
    versions = [call.answer["answer"] for call in done]
    if len(versions) != len(set(versions)) or (versions and max(versions) > len(calls)):
        yield f"versions of {len(calls)} updates: {sorted(versions)}"
    highest = Before((call.returned, call.answer["answer"]) for call in done)
    for call in done:
        if call.answer["answer"] < highest(call.invoked):
            yield f"{call.op} made version {call.answer['answer']} after version {highest(call.invoked):.0f}"
