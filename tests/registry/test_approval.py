"""What goes live when a person has a say: approvals, pins, and Postgres that follows the alias."""

from __future__ import annotations

import json
from datetime import timedelta

import pyarrow as pa
import pytest
from sqlalchemy import text

from factories import commit
from nightshift import cli, contracts
from nightshift.errors import DatasetMissing, ModelLags, UsageError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.registry import approval
from nightshift.registry.alias import history, live, move_alias, pin, rollback, unpin
from nightshift.registry.freshness import check, freshness
from nightshift.registry.serving import serve
from nightshift.stages import STAGES
from nightshift.store.engine import begin
from nightshift.store.schema import migrate

FIRST = Night.parse("2017-11-20")


def night(number: int) -> Night:
    days = timedelta(days=number)
    return Night(FIRST.start + days, FIRST.end + days)


class Registry:
    """Nights that were scored: a state, a verdict and recommendations each."""

    def __init__(self, settings) -> None:
        self.settings = settings
        self.lake = Lake.of(settings)

    def scored(self, number: int, line: str = "real", *, approval: str = "none", made: int = 0):
        """What `score` does with a night's model; `made` anew, it is another model."""
        at = night(number)
        verdict = self.judged(number, made)
        state = commit(
            self.lake,
            self.settings,
            at,
            STAGES["refresh"],
            lambda ctx: {"live_line": line, "made": made},
            {"verdict": verdict},
        )
        move = move_alias(self.lake, state, line, at, approval=approval)
        commit(
            self.lake,
            self.settings,
            at,
            STAGES["score"],
            lambda ctx: _recommendations(ctx, line, item=f"item-{number}{'b' * made}"),
            {"state": state},
        )
        if move.moved:
            serve(self.settings, self.lake, move.alias)
        return move

    def judged(self, number: int, made: int):
        """What `promote` does; another evaluation gives another verdict."""

        def verdict(ctx):
            ctx.writer.write_bytes("model_card.md", f"# Model of the night, {made}\n".encode())
            return {"decision": "promoted"}

        evaluation = commit(
            self.lake,
            self.settings,
            night(number),
            STAGES["evaluate"],
            lambda ctx: {"made": made},
            parts={"made": str(made)},
        )
        return commit(
            self.lake,
            self.settings,
            night(number),
            STAGES["promote"],
            verdict,
            {"evaluation": evaluation},
        )

    def served(self) -> list[str]:
        with begin(self.settings) as connection:
            rows = connection.execute(text("select item_id from nightshift.recommendations"))
            return [row[0] for row in rows]


def _recommendations(ctx, line, *, item):
    row = {"user_key": "u", "rank": 1, "item_id": item, "score": 0.5}
    table = pa.Table.from_pylist([row], schema=contracts.RECOMMENDATIONS)
    ctx.writer.write_parquet("recommendations.parquet", table)
    return {"users": 1, "line": line, "state": ctx.inputs["state"].digest}


@pytest.fixture
def registry(settings):
    migrate(settings)
    with begin(settings) as connection:
        connection.execute(text("insert into nightshift.pseudonyms values ('shop-u', 'u')"))
    return Registry(settings)


def test_without_approval_nights_go_live_by_themselves(registry):
    registry.scored(0)
    registry.scored(1)

    assert live(registry.lake).night == night(1).key
    assert registry.served() == ["item-1"]
    assert not approval.candidate(registry.lake).waits


def test_every_night_waits_where_every_night_is_to_be_approved(registry):
    assert not registry.scored(0, approval="every_night").moved
    assert registry.served() == []

    offered, alias = approval.approve(
        registry.lake, registry.settings, None, by="ada", reason="the report is clean"
    )

    assert (offered.night, offered.standing) == (night(0).key, "waiting")
    assert offered.card.startswith("# Model of the night")
    assert alias.kind == "approved"
    assert alias.reason == "approved by ada: the report is clean"
    assert registry.served() == ["item-0"]
    assert not registry.scored(1, approval="every_night").moved


def test_a_new_line_waits_and_the_line_that_is_live_goes_on(registry):
    assert not registry.scored(0, "real", approval="new_line").moved  # the first is new as well
    approval.approve(registry.lake, registry.settings, night(0), by="ada", reason="first")

    assert registry.scored(1, "real", approval="new_line").moved
    waiting = registry.scored(2, "blend", approval="new_line")
    assert not waiting.moved
    assert waiting.why == "it waits for approval"
    assert registry.served() == ["item-1"]


