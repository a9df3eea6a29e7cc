"""The load of `make bench NAME=serving`: a locustfile, run by the interpreter that has locust.

Every user asks again as soon as it is answered. What is asked is drawn from a file that the
benchmark writes: {"recommend": [bodies], "search": [bodies]}.
"""

from __future__ import annotations

import json
import random
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events, task


@events.init_command_line_parser.add_listener
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--asks", help="file with the bodies to send")


@events.test_start.add_listener
def _read(environment: Any, **_: Any) -> None:
    environment.asks = json.loads(Path(environment.parsed_options.asks).read_text())


class _Asks(FastHttpUser):
    abstract = True
    route = ""

    @task
    def ask(self) -> None:
        body = random.choice(self.environment.asks[self.route])
        self.client.post(f"/{self.route}", json=body)


class Recommend(_Asks):
    route = "recommend"


class Search(_Asks):
    route = "search"
