"""Requests and answers. What the settings bound is checked by `within`, with the field named."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from nightshift.settings import ServeSettings

_ID_CHARS = 256
"""A longer id is no id of a shop."""

Id = Annotated[str, Field(min_length=1, max_length=_ID_CHARS)]
K = Annotated[int, Field(ge=1, description="how many items")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WithHistory(_Request):
    """A history that comes with the request: item ids, oldest first."""

    history: list[Id] | None = Field(None, description="item ids, oldest first")
    times: list[Annotated[AwareDatetime, Field(strict=False)]] | None = Field(
        None, description="ISO times with a zone, one for each item of the history"
    )

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.times is not None:
            if self.history is None or len(self.times) != len(self.history):
                raise ValueError("times: one for each item of the history")
            if any(later < earlier for earlier, later in pairwise(self.times)):
                raise ValueError("times: the history is oldest first")
        return self


class OfSomebody(WithHistory):
    """A customer by pseudonym, or anybody by history; neither: a person unknown."""

    user_key: Id | None = Field(None, description="a pseudonym that the live model knows")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.user_key is not None and self.history is not None:
            raise ValueError("give user_key or history, not both")
        return self


class RecommendRequest(OfSomebody):
    k: K = 10
    exclude: list[Id] = Field([], description="items that are not wanted in the answer")
    exclude_seen: bool | None = Field(
        None, description="leave out the history's items; by default where the shop does not repeat"
    )


class SearchRequest(WithHistory):
    query: str = Field(min_length=1, pattern=r"\S", description="what the customer typed")
    k: K = 10


class ExplainRequest(OfSomebody):
    item_id: Id


class SimilarRequest(_Request):
    item_id: Id
    k: K = 10


class SimilarQuery(SimilarRequest):
    """The same in an address, where everything is text."""

    model_config = ConfigDict(strict=False)


class Model(BaseModel):
    """What an answer came from."""

    state: str = Field(description="as in nightshift.publication: line/partition/digest")
    line: str
    night: str


class Item(BaseModel):
    item_id: str
    score: float


class Answer(BaseModel):
    items: list[Item] = Field(description="best first")
    model: Model


class HistoryAnswer(Answer):
    unknown_items: list[str] = Field(
        description="items of the request's history that the catalogue does not have: ignored"
    )


class Health(BaseModel):
    """Open to everybody, so it says nothing of the shop."""

    status: str = Field(description="ok, or nothing is live yet")
    model: Model | None = None
    live_since: str | None = Field(None, description="when the alias was moved to it")
    loaded_at: str | None = None
    knows_until: str | None = Field(None, description="it knows every event before this time")
    age_hours: float | None = Field(None, description="since knows_until")
    rejected: int = Field(description="states that were to be live and did not load")


def within(limits: ServeSettings, asked: BaseModel, *, where: str = "body") -> None:
    """Check a request against what the settings allow.

    Args:
        where: what it came in: body or query.

    Raises:
        RequestValidationError: what is too long or too many, as pydantic would say it (422).
    """
    values = vars(asked)
    bounds = {
        "history": ("items", len(values.get("history") or ()), limits.max_history),
        "exclude": ("items", len(values.get("exclude") or ()), limits.max_exclude),
        "query": ("characters", len(values.get("query", "")), limits.max_query_chars),
        "k": ("items", values.get("k", 0), limits.max_k),
    }
    over = [
        {
            "type": "too_long",
            "loc": (where, name),
            "msg": f"at most {most} {unit} are allowed, not {found}",
            "input": found,
        }
        for name, (unit, found, most) in bounds.items()
        if found > most
    ]
    if over:
        raise RequestValidationError(over)