def test_a_no_is_recorded_and_changes_nothing_that_is_live(registry):
    registry.scored(0)
    registry.scored(1, "blend", approval="new_line")

    approval.reject(registry.lake, None, by="bob", reason="cold items look odd")

    assert approval.candidate(registry.lake).standing == "rejected"
    assert live(registry.lake).night == night(0).key
    (entry,) = approval.decisions(registry.lake)
    assert (entry["choice"], entry["by"], entry["night"]) == ("rejected", "bob", night(1).key)
    approval.approve(registry.lake, registry.settings, None, by="bob", reason="looked again")
    assert [one["choice"] for one in approval.decisions(registry.lake)] == ["rejected", "approved"]
    assert registry.served() == ["item-1"]


def test_an_older_night_cannot_be_approved_over_a_newer_one(registry):
    registry.scored(0, approval="every_night")
    registry.scored(1)

    assert approval.candidate(registry.lake, night(0)).standing == "passed"
    with pytest.raises(UsageError, match="later night"):
        approval.approve(registry.lake, registry.settings, night(0), by="ada", reason="r")
    assert approval.decisions(registry.lake) == []
    with pytest.raises(DatasetMissing):
        approval.candidate(registry.lake, night(7))


def test_nothing_scored_is_said_so(registry):
    with pytest.raises(UsageError, match="No night has been scored"):
        approval.candidate(registry.lake)


def test_a_pin_stands_until_it_is_taken_away(registry):
    for number in range(3):
        registry.scored(number)

    entry = pin(registry.lake, to=night(1).key, reason="a campaign")
    serve(registry.settings, registry.lake, entry, back=True)
    assert registry.served() == ["item-1"]
    assert not registry.scored(3).moved
    assert registry.served() == ["item-1"]
    with pytest.raises(UsageError, match="pinned: a campaign"):
        approval.approve(registry.lake, registry.settings, None, by="ada", reason="r")

    unpin(registry.lake, reason="over")
    assert live(registry.lake).night == night(1).key
    assert registry.scored(4).moved
    assert registry.served() == ["item-4"]
    assert [one.kind for one in history(registry.lake)][3:] == ["pin", "unpin", "move"]
    with pytest.raises(UsageError, match="Nothing is pinned"):
        unpin(registry.lake, reason="again")


def test_a_pin_without_a_night_keeps_what_is_live(registry):
    registry.scored(0)
    registry.scored(1)

    assert pin(registry.lake, reason="r").night == night(1).key
    assert rollback(registry.lake, reason="worse than we thought").kind == "rollback"
    assert registry.scored(2).moved  # a rollback lets the next night move on


