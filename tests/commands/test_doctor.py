"""`nightshift doctor`: every line is true, hints lead on, secrets stay masked."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from nightshift.cli import main
from nightshift.commands.checks import FAIL, OK, WARN, machine, packages, places
from nightshift.commands.doctor import examine
from nightshift.lake import Lake
from nightshift.settings import Settings


def by_name(settings: Settings) -> dict[str, tuple[str, str, str]]:
    return {f.what: (f.status, f.detail, f.hint) for f in examine(settings)}


def test_a_machine_with_a_loaded_shop_has_no_failure(
    small_shop: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "doctor.json"

    code = main(["doctor", "--json", str(out)])

    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "0 failed" in shown
    found = {f["what"]: f["status"] for f in json.loads(out.read_text())["findings"]}
    for what in ("python", "store", "clock", "views", "lake", "encoder", "language model"):
        assert found[what] == OK


def test_the_probe_leaves_nothing_in_the_lake(settings: Settings) -> None:
    opened, findings = places.lake(settings)

    assert [f.status for f in findings] == [OK]
    assert opened is not None
    assert opened.names(places.PROBES) == []


def test_a_store_without_views_fails_with_the_command_that_makes_them(settings: Settings) -> None:
    status, detail, hint = by_name(settings)["views"]

    assert status == FAIL
    assert "events_v" in detail
    assert "nightshift store migrate" in hint


def test_a_view_that_lacks_a_column_is_named(small_shop: Settings) -> None:
    from sqlalchemy import text

    from nightshift.store.engine import begin

    with begin(small_shop) as connection:
        connection.execute(text("drop view nightshift.reviews_v"))
        connection.execute(
            text(
                "create view nightshift.reviews_v as select user_id, item_id, text, occurred_at"
                " from nightshift.reviews"
            )
        )

    status, detail, _ = by_name(small_shop)["views"]

    assert (status, detail) == (FAIL, "missing: reviews_v.rating")


def test_an_unreachable_store_fails_and_its_password_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv(
        "NIGHTSHIFT_STORE__URL", "postgresql+psycopg2://shop:geheim@127.0.0.1:1/shop"
    )

    assert main(["doctor"]) == 1

    shown = capsys.readouterr().out
    assert "FAIL  store: " in shown
    assert "geheim" not in shown


def test_an_embedded_store_that_was_never_made_is_a_warning_and_stays_unmade(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path / "home")

    (finding,) = places.store(settings)

    assert finding.status == WARN
    assert "nightshift load" in finding.hint
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_lake_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(home=tmp_path, lake={"root": (tmp_path / "file" / "lake").as_uri()})

    opened, (finding,) = places.lake(settings)

    assert opened is None
    assert finding.status == FAIL
    assert finding.hint


def test_a_lake_whose_conditional_create_replaces_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite(lake: Lake, path: str, data: bytes) -> bool:
        lake.write_bytes(path, data)
        return True

    monkeypatch.setattr(Lake, "create", overwrite)

    opened, (finding,) = places.lake(Settings(home=tmp_path))

    assert finding.status == FAIL
    assert "conditional create" in finding.detail
    assert opened is not None
    assert opened.names(places.PROBES) == []


def test_the_lock_is_compared_package_by_package() -> None:
    installed = importlib.metadata.version("numpy")
    lock = f"# comment\nnumpy=={installed}\njinja2==0.0.1\nno-such-package-here==1.0\n"

    found = {f.what: f.detail for f in packages.against_lock(lock)}

    assert found["packages missing"] == "no-such-package-here"
    assert found["packages differ"].startswith("jinja2 ")
    assert "(lock: 0.0.1)" in found["packages differ"]
    assert [f.status for f in packages.against_lock(f"numpy=={installed}\n")] == [OK]


def test_a_model_that_is_not_there_fails_with_the_way_to_get_it(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        text={"encoder": tmp_path / "none"},
        generate={"engine": {"model": tmp_path / "none.gguf"}},
    )

    found = {f.what: f for f in packages.models(settings)}

    assert found["encoder"].status == FAIL
    assert found["language model"].status == FAIL
    assert found["encoder"].hint
    assert found["language model"].hint


def test_a_language_model_behind_a_server_that_is_down_fails(tmp_path: Path) -> None:
    engine = {"name": "openai", "url": "http://127.0.0.1:9/v1"}
    settings = Settings(home=tmp_path, generate={"engine": engine})

    found = {f.what: f for f in packages.models(settings)}

    assert found["language model"].status == FAIL
    assert "http://127.0.0.1:9/v1/models gave no answer" in found["language model"].detail


def test_no_language_model_is_looked_for_when_no_strategy_wants_one(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        generate={"strategies": ["text_neighbours"], "engine": {"model": tmp_path / "none"}},
    )

    found = {f.what: f.status for f in packages.models(settings)}

    assert found == {"encoder": OK, "language model": OK}


def test_a_full_disk_fails_and_a_filling_one_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    lake = Lake.of(settings)

    def usage(free: float) -> object:
        return lambda path: type("Usage", (), {"free": free})()

    seen = []
    for free in (1e6, 1e9, 1e11):
        monkeypatch.setattr(machine.shutil, "disk_usage", usage(free))
        (finding,) = machine.disk(settings, lake)  # all three lie on one file system
        seen.append(finding.status)

    assert seen == [FAIL, WARN, OK]
    assert finding.what == "disk (home, scratch, lake)"


def test_more_threads_than_cores_is_a_warning(tmp_path: Path) -> None:
    found = {f.what: f for f in machine.compute(Settings(home=tmp_path, compute={"threads": 999}))}

    assert found["threads"].status == WARN
    assert found["device"].status == OK


def test_a_gpu_that_is_asked_for_and_not_there_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)

    found = {
        f.what: f for f in machine.compute(Settings(home=tmp_path, compute={"device": "cuda"}))
    }

    assert found["device"].status == FAIL


def test_the_interpreter_is_this_one() -> None:
    (finding,) = machine.interpreter()

    assert sys.executable in finding.detail
    assert finding.status == OK


def test_only_what_is_asked_for_is_looked_at(settings: Settings) -> None:
    assert {f.what for f in examine(settings, ["lake"])} == {"lake"}
    assert {f.what for f in examine(settings, ["memory", "python"])} == {"python", "memory"}


def test_the_encoder_is_tried_on_request(settings: Settings) -> None:
    (found,) = examine(settings, ["encoder"])

    assert found.status == OK
    assert "384 numbers" in found.detail


def test_a_failure_ends_with_one_line_that_says_what(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--only", "encoder", "--set", "text.encoder=/no-such-model"])

    assert code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("nightshift: encoding: ")
