"""The deployment files: valid, pinned, confined, of commands and files that exist. No engine runs them here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edge_redis._io.roles import ROLES, find_role
from support.deployment import DEPLOY, OWN_IMAGE, ROOT, own_services, parse_command, read_compose, read_kubernetes

COMPOSE = read_compose()
OWN = own_services()
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*")


def test_the_compose_file_has_the_schema_of_compose() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_container_is_pinned_bounded_and_confined(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["image"] == OWN_IMAGE or PINNED.fullmatch(service["image"])
    assert service["mem_limit"]
    assert "no-new-privileges:true" in service["security_opt"]
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "nothing is published beyond this machine"
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
    for secret in service.get("secrets", ()):
        assert secret in COMPOSE["secrets"]
    for other in service.get("depends_on", ()):
        assert other in COMPOSE["services"]


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_container_s_command_is_one_of_edge_redis(name: str) -> None:
    service = OWN[name]
    environment = service.get("environment", {})
    parse_command(service["command"], environment)
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    for path in re.findall(r"/run/secrets/([\w-]+)", str([service["command"], environment])):
        assert path in service["secrets"]
    for variable in ("EDGE_REDIS_URL", "EDGE_REDIS_CLOUD_URL"):
        if variable in environment:
            url = urlsplit(environment[variable])
            side = "cloud" if url.hostname == "cloud" else "edge"
            assert side in find_role(url.username or "").sides
            assert url.password is None


def test_every_role_of_a_server_has_its_password() -> None:
    for side in ("edge", "cloud"):
        assert set(OWN[f"acl-{side}"]["secrets"]) == {role.name for role in ROLES if side in role.sides}


def test_the_script_makes_the_secrets_once(tmp_path: Path) -> None:
    script = DEPLOY / "make-secrets.sh"
    subprocess.run([script], cwd=tmp_path, check=True, capture_output=True)
    made = {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()}
    assert {f"./secrets/{name}" for name in made} == {each["file"] for each in COMPOSE["secrets"].values()}
    assert all(re.fullmatch(r"(viewer:)?[0-9a-f]{64}\n", text) for text in made.values())
    assert len(set(made.values())) == len(made)
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    subprocess.run([script], cwd=tmp_path, check=True, capture_output=True)
    assert {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()} == made


def test_the_image_is_pinned_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(images) == 2
    assert all(PINNED.fullmatch(image) for image in images)
    assert "USER 10001:10001" in text
    for words in re.findall(r'CMD \["edge-redis", ([^\]]*)\]', text):
        parse_command(shlex.split(words.replace(",", " ")))
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / each).exists() for each in source.split())
    extras = re.search(r'"\.\[([\w,]+)\]"', text)
    assert extras
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= known.keys()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {"!pyproject.toml", "!README.md", "!LICENSE", "!edge_redis"} < set(ignored)


def _command_of(unit: Path) -> list[str]:
    settings = dict(
        line.split("=", 1) for line in (DEPLOY / "systemd" / "site.env").read_text().splitlines() if line[:1].isupper()
    )
    settings["CREDENTIALS_DIRECTORY"] = "/run/credentials/unit"
    found = re.search(r"^ExecStart=(\S+) (.*)$", unit.read_text(), re.MULTILINE)
    assert found
    assert found[1] == "/opt/edge-redis/bin/edge-redis"
    line = re.sub(r"\$\{(\w+)\}", lambda name: settings[name[1]], found[2].replace("%H", "host"))
    return shlex.split(line)


@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
def test_a_unit_runs_a_command_of_edge_redis_as_its_role(unit: Path) -> None:
    words = _command_of(unit)
    parse_command(words)
    user = urlsplit(words[words.index("--url") + 1]).username
    assert f"LoadCredential=password:/etc/edge-redis/passwords/{user}\n" in unit.read_text()


def test_systemd_accepts_the_units_and_their_confinement(tmp_path: Path) -> None:
    """Each unit with another program: systemd wants it to exist."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on PATH (Debian: apt-get install systemd)")
    units = []
    for unit in UNITS:
        changed = tmp_path / unit.name
        changed.write_text(unit.read_text().replace("/opt/edge-redis/bin/edge-redis", sys.executable))
        units.append(str(changed))
    for words in (["verify", "--man=no"], ["security", "--offline=yes", "--threshold=20"]):
        done = subprocess.run([analyze, *words, *units], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert words[0] == "security" or not done.stderr


def test_kubernetes_accepts_the_objects() -> None:
    command = [str(Path(sys.executable).with_name("kubernetes-validate")), "--strict"]
    done = subprocess.run(
        [*command, str(DEPLOY / "kubernetes" / "site.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _containers() -> list[Any]:
    return [each["spec"]["template"]["spec"]["containers"][0] for each in read_kubernetes("Deployment")]


@pytest.mark.parametrize("container", _containers(), ids=[each["name"] for each in _containers()])
def test_a_pod_s_commands_are_of_edge_redis(container: Any) -> None:
    environment = {each["name"]: each["value"] for each in container["env"]}
    (settings,) = read_kubernetes("ConfigMap")
    parse_command(container["args"], {**environment, **settings["data"]})
    assert urlsplit(environment["EDGE_REDIS_URL"]).username == environment["EDGE_REDIS_ROLE"] == container["name"]
    assert container["resources"]["limits"]["memory"]
    probe = container["readinessProbe"]
    if "exec" in probe:
        program, *words = probe["exec"]["command"]
        assert program == "edge-redis"
        parse_command(words)
    else:
        assert probe["httpGet"]["port"] in {port["name"] for port in container["ports"]}
    assert PINNED.fullmatch(container["image"])
