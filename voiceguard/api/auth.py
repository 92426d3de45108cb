"""Who asks: an API key, its scopes, and how many requests it has left."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import limits
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from voiceguard.api.problems import Problem, retry_after
from voiceguard.api.service import Service, ServiceDep
from voiceguard.errors import StoreError
from voiceguard.store import keys
from voiceguard.store.keys import ApiKey, Scope

_bearer = HTTPBearer(auto_error=False, description="An API key: `voiceguard key create NAME` prints one.")
_log = structlog.get_logger()


def needs(scope: Scope) -> Callable[..., Coroutine[Any, Any, ApiKey]]:
    """Return the dependency that lets a request with ``scope`` in, counts it, and returns its key."""

    async def _authorised(
        request: Request,
        service: ServiceDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> ApiKey:
        if credentials is None:
            raise Problem("missing_key")
        secret, now = credentials.credentials, dt.datetime.now(dt.UTC)
        if not keys.well_formed(secret):
            raise Problem("invalid_key", "The key's form or checksum is wrong; it was not copied whole.")
        key = await service.in_thread(lambda: find(request, service, secret, now))
        if scope not in key.scopes:
            raise Problem("insufficient_scope", f"Expected a key with the scope {scope}.")
        return key

    return _authorised


def find(request: HTTPConnection, service: Service, secret: str, now: dt.datetime) -> ApiKey:
    """Return the usable key that ``secret`` opens, and count the request against its limit."""
    key = keys.find(service.engine, secret, now)
    if key is None:
        raise Problem("invalid_key")
    request.state.who.update(key=key.prefix, carrier=key.carrier_id)
    if key.revoked_at is not None:
        raise Problem("revoked_key")
    if not key.usable(now):
        raise Problem("expired_key")
    _count(request, service, key)
    return key


def _count(request: HTTPConnection, service: Service, key: ApiKey) -> None:
    """Count the request and note the headers that say what is left."""
    rate = limits.parse(service.settings.rate_limit)
    try:
        usage = service.counters.hit(rate, key.id)
    except StoreError as error:
        # The counters may be on a full disk of their own; the request itself will find out what is wrong.
        _log.warning("requests not counted", error=str(error))
        return
    reset_s = round(usage.resets_in_s)
    request.state.extra_headers.update(
        {
            "ratelimit-policy": f'"key";q={rate.amount};w={rate.get_expiry()}',
            "ratelimit": f'"key";r={usage.remaining};t={reset_s}',
        }
    )
    if not usage.allowed:
        raise Problem("rate_limited", f"Expected at most {rate}, got more.", headers=retry_after(reset_s))


CallsWriter = Annotated[ApiKey, Depends(needs(Scope.CALLS_WRITE))]
CallsReader = Annotated[ApiKey, Depends(needs(Scope.CALLS_READ))]
Notified = Annotated[ApiKey, Depends(needs(Scope.NOTICES))]
CasesReader = Annotated[ApiKey, Depends(needs(Scope.CASES_READ))]
