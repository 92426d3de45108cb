"""Webhooks: where a carrier's events go, what came of each, and once more by hand."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Annotated, TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response

from voiceguard.api import docs, problems
from voiceguard.api.addresses import check_url
from voiceguard.api.auth import needs
from voiceguard.api.problems import Problem
from voiceguard.api.requests import Cursor, Id, Limit, before, documented, read_json
from voiceguard.api.service import Service, ServiceDep
from voiceguard.api.webhook_models import (
    DeliveryOut,
    DeliveryPage,
    EventOut,
    WebhookChange,
    WebhookIn,
    WebhookOut,
    WebhookPage,
    WebhookWithSecret,
)
from voiceguard.store import cursors, deliveries, endpoints, outbox
from voiceguard.store.deliveries import Delivery
from voiceguard.store.endpoints import Endpoint
from voiceguard.store.engine import reading, writing
from voiceguard.store.keys import ApiKey, Scope
from voiceguard.store.outbox import EventType, State

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

MAX_WEBHOOKS = 20
"""Most webhooks of one carrier."""

WebhooksWriter = Annotated[ApiKey, Depends(needs(Scope.WEBHOOKS_WRITE))]
WebhooksReader = Annotated[ApiKey, Depends(needs(Scope.WEBHOOKS_READ))]
_T = TypeVar("_T")


@router.post(
    "",
    status_code=201,
    summary="Create a webhook",
    responses=docs.errors(400, 401, 403, 409, 413, 422, 429, 503, 507),
    openapi_extra=documented(WebhookIn),
)
async def create_webhook(
    request: Request, response: Response, service: ServiceDep, key: WebhooksWriter
) -> WebhookWithSecret:
    """Create a webhook; its secret is shown this once."""
    posted = await read_json(request, WebhookIn)
    url = _checked(posted.url, service)

    def _add(connection: sa.Connection) -> tuple[Endpoint, str]:
        if endpoints.count(connection, key.carrier_id) >= MAX_WEBHOOKS:
            raise Problem("too_many_webhooks", f"Expected at most {MAX_WEBHOOKS} webhooks, got one more.")
        events = tuple(dict.fromkeys(posted.events))
        return endpoints.add(
            connection, carrier_id=key.carrier_id, url=url, events=events, now=_now(), actor=key.id
        )

    endpoint, secret = await _write(service, _add)
    response.headers["Location"] = f"/v1/webhooks/{endpoint.id}"
    return _with_secret(endpoint, secret)


@router.get("", summary="List webhooks", responses=docs.errors(401, 403, 422, 429, 503))
async def list_webhooks(
    service: ServiceDep, key: WebhooksReader, limit: Limit = 50, cursor: Cursor = None
) -> WebhookPage:
    """List the carrier's webhooks, latest first."""
    before_seq = before(cursor)

    def _page() -> list[Endpoint]:
        with reading(service.engine) as connection:
            return endpoints.page(
                connection, carrier_id=key.carrier_id, before_seq=before_seq, limit=limit + 1
            )

    found = await service.in_thread(_page)
    return WebhookPage(
        data=[WebhookOut.model_validate(one) for one in found[:limit]], next_cursor=_next(found, limit)
    )


@router.get("/{webhook_id}", summary="Read a webhook", responses=docs.errors(401, 403, 404, 422, 429, 503))
async def get_webhook(service: ServiceDep, key: WebhooksReader, webhook_id: Id) -> WebhookOut:
    """Read one webhook, without its secret."""

    def _get() -> Endpoint:
        with reading(service.engine) as connection:
            return _found(endpoints.get(connection, webhook_id, carrier_id=key.carrier_id))

    return WebhookOut.model_validate(await service.in_thread(_get))


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook",
    responses=docs.errors(400, 401, 403, 404, 413, 422, 429, 503, 507),
    openapi_extra=documented(WebhookChange),
)
async def change_webhook(
    request: Request, service: ServiceDep, key: WebhooksWriter, webhook_id: Id
) -> WebhookOut:
    """Change a webhook's address or events, or disable or enable it."""
    posted = await read_json(request, WebhookChange)
    url = _checked(posted.url, service) if posted.url is not None else None
    events = tuple(dict.fromkeys(posted.events)) if posted.events is not None else None
    changed = await _write(
        service,
        lambda connection: endpoints.change(
            connection,
            webhook_id,
            carrier_id=key.carrier_id,
            url=url,
            events=events,
            enabled=posted.enabled,
            now=_now(),
            actor=key.id,
        ),
    )
    return WebhookOut.model_validate(_found(changed))


