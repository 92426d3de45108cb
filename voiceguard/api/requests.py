"""What routes with a JSON body or a cursor share."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Path, Query, Request
from pydantic import BaseModel, ValidationError

from voiceguard.api import problems
from voiceguard.api.problems import Problem
from voiceguard.store import cursors

MAX_BODY_BYTES = 16_384

Id = Annotated[str, Path(max_length=64, pattern=r"^[\x21-\x7e]*$")]
Cursor = Annotated[str | None, Query(max_length=64, description="next_cursor of the page before.")]
Limit = Annotated[int, Query(ge=1, le=200)]
_Body = TypeVar("_Body", bound=BaseModel)


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """Return the documentation of a body that the route reads by `read_json`."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_json(request: Request, model: type[_Body], *, most_bytes: int = MAX_BODY_BYTES) -> _Body:
    """Read a JSON body of bounded size; FastAPI would read one of any size before it asks for the key."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise Problem("request_too_large", f"Expected a body of at most {most_bytes} bytes, got more.")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise problems.invalid([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


def before(cursor: str | None) -> int | None:
    """Read a cursor; a `Problem` says if it is none."""
    try:
        return cursors.decode(cursor) if cursor is not None else None
    except ValueError as error:
        raise problems.invalid([{"loc": ("query", "cursor"), "msg": str(error)}]) from None
