"""Tests that do not run on a cluster or by Sentinel, and why: what they state is of one server."""

from __future__ import annotations

from typing import Final

_ONE_ADDRESS = "starts a program that connects to one address"
_CONNECTIONS = "counts or ends the connections of one server, where nodes and Sentinels have some too"
_SETTINGS = "changes the settings or users of one server, or counts its commands"

_OF_ONE_ADDRESS: Final = (
    "test_bundle.py::test_a_synchronizer_that_is_dropped_does_not_live_on",
    "test_cache_adaptive.py::test_a_loop_and_a_scan_do_not_empty_it",
    "test_cache_near.py::test_a_forked_child_listens_for_itself",
    "test_cli_commands.py::test_a_database_that_is_not_there",
    "test_cli_commands.py::test_tls_to_a_port_without_tls",
    "test_documents_formats.py",
    "test_documents_sync_formats.py",
    "test_lifetime.py",
)
_OF_CONNECTIONS: Final = (
    "test_cache_near.py::TestEnd::test_the_server_is_left_without_a_connection",
    "test_connect_servers.py::TestOneServer::test_says_who_it_is",
    "test_footprint.py",
    "test_worker_namespaces.py::test_two_connections_wait",
    "test_worker_waiting.py::test_a_cancellation_ends_a_wait",
    "test_worker_waiting.py::test_a_listening_connection_that_is_killed",
    "test_worker_waiting.py::test_a_wait_ends_at_once",
    "test_worker_waiting.py::test_connections_by_which_a_hint",
)
_OF_SETTINGS: Final = (
    "test_bundle.py::test_dropping_a_namespace_takes_many_small_steps",
    "test_cli_commands.py::test_a_worker_waits_for_a_cloud_that_begins_to_refuse_it",
    "test_documents_acl.py",
    "test_metrics_shards.py::TestAnswers::test_a_query_asks_all_shards_at_once",
    "test_runner.py::test_a_forgotten_script_is_sent_once",
    "test_runner.py::test_a_full_server_a_read_only_one_and_a_refused_user",
    "test_sync_hints.py::test_a_script_that_may_not_publish",
    "test_worker_waiting.py::test_where_the_user_may_not_subscribe",
)
_OF_ALL: Final = {
    **dict.fromkeys(_OF_ONE_ADDRESS, _ONE_ADDRESS),
    **dict.fromkeys(_OF_CONNECTIONS, _CONNECTIONS),
    "test_tracing.py::test_a_span_names_the_server": "a span names the server of a client that has one address alone",
}
_NOT_ON: Final = {
    "sentinel": {
        **_OF_ALL,
        "test_runner.py::test_a_full_server_a_read_only_one": "a client of Sentinels asks them for another master",
        "test_runner.py::test_each_reply_has_its_error": "a client of Sentinels asks them for another master",
        "test_runner.py::test_a_client_that_decodes": "connect() makes no client that decodes",
        "test_cache_arguments.py::test_a_client_that_decodes": "connect() makes no client that decodes",
    },
    "cluster": {
        **_OF_ALL,
        **dict.fromkeys(_OF_SETTINGS, _SETTINGS),
        "test_cache.py::test_both_apis_in_one_process_share": "clients of a cluster share nothing in a process",
        "test_cache.py::test_two_caches_of_a_process_know": "clients of a cluster share nothing in a process",
        "test_metrics.py::test_one_process_sees_all_it_has": "clients of a cluster share nothing in a process",
        "test_metrics.py::test_track_records_for_this_machine": "clients of a cluster share nothing in a process",
    },
}


def why_not(server: str, test: str) -> str:
    """Return why a test does not run on a server, \"\" where it does."""
    rows = _NOT_ON.get(server, {})
    return next(
        (reason for beginning, reason in rows.items() if test.partition("contract/")[2].startswith(beginning)), ""
    )