@router.delete(
    "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=docs.errors(401, 403, 404, 422, 429, 503, 507),
)
async def delete_webhook(service: ServiceDep, key: WebhooksWriter, webhook_id: Id) -> None:
    """Delete a webhook; what waited for it is not sent."""
    if not await _write(
        service,
        lambda connection: endpoints.remove(connection, webhook_id, carrier_id=key.carrier_id, actor=key.id),
    ):
        raise _not_found()


@router.post(
    "/{webhook_id}/rotate-secret",
    summary="Rotate a webhook's secret",
    responses=docs.errors(401, 403, 404, 422, 429, 503, 507),
)
async def rotate_secret(service: ServiceDep, key: WebhooksWriter, webhook_id: Id) -> WebhookWithSecret:
    """Give a webhook a new secret, shown this once; for 24 hours the old one signs too."""
    endpoint, secret = _found(
        await _write(
            service,
            lambda connection: endpoints.rotate_secret(
                connection, webhook_id, carrier_id=key.carrier_id, now=_now(), actor=key.id
            ),
        )
    )
    return _with_secret(endpoint, secret)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    summary="Send a trial event",
    responses=docs.errors(401, 403, 404, 409, 422, 429, 503, 507),
)
async def test_webhook(service: ServiceDep, key: WebhooksWriter, webhook_id: Id) -> EventOut:
    """Put an event of type webhook.test on its way; the deliveries show what came of it."""

    def _enqueue(connection: sa.Connection) -> str:
        _enabled(connection, webhook_id, key)
        data = {"webhook_id": webhook_id}
        event_id = outbox.enqueue(
            connection, EventType.TEST, key.carrier_id, data, now=_now(), endpoint_id=webhook_id
        )
        return _found(event_id)

    return EventOut(event_id=await _write(service, _enqueue))


@router.get(
    "/{webhook_id}/deliveries",
    summary="List deliveries",
    responses=docs.errors(401, 403, 404, 422, 429, 503),
)
async def list_deliveries(
    service: ServiceDep,
    key: WebhooksReader,
    webhook_id: Id,
    state: State | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryPage:
    """List a webhook's deliveries of the last 30 days with every attempt, latest first."""
    before_seq = before(cursor)

    def _page() -> list[Delivery]:
        with reading(service.engine) as connection:
            _found(endpoints.get(connection, webhook_id, carrier_id=key.carrier_id))
            return deliveries.page(
                connection, webhook_id, state=state, before_seq=before_seq, limit=limit + 1
            )

    found = await service.in_thread(_page)
    return DeliveryPage(
        data=[DeliveryOut.model_validate(one) for one in found[:limit]], next_cursor=_next(found, limit)
    )


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Deliver once more",
    responses=docs.errors(401, 403, 404, 409, 422, 429, 503, 507),
)
async def replay_delivery(
    service: ServiceDep, key: WebhooksWriter, webhook_id: Id, delivery_id: Id
) -> DeliveryOut:
    """Send an event once more at once, delivered or not, with the whole schedule of retries before it."""

    def _replay(connection: sa.Connection) -> Delivery:
        _enabled(connection, webhook_id, key)
        if not deliveries.replay(connection, delivery_id, endpoint_id=webhook_id, now=_now()):
            raise Problem("not_found", "Expected the id of one of this webhook's deliveries.")
        return deliveries.page(connection, webhook_id, delivery_id=delivery_id, limit=1)[0]

    return DeliveryOut.model_validate(await _write(service, _replay))


async def _write(service: Service, work: Callable[[sa.Connection], _T]) -> _T:
    def _in_transaction() -> _T:
        with writing(service.engine) as connection:
            return work(connection)

    return await service.in_thread(_in_transaction)


def _checked(url: str, service: Service) -> str:
    try:
        return check_url(url, allow_private=service.settings.webhook_allow_private)
    except ValueError as error:
        raise problems.invalid([{"loc": ("body", "url"), "msg": str(error)}]) from None


def _enabled(connection: sa.Connection, webhook_id: str, key: ApiKey) -> None:
    if _found(endpoints.get(connection, webhook_id, carrier_id=key.carrier_id)).disabled_at is not None:
        raise Problem("webhook_disabled")


def _found(what: _T | None) -> _T:
    if what is None:
        raise _not_found()
    return what


def _not_found() -> Problem:
    return Problem("not_found", "Expected the id of one of your webhooks.")


def _with_secret(endpoint: Endpoint, secret: str) -> WebhookWithSecret:
    return WebhookWithSecret.model_validate({**dataclasses.asdict(endpoint), "secret": secret})


def _next(found: list[Endpoint] | list[Delivery], limit: int) -> str | None:
    return cursors.encode(found[limit - 1].seq) if len(found) > limit else None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
