"""The files of an embedded server are its user's alone, and a folder that others prepared is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

from edge_redis import embedded
from edge_redis.errors import EmbeddedServerError


def test_files_in_a_folder_that_all_may_read_are_readable_by_this_user_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with embedded.start(data_dir=tmp_path) as server:
        server.client().set("secret", "v")
        modes = {file.name: file.stat().st_mode & 0o077 for file in tmp_path.rglob("*")}
    assert len(modes) >= 4
    assert set(modes.values()) == {0}


def test_a_link_in_place_of_the_configuration_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "edge-redis.conf").symlink_to(victim)
    with embedded.start(data_dir=folder) as server:
        assert server.client().ping()
    assert victim.read_text() == "precious"
    assert not (folder / "edge-redis.conf").is_symlink()


@pytest.mark.parametrize("name", ["server.log", "edge-redis.lock", "appendonlydir", "dump.rdb"])
def test_any_other_link_is_refused_and_not_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    with pytest.raises(EmbeddedServerError, match=f"symbolic link, {name}"):
        embedded.start(data_dir=folder)
    assert not victim.exists()


def test_a_folder_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(EmbeddedServerError, match="can be written by every user"):
        embedded.start(data_dir=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(EmbeddedServerError, match="belongs to another user"):
        embedded.start(data_dir=tmp_path)


def test_a_password_keeps_other_users_out(tmp_path: Path) -> None:
    with embedded.start(data_dir=tmp_path, password="päss wörd") as server:
        assert server.client().ping()
        assert "p%C3%A4ss%20w%C3%B6rd@" in server.url
        assert "wörd" not in repr(server)


def test_other_users_cannot_use_a_server_without_its_password(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with embedded.start(data_dir=tmp_path) as server, redis.Redis(server.host, server.port) as stranger:
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert server.password_file is not None
        assert server.password_file.stat().st_mode & 0o777 == 0o600
        password = server.password_file.read_text()
        assert password in server.url
        assert password not in repr(server)
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
        with redis.Redis(server.host, server.port, password=password) as owner:
            assert owner.ping()


def test_a_folder_keeps_its_password_unless_others_could_read_it(tmp_path: Path) -> None:
    file = tmp_path / "edge-redis.password"
    found = []
    for mode in (0o600, 0o644, 0o600):
        with embedded.start(data_dir=tmp_path) as server:
            server.restart()
            assert server.client().ping()
            found.append(file.read_text())
        file.chmod(mode)
    assert found[0] == found[1] != found[2]


def test_an_empty_password_lets_every_user_of_the_machine_in(tmp_path: Path) -> None:
    with embedded.start(data_dir=tmp_path, password="") as server, redis.Redis(server.host, server.port) as client:
        assert client.ping()
        assert server.password_file is None
        assert server.url == f"redis://127.0.0.1:{server.port}/0"


def test_a_server_whose_users_the_configuration_names_has_no_random_password(tmp_path: Path) -> None:
    with embedded.start(data_dir=tmp_path, config={"requirepass": "mine"}) as server:
        assert server.password_file is None
        with server.client(password="mine") as client:
            assert client.ping()
