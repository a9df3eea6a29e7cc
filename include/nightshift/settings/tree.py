"""One settings tree for every stage, on one machine and past it.

Read in this order, later wins: the defaults below, `nightshift.toml` in the working directory
(or the file named by `NIGHTSHIFT_CONFIG`), environment variables such as
`NIGHTSHIFT_STORE__URL`, then what a command line or a DAG's form passes. Nothing else in the
library reads the environment. A stage is keyed by the sections it names, so a change of
`report` never makes `finetune` run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

from nightshift.errors import SettingsError
from nightshift.settings.generate import AdaptSettings, GenerateSettings
from nightshift.settings.places import (
    ComputeSettings,
    CostSettings,
    LakeSettings,
    LogSettings,
    StoreSettings,
)
from nightshift.settings.retention import RetentionSettings
from nightshift.settings.sections import (
    BlendSettings,
    CollectSettings,
    EvaluateSettings,
    FinetuneSettings,
    InspectionSettings,
    NightSettings,
    PromotionSettings,
    ScoreSettings,
    ShopSettings,
    TextSettings,
    TuneSettings,
)
from nightshift.settings.serve import ServeSettings

PREFIX = "NIGHTSHIFT_"
CONFIG_VARIABLE = "NIGHTSHIFT_CONFIG"
_NOT_OURS = ("NIGHTSHIFT_AIRFLOW__",)
"""What runs the stages has settings of its own, which no stage may know."""


class Settings(BaseSettings):
    """The whole tree. Frozen; `with_` gives a changed copy."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    home: Path = Field(Path(".nightshift"), description="embedded server, default lake, caches")
    store: StoreSettings = StoreSettings()
    lake: LakeSettings = LakeSettings()
    compute: ComputeSettings = ComputeSettings()
    log: LogSettings = LogSettings()
    shop: ShopSettings = ShopSettings()
    night: NightSettings = NightSettings()
    collect: CollectSettings = CollectSettings()
    text: TextSettings = TextSettings()
    generate: GenerateSettings = GenerateSettings()
    adapt: AdaptSettings = AdaptSettings()
    inspection: InspectionSettings = InspectionSettings()
    blend: BlendSettings = BlendSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    tune: TuneSettings = TuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    cost: CostSettings = CostSettings()
    promotion: PromotionSettings = PromotionSettings()
    score: ScoreSettings = ScoreSettings()
    serve: ServeSettings = ServeSettings()
    retention: RetentionSettings = RetentionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Init, then environment, then the TOML file."""
        toml = Path(os.environ.get(CONFIG_VARIABLE, "nightshift.toml"))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml))

    @classmethod
    def load(cls, overrides: dict[str, Any] | None = None) -> Self:
        """The settings of this process, with `overrides` (a nested dict) on top.

        Raises:
            SettingsError: an unknown key or a value out of range, with its path; a file or a
                variable that cannot be read.
        """
        hint = "see `nightshift settings` for every key with its meaning"
        _check_sources(set(cls.model_fields), hint)
        try:
            return cls(**(overrides or {}))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()
            )
            raise SettingsError(f"Settings are wrong: {problems}.", hint=hint) from None
        except SourceError as error:  # a list or a table in a variable is written as JSON
            raise SettingsError(f"Settings are wrong: {error}.", hint=hint) from None

    @classmethod
    def shipped(cls, overrides: dict[str, Any] | None = None) -> Self:
        """The defaults with `overrides`, whatever the files and variables of this machine say."""
        return cls.load(_merge(cls.model_construct().model_dump(), overrides or {}))

    def with_(self, changes: dict[str, Any]) -> Self:
        """A copy with nested `changes` applied and validated."""
        return self.load(_merge(self.model_dump(), changes))

    @cached_property
    def home_path(self) -> Path:
        """`home`, absolute."""
        return self.home.expanduser().resolve()

    @cached_property
    def lake_root(self) -> str:
        """The lake's root URI."""
        return self.lake.root or (self.home_path / "lake").as_uri()

    def digest_of(self, *sections: str) -> str:
        """SHA-256 of the named sections (dotted paths allowed), for a stage's key."""
        picked = {path: _pick(self, path) for path in sections}
        text = json.dumps(picked, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _check_sources(sections: set[str], hint: str) -> None:
    """What pydantic-settings would overlook: the file that is not there, a misspelt section."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None and not Path(named).exists():
        raise SettingsError(
            f"{CONFIG_VARIABLE} names {named}, which does not exist.", hint="correct or unset it"
        )
    toml = Path(named or "nightshift.toml")
    if toml.is_file():
        try:
            tomllib.loads(toml.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise SettingsError(
                f"{toml} cannot be read: {error}.", hint="it is a TOML file", file=str(toml)
            ) from None
    for variable in os.environ:
        section, nested, _ = variable.upper().removeprefix(PREFIX).partition("__")
        ours = variable.upper().startswith(PREFIX) and not variable.upper().startswith(_NOT_OURS)
        if ours and nested and section.lower() not in sections:
            raise SettingsError(
                f"The variable {variable} names no section of the settings.", hint=hint
            )


def _pick(tree: BaseModel, path: str) -> Any:
    value: Any = tree
    for name in path.split("."):
        value = getattr(value, name)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[name] = _merge(old, value)
        else:
            merged[name] = value
    return merged
