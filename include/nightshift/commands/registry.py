"""`nightshift champion | verdicts | rollback | pin | retract`: what is live, why, the way back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from nightshift.commands.common import (
    Subparsers,
    add_command,
    emit,
    settings_of,
    time_option,
)
from nightshift.errors import NightshiftError
from nightshift.lake import Lake
from nightshift.registry.alias import Alias


def register(subparsers: Subparsers) -> None:
    champion = add_command(
        subparsers, "champion", _champion, help="what is live, since when, and every move so far"
    )
    champion.add_argument(
        "--as-of",
        metavar="TIME",
        type=time_option,
        help="what the verdicts say was live at this time",
    )
    add_command(subparsers, "verdicts", _verdicts, help="every verdict: decision and reasons")
    rollback = add_command(
        subparsers,
        "rollback",
        _rollback,
        help="make an earlier state live again, until a later night moves on",
    )
    pin = add_command(
        subparsers, "pin", _pin, help="keep a state live whatever later nights decide, until unpin"
    )
    unpin = add_command(
        subparsers, "unpin", _unpin, help="let the next night move what is live again"
    )
    for parser, default in ((rollback, "the state before"), (pin, "what is live now")):
        parser.add_argument(
            "--to",
            metavar="NIGHT|NUMBER",
            help=f"a night, or an entry's number (`nightshift champion`); default: {default}",
        )
    for parser in (rollback, pin, unpin):
        parser.add_argument("--reason", required=True, help="why, in one sentence; it is recorded")
    retract = add_command(
        subparsers,
        "retract",
        _retract,
        help="retract samples, take their copy out of Postgres, name the models trained on them",
    )
    retract.add_argument("--strategy", help="of this strategy")
    retract.add_argument("--model", help="written by this language model")
    retract.add_argument("--of-night", metavar="NIGHT", help="made in this night")
    retract.add_argument("--item", metavar="ITEM_ID", help="made for or from this item")
    retract.add_argument("--reason", required=True, help="why, in one sentence; it is recorded")


def _champion(arguments: argparse.Namespace) -> int:
    from nightshift.registry import alias
    from nightshift.registry.champion import champion

    lake = Lake.of(settings_of(arguments))
    if arguments.as_of is not None:
        emit(arguments, champion(lake, arguments.as_of))
        return 0
    entries = alias.history(lake)
    if not entries:
        print("nothing is live yet: run a night")
    for entry in entries:
        mark = "live" if entry is entries[-1] else "    "
        print(
            f"{mark}  {entry.number:4}  {entry.night:>10}  {entry.line:5}  {entry.kind:8}  "
            f"{entry.at}  {entry.reason}"
        )
    emit(arguments, asdict(entries[-1]) if entries else None)
    return 0


def _verdicts(arguments: argparse.Namespace) -> int:
    from nightshift.registry.log import verdicts

    found = verdicts(Lake.of(settings_of(arguments)))
    for verdict in found:
        note = "" if verdict["current"] else "  (superseded)"
        print(f"{verdict['night']}  {verdict['decision']:13}  {verdict['live_line']:5}{note}")
        for reason in verdict["reasons"]:
            print(f"    {reason}")
    emit(arguments, found)
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    from nightshift.registry.alias import rollback

    return _put_back(
        arguments, lambda lake: rollback(lake, to=arguments.to, reason=arguments.reason)
    )


def _pin(arguments: argparse.Namespace) -> int:
    from nightshift.registry.alias import pin

    return _put_back(arguments, lambda lake: pin(lake, to=arguments.to, reason=arguments.reason))


def _unpin(arguments: argparse.Namespace) -> int:
    from nightshift.registry.alias import unpin

    entry = unpin(Lake.of(settings_of(arguments)), reason=arguments.reason)
    print(f"live until the next night: {_named(entry)}")
    emit(arguments, asdict(entry))
    return 0


def _put_back(arguments: argparse.Namespace, move: Callable[[Lake], Alias]) -> int:
    """Move the alias, then write the recommendations of that state to Postgres."""
    from nightshift.registry.serving import serve

    settings = settings_of(arguments)
    lake = Lake.of(settings)
    entry = move(lake)
    print(f"live: {_named(entry)}")
    try:
        served = serve(settings, lake, entry, back=True)
    except NightshiftError as error:
        # Without `--to` a second call would go back to what was just left.
        error.hint = (
            "the alias has moved, Postgres has not; once it answers: "
            f"`nightshift {entry.kind} --to {entry.number} --reason …`"
        )
        raise
    if served:
        print("the recommendations in Postgres are that night's again")
    else:
        print(
            "the lake holds no recommendations of that state any more: those in Postgres stay as "
            "they are until the next night"
        )
    emit(arguments, asdict(entry) | {"served": served})
    return 0


def _named(entry: Alias) -> str:
    return f"night {entry.night}, the {entry.line} line (entry {entry.number})"


def _retract(arguments: argparse.Namespace) -> int:
    from nightshift.registry.retract import retract
    from nightshift.retractions import Rule

    rule = Rule(
        strategy=arguments.strategy,
        model=arguments.model,
        night=arguments.of_night,
        item=arguments.item,
    )
    settings = settings_of(arguments)
    record = retract(Lake.of(settings), rule, reason=arguments.reason, settings=settings)
    print(f"{record['samples']} samples retracted; models trained on them:")
    for state in record["states"]:
        print(f"  {state} (the blend line)")
    if record.get("ad_copy_withdrawn"):
        print(f"{record['ad_copy_withdrawn']} lines of advertising copy are live no more")
    emit(arguments, record)
    return 0
