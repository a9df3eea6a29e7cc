"""Settings: where they come from, what is wrong with them, and that secrets stay secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from nightshift import cli
from nightshift.errors import SettingsError, UsageError
from nightshift.lake import Lake
from nightshift.settings import CONFIG_VARIABLE, Settings

PASSWORD, SECRET = "hunter2-pw", "hunter3-key"


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "shop.toml"
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    path.write_text("")
    return path


def test_later_sources_win(toml: Path, monkeypatch: pytest.MonkeyPatch):
    assert Settings.load().score.top_n == 20
    toml.write_text("[score]\ntop_n = 1\nblock = 7\n[generate.text_neighbours]\nneighbours = 2\n")
    assert Settings.load().score.top_n == 1
    monkeypatch.setenv("NIGHTSHIFT_SCORE__TOP_N", "2")
    monkeypatch.setenv("NIGHTSHIFT_GENERATE__LLM_QUERIES__SHOTS", "3")
    monkeypatch.setenv("NIGHTSHIFT_GENERATE__STRATEGIES", '["negatives"]')

    found = Settings.load()

    assert found.score.top_n == 2
    assert found.score.block == 7  # a section is merged, not replaced
    assert found.generate.text_neighbours.neighbours == 2
    assert found.generate.llm_queries.shots == 3
    assert found.generate.strategies == ("negatives",)
    assert Settings.load({"score": {"top_n": 4}}).score.top_n == 4
    assert found.with_({"score": {"top_n": 5}}).score.block == 7


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ({"scoer": {}}, "scoer"),
        ({"score": {"topn": 3}}, "score.topn"),
        ({"generate": {"text_neighbours": {"k": 3}}}, "generate.text_neighbours.k"),
        ({"score": {"top_n": 0}}, "score.top_n"),
        ({"score": {"top_n": "many"}}, "score.top_n"),
        ({"score": 3}, "score"),
        ({"night": {"on_gap": "ignore"}}, "night.on_gap"),
        ({"store": "postgresql://x"}, "store"),
        ({"tune": {"betas": [0.0, -1.0]}}, "tune.betas.1"),
        ({"tune": {"gammas": [float("nan")]}}, "tune.gammas.0"),
        ({"tune": {"follows": [float("inf")]}}, "tune.follows.0"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(overrides: dict[str, Any], path: str):
    for load in (Settings.load, Settings.load().with_):
        with pytest.raises(SettingsError, match=rf"(: |; ){path}: ") as caught:
            load(overrides)
        assert caught.value.exit_code == 2
        assert "nightshift settings" in caught.value.hint


def test_a_typing_error_in_a_variable_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NIGHTSHIFT_SCORE__TOPN", "3")
    with pytest.raises(SettingsError, match=r"score\.topn"):
        Settings.load()


def test_a_variable_of_no_section_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NIGHTSHIFT_STROE__URL", "postgresql://x")
    with pytest.raises(SettingsError, match="NIGHTSHIFT_STROE__URL"):
        Settings.load()


def test_variables_of_others_are_none_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__RUNNER", "pod")
    monkeypatch.setenv("NIGHTSHIFT_SERVICE_HOST", "10.0.0.1")  # Kubernetes sets such for a service
    assert Settings.load() == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("NIGHTSHIFT_GENERATE__STRATEGIES", "negatives", "generate"),
        ("NIGHTSHIFT_LAKE__OPTIONS", '{"key": "hunter3-key"', "lake"),
        ("NIGHTSHIFT_SCORE", "twenty", "score"),
    ],
)
def test_a_variable_that_is_no_json_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=named) as caught:
        Settings.load()
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_toml_says_where(toml: Path):
    toml.write_text("[score]\ntop_n 3\n")
    with pytest.raises(SettingsError, match="line 2") as caught:
        Settings.load()
    assert caught.value.context["file"] == str(toml)


def test_an_unknown_key_in_the_file_is_named(toml: Path):
    toml.write_text("[score]\ntopn = 3\n")
    with pytest.raises(SettingsError, match=r"score\.topn"):
        Settings.load()


def test_a_file_that_is_named_and_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CONFIG_VARIABLE, "/nowhere/nightshift.toml")
    with pytest.raises(SettingsError, match=r"/nowhere/nightshift\.toml"):
        Settings.load()


def test_the_file_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CONFIG_VARIABLE)
    monkeypatch.chdir(tmp_path)
    assert Settings.load().score.top_n == 20
    (tmp_path / "nightshift.toml").write_text("[score]\ntop_n = 6\n")
    assert Settings.load().score.top_n == 6
    assert Settings.shipped().score.top_n == 20


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().home = Path("/x")  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().score.top_n = 3  # type: ignore[misc]


def test_a_digest_depends_on_its_sections_alone():
    settings = Settings.load()
    changed = settings.with_({"score": {"top_n": 3}})
    assert settings.digest_of("finetune") == changed.digest_of("finetune")
    assert settings.digest_of("score") != changed.digest_of("score")
    assert settings.digest_of("score.block") == changed.digest_of("score.block")
    assert settings.digest_of("finetune") == Settings.load().digest_of("finetune")


# --- secrets ----------------------------------------------------------------------------------


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings with a secret in every place that has one."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_STORE__URL", f"postgresql://shop:{PASSWORD}@db/shop")
    monkeypatch.setenv("NIGHTSHIFT_STORE__PSEUDONYM_KEY", SECRET)
    options = {"key": SECRET, "secret": SECRET, "client_kwargs": {"aws_session_token": SECRET}}
    monkeypatch.setenv("NIGHTSHIFT_LAKE__OPTIONS", json.dumps(options | {"use_ssl": False}))
    return Settings.load()


def test_secrets_are_not_shown(secret: Settings, capsys: pytest.CaptureFixture[str]):
    shown = [repr(secret), str(secret), str(secret.model_dump()), secret.model_dump_json()]
    assert cli.main(["settings"]) == 0
    shown.append(capsys.readouterr().out)
    assert cli.main(["settings", "--json", str(secret.home_path / "s.json")]) == 0
    shown += [capsys.readouterr().out, (secret.home_path / "s.json").read_text()]
    for text in shown:
        assert PASSWORD not in text
        assert SECRET not in text
    assert "use_ssl" in shown[-1]


def test_secrets_are_not_shown_in_errors(secret: Settings, capsys: pytest.CaptureFixture[str]):
    wrong = ["--set", "score.topn=1", "--set", "store.nothing=1", "--set", "lake.options=3"]
    assert cli.main(["settings", *wrong]) == 2
    said = capsys.readouterr().err
    assert "score.topn" in said
    assert PASSWORD not in said
    assert SECRET not in said


def test_secrets_reach_what_needs_them_also_after_a_change(secret: Settings):
    for settings in (secret, secret.with_({"score": {"top_n": 3}})):
        assert settings.store.url is not None
        assert PASSWORD in settings.store.url.get_secret_value()
        assert settings.lake.open_options == {
            "key": SECRET,
            "secret": SECRET,
            "client_kwargs": {"aws_session_token": SECRET},
            "use_ssl": False,
        }


def test_the_lake_opens_with_its_options(secret: Settings, s3: Any):
    root = s3.fresh()
    lake = Lake.of(secret.with_({"lake": {"root": root, "options": s3.options | {
        "client_kwargs": {}}}}))  # fmt: skip
    lake.write_bytes("x", b"1")
    assert lake.read_bytes("x") == b"1"


# --- --set ------------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *assignments: str) -> dict[str, str]:
    arguments = [word for assignment in assignments for word in ("--set", assignment)]
    assert cli.main(["settings", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = (line.split("    #")[0].partition(" = ") for line in lines if " = " in line)
    return {path: value for path, _, value in pairs}


def test_set_takes_json_and_plain_text(capsys: pytest.CaptureFixture[str]):
    found = shown(
        capsys,
        "score.top_n=3",
        "generate.strategies=[]",
        "compute.device=cpu",
        "finetune.model.dim=16",
        "night.first=2017-11-20",
        "home=/tmp/a=b",
    )
    assert found["score.top_n"] == "3"
    assert found["generate.strategies"] == "()"
    assert found["compute.device"] == "cpu"
    assert found["finetune.model.dim"] == "16"
    assert found["night.first"].startswith("2017-11-20")
    assert found["home"] == "/tmp/a=b"


@pytest.mark.parametrize(
    "assignments",
    [
        ["score.top_n"],
        ["=3"],
        ["score..top_n=3"],
        ["nothing=3"],
        ["score=3", "score.top_n=3"],
        ["store=5"],
        ["score.top_n.x=3"],
        ["score.top_n={}"],
    ],
)
def test_a_wrong_set_is_a_usage_error(assignments: list[str], capsys: pytest.CaptureFixture[str]):
    arguments = [word for assignment in assignments for word in ("--set", assignment)]
    assert cli.main(["settings", *arguments]) == UsageError.exit_code
    assert "Hint:" in capsys.readouterr().err


def test_every_leaf_of_the_tree_is_listed(capsys: pytest.CaptureFixture[str]):
    def leaves(tree: BaseModel, prefix: str = "") -> set[str]:
        below = {prefix + name: getattr(tree, name) for name in type(tree).model_fields}
        inner = [leaves(v, f"{k}.") for k, v in below.items() if isinstance(v, BaseModel)]
        return {k for k, v in below.items() if not isinstance(v, BaseModel)}.union(*inner)

    assert set(shown(capsys)) == leaves(Settings.load())
