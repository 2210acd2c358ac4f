"""The counters of the server, for Prometheus."""

from __future__ import annotations

import logging

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

_LOG = logging.getLogger(__name__)


class Metrics:
    """Requests by route and status, their duration, images that are open and jobs that wait."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "status")
        self._requests = Counter("ignota_requests", "Requests", labels, registry=self._registry)
        self._seconds = Histogram("ignota_request_seconds", "Duration", ("route",), registry=self._registry)
        self._images = Gauge("ignota_open_images", "Images that are open", registry=self._registry)
        self._waiting = Gauge("ignota_waiting_jobs", "Jobs that wait or run", registry=self._registry)

    def watch(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts one answer under its route's pattern, never under what a client made up."""
        route = getattr(scope.get("route"), "path", "none")
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        _LOG.info("%s %s: %d in %.3f s", scope.get("method"), route, status, seconds)

    def text(self, images: int, waiting: int) -> tuple[bytes, str]:
        """All figures, and their content type."""
        self._images.set(images)
        self._waiting.set(waiting)
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
