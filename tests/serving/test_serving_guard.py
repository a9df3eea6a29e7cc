"""Who may ask: the token, what stays open, and where a server without one may listen."""

from __future__ import annotations

import hmac
import re
import socket
from types import SimpleNamespace

import pytest

from nightshift import cli
from nightshift.errors import Unprotected, UsageError
from nightshift.serving import guard
from nightshift.serving.app import create_app
from nightshift.settings import ServeSettings

TOKEN = "a-token-of-16-characters"
ROUTES = [
    ("POST", "/recommend"),
    ("POST", "/search"),
    ("POST", "/explain"),
    ("POST", "/similar"),
    ("GET", "/similar"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing-there"),
]
WRONG = [
    None,
    "",
    "Bearer",
    "Bearer ",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Basic {TOKEN}",
    TOKEN,
    "Bearer é",
]


@pytest.fixture
def client(served, answering):
    served.make_live(0)
    with answering(served.settings, token=TOKEN) as client:
        yield client


def test_every_route_of_the_application_is_listed_here(served, client):
    paths = client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    found = {(m.upper(), path) for path, ways in paths["paths"].items() for m in ways}
    assert found - {("GET", "/health")} <= set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_token_nothing_is_answered(client, method, path):
    for wrong in WRONG:
        headers = {} if wrong is None else {"Authorization": wrong.encode()}
        answer = client.request(method, path, headers=headers, content=b"{not json")
        assert answer.status_code == 401, (wrong, answer.text)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text


def test_with_the_token_it_is(client):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/recommend", json={}, headers=headers).status_code == 200
    assert client.get("/nothing-there", headers=headers).status_code == 404


def test_health_is_open(client):
    assert client.get("/health").status_code == 200


def test_tokens_are_compared_in_constant_time(client, monkeypatch):
    compared = []

    def look(given, expected):
        compared.append((given, expected))
        return hmac.compare_digest(given, expected)

    monkeypatch.setattr(guard, "hmac", SimpleNamespace(compare_digest=look))
    client.post("/recommend", json={}, headers={"Authorization": "Bearer x"})
    assert compared == [(b"Bearer x", f"Bearer {TOKEN}".encode())]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8100", "127.0.0.1.evil.example"])
def test_without_a_token_only_this_machines_names_are_answered(served, answering, host):
    served.make_live(0)
    with answering(served.settings) as client:
        asked = {"json": {}, "headers": {"Host": host}}
        assert client.post("/recommend", **asked).status_code == 403
        for local in ("127.0.0.1:8100", "localhost", "[::1]:8100", "[::1]"):
            answer = client.post("/recommend", json={}, headers={"Host": local})
            assert answer.status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_no_token(host):
    guard.check_exposure(ServeSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_anything_else_does(host):
    with pytest.raises(Unprotected, match=re.escape(host)) as caught:
        guard.check_exposure(ServeSettings(host=host))
    assert "NIGHTSHIFT_SERVE__TOKEN" in caught.value.hint
    guard.check_exposure(ServeSettings(host=host, token=TOKEN))


def test_a_host_that_is_none_is_a_usage_error():
    with pytest.raises(UsageError, match="no-such-host"):
        guard.check_exposure(ServeSettings(host="no-such-host.invalid"))


def test_the_command_refuses_to_be_public_without_a_token(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    assert cli.main(["serve", "--host", "0.0.0.0", "--port", "0"]) == Unprotected.exit_code == 2
    assert "Without a token" in capsys.readouterr().err


def test_the_token_is_shown_nowhere(served, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_SERVE__TOKEN", TOKEN)
    assert cli.main(["settings", "--json", str(tmp_path / "s.json")]) == 0
    app = create_app(served.settings.with_({"serve": {"token": TOKEN}}))
    everything = "".join(capsys.readouterr()) + (tmp_path / "s.json").read_text() + repr(app)
    assert "serve.token" in everything
    assert TOKEN not in everything


def test_a_short_token_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHIFT_SERVE__TOKEN", "short")
    assert cli.main(["serve"]) == 2
    told = capsys.readouterr().err
    assert "serve.token" in told
    assert "short" not in told.replace("too_short", "")


def test_a_port_that_is_taken_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err
