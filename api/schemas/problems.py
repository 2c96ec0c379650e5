"""How errors look."""

from pydantic import BaseModel


class FaultOut(BaseModel):
    """One thing wrong with the request."""

    path: str
    message: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str | None
    errors: list[FaultOut]
