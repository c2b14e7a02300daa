"""Settings come from arguments, the environment and a file, by the command line's names; no secret is ever shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from edge_redis.cli.main import app
from edge_redis.errors import EdgeRedisError, InvalidArgumentError, InvalidTypeError
from edge_redis.settings import Settings
from edge_redis.settings._sources import VARIABLES

SECRET = "s3cret-word"
FILE = """
url = "redis://file:6379/0"
namespace = "file"
heartbeat-timeout = 7
cloud_sql = "sqlite:///cloud.db"
keys-file = "keys.toml"     # an option of commands

[monitor]
webhook = ["https://ops.example/hook"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(FILE)
    return path


def test_an_argument_wins_over_the_environment_and_that_over_the_file(file: Path) -> None:
    variables = {"EDGE_REDIS_NAMESPACE": "environment", "EDGE_REDIS_URL": "redis://environment:6379/0"}
    found = Settings.load(file, environment=variables, namespace="argument", client_name=None)
    assert (found.namespace, found.url) == ("argument", "redis://environment:6379/0")
    assert (found.heartbeat_timeout, found.cloud_sql) == (7, "sqlite:///cloud.db")
    assert (found.client_name, found.socket_timeout) == (None, None), "the defaults"
    assert Settings.load(file, environment={}).namespace == Settings.from_toml(file).namespace == "file"
    assert Settings.from_environment(variables).namespace == "environment"


def test_the_file_is_the_one_that_the_environment_names_or_the_user_s_own(file: Path, tmp_path: Path) -> None:
    own = tmp_path / "edge-redis" / "config.toml"
    own.parent.mkdir()
    own.write_text('namespace = "own"\n')
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert Settings.load(environment=home).namespace == "own"
    assert Settings.load(environment=home | {"EDGE_REDIS_CONFIG": str(file)}).namespace == "file"
    assert Settings.load(environment={"XDG_CONFIG_HOME": str(tmp_path / "none")}) == Settings()
    assert Settings.from_environment(home) == Settings()


def test_a_process_without_a_home_has_no_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    assert Settings.load(environment={}) == Settings()


def test_an_empty_variable_is_not_set(file: Path) -> None:
    assert Settings.load(file, environment={"EDGE_REDIS_NAMESPACE": "", "EDGE_REDIS_CONFIG": ""}).namespace == "file"


def test_values_of_variables_become_numbers_and_paths() -> None:
    variables = {
        "EDGE_REDIS_SOCKET_TIMEOUT": "2.5",
        "EDGE_REDIS_MAX_CONNECTIONS": "20",
        "EDGE_REDIS_PASSWORD_FILE": "/run/secrets/edge",
    }
    found = Settings.from_environment(variables)
    assert (found.socket_timeout, found.max_connections) == (2.5, 20)
    assert found.password_file == Path("/run/secrets/edge")


def _options(command: Any) -> Iterator[Any]:
    for child in getattr(command, "commands", {}).values():
        yield from _options(child)
    yield from command.params


def test_each_variable_of_the_command_line_is_that_of_the_setting_of_the_same_name() -> None:
    options = [each for each in _options(get_command(app)) if each.envvar and each.name != "config"]
    assert {option.envvar for option in options} <= set(VARIABLES.values())
    for option in options:
        assert option.envvar == VARIABLES[option.name]
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert {"url", "namespace", "password_file", "heartbeat_timeout", "cloud_url", "cloud_sql"} <= fields
    assert fields <= VARIABLES.keys()


def test_a_password_file_wins_over_the_variable_with_the_password_and_an_argument_over_both(file: Path) -> None:
    variables = {"EDGE_REDIS_PASSWORD": SECRET, "EDGE_REDIS_PASSWORD_FILE": "/run/secrets/edge"}
    found = Settings.from_environment(variables)
    assert (found.password, found.password_file) == (None, Path("/run/secrets/edge"))
    found = Settings.load(file, environment=variables, password="another")
    assert (found.password, found.password_file) == ("another", None)
    file.write_text('cloud-password-file = "/run/secrets/cloud"\n')
    assert Settings.load(file, environment={"EDGE_REDIS_CLOUD_PASSWORD": SECRET}).cloud_password is None


def test_a_cloud_s_url_replaces_the_database_that_a_weaker_source_names(file: Path) -> None:
    found = Settings.load(file, environment={"EDGE_REDIS_CLOUD_URL": "redis://cloud:6379"})
    assert (found.cloud_url, found.cloud_sql) == ("redis://cloud:6379", None)


@pytest.mark.parametrize(
    "values",
    [
        {"url": f"redis://user:{SECRET}@host:6379/0"},
        {"url": f"redis+sentinel://host/shop?sentinel_password={SECRET}"},
        {"url": f"rediss://host:6379?ssl_password={SECRET}"},
        {"cloud_url": f"redis://:{SECRET}@cloud:6379"},
        {"cloud_sql": f"postgresql+psycopg://user:a/{SECRET}?@{SECRET}@host/db"},
        {"password": SECRET},
        {"cloud_password": SECRET},
    ],
    ids=["url", "sentinel", "key", "cloud", "database", "password", "cloud password"],
)
def test_no_password_is_shown(values: dict[str, str]) -> None:
    shown = repr(Settings(**values))  # type: ignore[arg-type]
    assert SECRET not in shown
    assert "***" in shown
    assert shown.startswith(f"Settings({next(iter(values))}=")


def test_what_is_no_secret_is_shown() -> None:
    settings = Settings(url="redis+sentinel://a:26379,b/shop/1?sentinel_username=x", socket_timeout=2.0)
    assert repr(settings) == (
        "Settings(url='redis+sentinel://a:26379,b/shop/1?sentinel_username=x', socket_timeout=2.0)"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": f"http://:{SECRET}@host"}, "the URL must begin with one of redis://"),
        ({"url": f"redis://:{SECRET}:x@@host"}, "one '@' at most"),
        ({"cloud_sql": f"mysql://:{SECRET}@host/db"}, "cloud_sql must begin with one of sqlite:"),
        ({"namespace": "a{b}"}, "must not contain braces"),
        ({"heartbeat_timeout": 0}, "heartbeat_timeout must be above zero"),
        ({"max_connections": 0}, "max_connections must be at least 1"),
        ({"password_file": ""}, "password_file must not be empty"),
        ({"password": SECRET, "password_file": Path("p")}, "give password or password_file, not both"),
        ({"cloud_url": "redis://c", "cloud_sql": "sqlite:///c"}, "give cloud_url or cloud_sql, not both"),
        ({"url": "redis://host", "ssl_ca_certs": Path("ca")}, "ssl_ca_certs is for TLS"),
        ({"ssl_keyfile": Path("key")}, "give ssl_certfile too"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_without_showing_it(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        Settings(**values)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["url", "password", "password_file", "namespace", "socket_timeout"])
def test_a_value_of_the_wrong_type_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: [SECRET] if name == "url" else ("password", 7)}
    with pytest.raises(InvalidTypeError):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("namespace = 7\n", "edge.toml: namespace must be a str"),
        ('socket-timeout = "2"\n', "edge.toml: socket_timeout must be a number"),
        (f'password = "{SECRET}"\n', "password must not stand in the settings file: name a file with password-file"),
        (f'cloud-password = "{SECRET}"\n', "EDGE_REDIS_CLOUD_PASSWORD"),
        ("limit = 5\n", "there is no setting 'limit'; an option of one command stands in that command's table"),
        ("namespace\n", "edge.toml cannot be read"),
        (None, "edge.toml cannot be read"),
    ],
)
def test_a_fault_of_the_file_names_the_file(file: Path, text: str | None, message: str) -> None:
    file.unlink() if text is None else file.write_text(text)
    for read in (Settings.from_toml, lambda path: Settings.load(path, environment={})):
        with pytest.raises(EdgeRedisError, match=message) as caught:
            read(file)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("EDGE_REDIS_SOCKET_TIMEOUT", "soon", "EDGE_REDIS_SOCKET_TIMEOUT must be a number, not 'soon'"),
        ("EDGE_REDIS_SOCKET_TIMEOUT", "nan", "EDGE_REDIS_SOCKET_TIMEOUT: socket_timeout must be finite"),
        ("EDGE_REDIS_MAX_CONNECTIONS", "1.5", "EDGE_REDIS_MAX_CONNECTIONS must be a number"),
        ("EDGE_REDIS_URL", f"redis://:{SECRET}@h:port", "EDGE_REDIS_URL: the URL's host"),
    ],
)
def test_a_fault_of_the_environment_names_the_variable(variable: str, value: str, message: str) -> None:
    for read in (Settings.from_environment, lambda each: Settings.load(environment=each)):
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            read({variable: value, "XDG_CONFIG_HOME": "/nowhere"})
        assert SECRET not in str(caught.value)


def test_an_argument_that_is_no_setting_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="there is no setting 'urll'"):
        Settings.load(environment={}, urll="redis://x")


def test_a_password_file_that_cannot_be_read_is_an_error_when_a_client_is_made() -> None:
    with pytest.raises(InvalidArgumentError, match="the password file cannot be read"):
        Settings(password_file=Path("/nowhere")).connect()
