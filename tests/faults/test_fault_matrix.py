"""A short form of the matrix of operations and faults; ``scripts/test --faults`` runs the whole and makes its table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import edge_redis.aio
from support.fault_matrix import APIS, Run
from support.fault_mutations import MUTATIONS, OPERATIONS, run_mutation
from support.faulty_program import FaultyProgram
from support.server_faults import FAULTS, FaultySite
from support.servers import real_servers
from support.service_operations import SERVICES

QUICK = [fault for fault in FAULTS if fault.is_quick]
SHORT = [
    *OPERATIONS,
    ('EdgeCache(on_error="miss")', "get"),
    ('EdgeCache(on_error="miss")', "put"),
    ("EdgeCache", "incr"),
    ("EdgeMetrics", "flush"),
    ("HealthWatch", "run_once"),
    ("RedisCloudStore", "apply"),
    ("CloudWorker", "run_once"),
]
QUICK_MUTATIONS = [each for each in MUTATIONS if each.fault in {fault.name for fault in QUICK}]


def public_names(service: type) -> set[str]:
    return {name for kind in service.__mro__[:-1] for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", [name for name in edge_redis.aio.__all__ if name != "connect"])
def test_the_table_of_operations_has_every_public_name(name: str) -> None:
    rows = [service for key, service in SERVICES.items() if name in {key, service.of}]
    assert rows
    for row in rows:
        assert {*row.operations, *row.excluded} >= public_names(getattr(edge_redis.aio, name))
        assert {*row.operations} <= public_names(getattr(edge_redis.aio, name))


@pytest.fixture(scope="module")
def faulty_site() -> Iterator[FaultySite]:
    if not real_servers():
        pytest.skip("no real server is chosen")
    with FaultySite() as site:
        yield site


@pytest.fixture(scope="module", params=APIS)
def run(request: pytest.FixtureRequest, faulty_site: FaultySite) -> Any:
    matrix = Run(faulty_site, SHORT, [request.param])
    assert not [(str(cell), cell.problems) for cell in matrix.perform_without() if cell.problems]
    return matrix


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.name)
def test_operations_of_each_kind_behave_during_a_fault_as_stated(run: Run, fault: Any) -> None:
    if fault.name == "clock back" and not FaultyProgram.can_jump:
        pytest.skip("no libfaketime (Debian: apt-get install libfaketime)")
    assert not [(str(cell), cell.problems) for cell in run.perform([fault]) if cell.problems]


@pytest.mark.parametrize("mutation", QUICK_MUTATIONS, ids=lambda mutation: mutation.fault)
def test_without_an_error_handler_operations_do_not(faulty_site: FaultySite, mutation: Any) -> None:
    assert run_mutation(faulty_site, mutation)
