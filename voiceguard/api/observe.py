"""What an operator sees: JSON logs, Prometheus metrics, and an id that ties a request to both."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voiceguard.api import problems

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger()

disable_created_metrics()  # a second series for each one, which nobody charts


def configure_logs(level: str) -> None:
    """Write one JSON object a line to stderr, the server's own messages too."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # uvicorn notes each WebSocket with its query, which may hold phone numbers.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "WebSocket" not in str(record.msg))
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what was sent


class Metrics:
    """The process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "voiceguard_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "voiceguard_request_seconds",
            "Seconds from a request's head to its answer.",
            ["method", "route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self.screening_seconds = Histogram(
            "voiceguard_screening_seconds",
            "Seconds that a screening took in its process.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.screened_seconds = Counter(
            "voiceguard_screened_seconds", "Seconds of audio screened.", registry=self.registry
        )
        self.verdicts = Counter(
            "voiceguard_verdicts", "Screenings by verdict.", ["verdict"], registry=self.registry
        )
        self.joined = Counter(
            "voiceguard_campaign_joins",
            "Calls stored, by how they came to their campaign.",
            ["how"],
            registry=self.registry,
        )
        self.lookup_seconds = Histogram(
            "voiceguard_campaign_lookup_seconds",
            "Seconds that it took to look a recording up among all that are known.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "voiceguard_uploads_in_flight", "Uploads being handled.", registry=self.registry
        )
        self.streams = Gauge("voiceguard_streams", "Live streams connected.", registry=self.registry)
        self.stream_ends = Counter(
            "voiceguard_stream_ends", "Live streams ended.", ["protocol", "ended"], registry=self.registry
        )
        self.look_seconds = Histogram(
            "voiceguard_look_seconds",
            "Seconds that a look at a running stream took in its process.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self.workers = Gauge(
            "voiceguard_screening_workers", "Screening processes alive.", registry=self.registry
        )
        self.outbox = Gauge(
            "voiceguard_outbox_pending", "Webhook deliveries that wait to be sent.", registry=self.registry
        )
        self.model = Info("voiceguard_model", "The detector that screens.", registry=self.registry)


class Observe:
    """Wraps the whole app: request id, one log line and one count a request, and a problem for any crash."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        sent = request.headers.get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request.state.request_id = request_id
        request.state.extra_headers = {}
        request.state.who = {}
        status = 0
        began = time.perf_counter()

        async def _send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = {"x-request-id": request_id, **request.state.extra_headers}
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in extra.items()),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, _send)
            except ClientDisconnect:
                status = 499  # nobody is there to be answered
            except Exception:
                _log.exception("request failed")
                if status:
                    raise  # the answer has begun: only a broken connection can tell the client
                await problems.response(request_id, problems.Problem("internal_error"))(scope, receive, _send)
            finally:
                self._note(scope, request, status, time.perf_counter() - began)

    def _note(self, scope: Scope, request: Request, status: int, seconds: float) -> None:
        # The route, not the path: a query may hold a phone number, and addresses nobody has are without end.
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if route != "none" else "any"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.request_seconds.labels(method, route).observe(seconds)
        quiet = route in ("/livez", "/readyz", "/metrics")
        _log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            **request.state.who,
        )
