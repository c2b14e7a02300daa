"""The tree of commands, of which each module is loaded when its command is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import typer

from edge_redis.cli.commands import COMMANDS
from edge_redis.cli.main import app

_PROGRAM = """
import contextlib, io, sys
from edge_redis.cli.main import main

def run(*words):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(list(words)) == 0
    return output.getvalue()

run("--help")
modules = {f"edge_redis.cli.{each}" for each in sys.argv[1:]}
assert not modules & set(sys.modules), "the help lists the commands and loads none"
run("nodes", "--help")
assert modules & set(sys.modules) == {"edge_redis.cli.nodes"}, "a command loads its module alone"
"""


def test_the_list_of_commands_has_each_with_the_first_paragraph_of_its_help() -> None:
    root: Any = import_module("typer.main").get_command(app)
    first = {name: " ".join(command.help.split("\n\n")[0].split()) for name, command in root.commands.items()}
    assert first == {name: each.summary for name, each in COMMANDS.items()}


def test_the_list_of_commands_has_all_that_their_modules_add() -> None:
    added = typer.Typer()
    for module in dict.fromkeys(each.module for each in COMMANDS.values()):
        import_module(f"edge_redis.cli.{module}").add_to(added)
    assert set(import_module("typer.main").get_group(added).commands) == set(COMMANDS)


def test_a_command_loads_its_own_module_alone() -> None:
    words = [sys.executable, "-c", _PROGRAM, *{each.module for each in COMMANDS.values()}]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
