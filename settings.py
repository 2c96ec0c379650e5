"""The only reader of the environment; imported by entry points alone."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_SQLITE = "sqlite:///"
_DATABASES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
# A lease must outlive a lost heartbeat and a late one.
_BEATS_IN_A_LEASE = 3


def _objectives_here() -> Path | None:
    path = Path("tuneup.toml")
    return path if path.is_file() else None


class Settings(BaseSettings):
    """Everything an operator can set, read from `TUNEUP_*` variables. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="TUNEUP_", frozen=True)

    database_url: str = Field(default="sqlite:///tuneup.db", validate_default=True)
    broker_url: str = "redis://127.0.0.1:6379/0"
    api_key: SecretStr | None = None

    lease_seconds: float = Field(default=60.0, gt=0)
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    reaper_seconds: float = Field(default=7.0, gt=0)
    poll_seconds: float = Field(default=20.0, gt=0)

    objectives: Path | None = Field(default_factory=_objectives_here, validate_default=True)
    checkpoints: Path = Field(default=Path(".tuneup/checkpoints"), validate_default=True)
    data: Path = Field(default=Path(".tuneup/datasets"), validate_default=True)
    checkpoint_seconds: float = Field(default=30.0, gt=0)
    grace_seconds: float = Field(default=10.0, ge=0)

    queue: str = "cpu"
    device: str | None = None
    population: int = Field(default=128, ge=1)
    threads: int | None = Field(default=None, ge=1)

    @field_validator("database_url")
    @classmethod
    def _place(cls, url: str) -> str:
        """Settle which driver is meant, and where a SQLite file lies: relative to where the program was started."""
        scheme, _, rest = url.partition("://")
        if scheme not in _DATABASES:
            raise ValueError(f"the database's URL must begin with one of {', '.join(f'{s}://' for s in _DATABASES)}")
        url = f"{_DATABASES[scheme]}://{rest}"
        if not url.startswith(_SQLITE) or url.removeprefix(_SQLITE) in {"", ":memory:"}:
            return url
        return f"{_SQLITE}{Path(url.removeprefix(_SQLITE)).resolve()}"

    @field_validator("objectives", mode="before")
    @classmethod
    def _named(cls, path: object) -> object:
        """An empty name is none: so that a program started elsewhere does not look for a file of its own."""
        return None if path == "" else path

    @field_validator("objectives", "checkpoints", "data")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Settle where a file lies: relative to where the program was started."""
        return None if path is None else path.resolve()

    @field_validator("api_key")
    @classmethod
    def _bare(cls, key: SecretStr | None) -> SecretStr | None:
        """Drop what a shell or a file adds around a key; an empty one is none."""
        bare = key.get_secret_value().strip() if key is not None else ""
        return SecretStr(bare) if bare else None

    @model_validator(mode="after")
    def _beats(self) -> Self:
        if self.lease_seconds < _BEATS_IN_A_LEASE * self.heartbeat_seconds:
            raise ValueError(
                f"TUNEUP_LEASE_SECONDS ({self.lease_seconds:g}) must be at least {_BEATS_IN_A_LEASE} times "
                f"TUNEUP_HEARTBEAT_SECONDS ({self.heartbeat_seconds:g}): else living workers are taken for dead"
            )
        return self


def threads(settings: Settings, *, workers: int) -> dict[str, str]:
    """Return the variable that says how many threads each of so many workers of this host may use: its share of cores."""
    return {"TUNEUP_THREADS": str(settings.threads or max(1, (os.cpu_count() or 1) // max(1, workers)))}


def places(settings: Settings) -> dict[str, str]:
    """Return the variables that say where things lie, for programs that are started in another folder."""
    return {
        "TUNEUP_DATABASE_URL": settings.database_url,
        "TUNEUP_OBJECTIVES": str(settings.objectives or ""),
        "TUNEUP_CHECKPOINTS": str(settings.checkpoints),
        "TUNEUP_DATA": str(settings.data),
    }


def load() -> Settings:
    """Read the settings. Raise ValueError that says of each bad variable what is wrong, in a line."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"TUNEUP_{str(fault['loc'][0]).upper()}: {fault['msg']}" if fault["loc"] else fault["msg"]
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError("; ".join(text.replace("Value error, ", "") for text in faults)) from None
