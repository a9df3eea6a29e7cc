"""What `nightshift serve` listens to, allows and follows: part of no stage's key."""

from __future__ import annotations

from pydantic import Field, SecretStr

from nightshift.settings.base import Section


class ServeSettings(Section):
    """The server of the live model."""

    host: str = Field("127.0.0.1", description="address to listen on; beyond loopback: with token")
    port: int = Field(8100, ge=0, le=65535, description="0: any that is free")
    token: SecretStr | None = Field(
        None,
        min_length=16,
        description="what callers send as `Authorization: Bearer …`; required beyond loopback",
    )
    poll_seconds: float = Field(5.0, gt=0, description="how often the live alias is looked at")
    batch: int = Field(64, ge=1, description="requests that are ranked in one pass, at most")
    wait_ms: float = Field(2.0, ge=0, description="where many ask, the first of a batch waits")
    max_k: int = Field(200, ge=10, description="items in one answer, at most; 10 by default")
    max_history: int = Field(1000, ge=1, description="items in a history of a request, at most")
    max_exclude: int = Field(1000, ge=0, description="items that a request excludes, at most")
    max_query_chars: int = Field(200, ge=1, description="length of a search, at most")
    max_body_kb: int = Field(256, ge=1, description="a larger request is refused unread")
    max_connections: int = Field(512, ge=1, description="more at the same time are told 503")
