"""The only reader of the environment; imported by entry points alone."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything an operator can set, read from `TUNEUP_*` variables. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="TUNEUP_", frozen=True)

    database_url: str = "sqlite:///tuneup.db"
    broker_url: str = "redis://127.0.0.1:6379/0"
    api_key: SecretStr | None = None

    lease_seconds: float = Field(default=60.0, gt=0)
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    reaper_seconds: float = Field(default=7.0, gt=0)
    poll_seconds: float = Field(default=20.0, gt=0)

    queue: str = "cpu"
    capacity: int = Field(default=1, ge=1)
    device: str | None = None