def test_a_rollback_takes_the_recommendations_back(registry, capsys):
    registry.scored(0)
    registry.scored(1)

    assert cli.main(["rollback", "--reason", "complaints"]) == 0

    assert registry.served() == ["item-0"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["served"] is True
    registry.scored(2)
    assert registry.served() == ["item-2"]


def test_a_rollback_without_recommendations_says_so(registry, capsys):
    registry.scored(0)
    registry.scored(1)
    (gone,) = registry.lake.versions("recommendations", f"night={night(0).key}")
    registry.lake.delete(f"{gone.folder}/_manifest.json")

    assert cli.main(["rollback", "--reason", "complaints"]) == 0

    assert "stay as they are" in capsys.readouterr().out
    assert live(registry.lake).night == night(0).key
    assert registry.served() == ["item-1"]


def test_the_commands_of_a_person(registry, capsys):
    registry.scored(0, approval="every_night")
    who = ["--by", "ada", "--reason", "r"]

    assert cli.main(["candidate"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["waits"] is True
    assert cli.main(["reject", *who]) == 0
    assert cli.main(["approve", "--night", night(0).key, *who]) == 0
    assert cli.main(["pin", "--reason", "r"]) == 0
    assert cli.main(["unpin", "--reason", "r"]) == 0
    assert cli.main(["freshness", "--as-of", "2017-11-22"]) == 0
    assert cli.main(["freshness", "--as-of", "2017-11-24"]) == 42
    assert "of the last 72 hours" in capsys.readouterr().err


def test_freshness_names_what_holds_newer_models_back(registry):
    now = night(4).end
    with pytest.raises(ModelLags, match="No model is live"):
        check(registry.lake, registry.settings, now)
    registry.scored(0)
    assert freshness(registry.lake, night(0).end).lag_hours == 0

    registry.scored(1, "blend", approval="new_line")
    with pytest.raises(ModelLags, match=r"night 2017-11-21 waits for a person.*48 are allowed"):
        check(registry.lake, registry.settings, now)
    pin(registry.lake, reason="a campaign")
    with pytest.raises(ModelLags, match="pinned: a campaign"):
        check(registry.lake, registry.settings, now)
    loose = registry.settings.with_({"promotion": {"max_lag_hours": 1000}})
    assert check(registry.lake, loose, now).lag_hours == 96


def test_what_is_approved_is_what_was_shown(registry):
    registry.scored(0, approval="every_night")
    shown = approval.candidate(registry.lake)
    registry.scored(0, approval="every_night", made=1)
    who = {"by": "ada", "reason": "r", "digest": shown.digest}

    with pytest.raises(UsageError, match="made anew since it was shown"):
        approval.approve(registry.lake, registry.settings, None, **who)
    with pytest.raises(UsageError, match="made anew since it was shown"):
        approval.reject(registry.lake, None, **who)

    assert live(registry.lake) is None
    assert approval.decisions(registry.lake) == []
    now = approval.candidate(registry.lake)
    approval.approve(registry.lake, registry.settings, None, **(who | {"digest": now.digest}))
    assert registry.served() == ["item-0b"]


def test_the_card_is_of_the_model_that_is_offered(registry):
    """`promote` has run anew, `refresh` and `score` not yet."""
    registry.scored(0, approval="every_night")
    registry.judged(0, 7)

    assert approval.candidate(registry.lake).card == "# Model of the night, 0\n"


def test_a_no_that_comes_too_late_is_no_entry(registry):
    registry.scored(0, approval="every_night")
    approval.approve(registry.lake, registry.settings, None, by="ada", reason="r")

    late = approval.reject(registry.lake, None, by="nobody in time", reason="r")

    assert late.standing == "live"
    assert [one["choice"] for one in approval.decisions(registry.lake)] == ["approved"]
    assert cli.main(["reject", "--by", "bob", "--reason", "r"]) == 0
    assert len(approval.decisions(registry.lake)) == 1


def test_a_rollback_whose_recommendations_could_not_be_written_goes_on_by_its_number(
    registry, capsys, monkeypatch
):
    for number in range(3):
        registry.scored(number)
    with monkeypatch.context() as broken:
        broken.setenv("NIGHTSHIFT_STORE__URL", "postgresql+psycopg2://u@127.0.0.1:1/none")
        assert cli.main(["rollback", "--reason", "complaints"]) == 10
    said = capsys.readouterr().err
    assert "nightshift rollback --to 4" in said
    assert live(registry.lake).night == night(1).key
    assert registry.served() == ["item-2"]

    assert cli.main(["rollback", "--to", "4", "--reason", "complaints"]) == 0

    assert live(registry.lake).night == night(1).key
    assert registry.served() == ["item-1"]


def test_a_rollback_finds_recommendations_of_a_night_that_was_made_anew(registry):
    registry.scored(0)
    registry.scored(0, approval="every_night", made=1)  # another model, which waits
    registry.scored(1)

    assert cli.main(["rollback", "--to", night(0).key, "--reason", "r"]) == 0

    assert registry.served() == ["item-0"]


def test_what_has_moved_on_meanwhile_is_not_written(registry):
    registry.scored(0)
    first = live(registry.lake)
    registry.scored(1)

    assert serve(registry.settings, registry.lake, first, back=True) is False
    assert registry.served() == ["item-1"]


def test_a_rolled_back_model_is_called_so(registry):
    registry.scored(0)
    registry.scored(1)
    rollback(registry.lake, reason="complaints")

    assert approval.candidate(registry.lake).standing == "rolled back"
    with pytest.raises(ModelLags, match="the model of night 2017-11-21 was rolled back"):
        check(registry.lake, registry.settings, night(9).end)
    registry.scored(2, approval="every_night")
    approval.reject(registry.lake, None, by="ada", reason="r")
    with pytest.raises(ModelLags, match="the model of night 2017-11-22 was rejected"):
        check(registry.lake, registry.settings, night(9).end)
