"""Monitoring: ``/metrics`` for Prometheus, and ``/health/`` for people and for probes.

``/health/`` asks the storage; ``/health/live/`` and ``/health/ready/`` don't.

The proxy in ``deploy`` doesn't pass ``/metrics`` on, as it is no business of visitors.
Both use django-prometheus and django-health-check if these are installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import prometheus_client
from django.apps import apps
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver
from django.utils.module_loading import import_string
from prometheus_client.multiprocess import MultiProcessCollector

from recovery_app.health import acheck_storage


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics, of all worker processes if there are several."""
    registry = prometheus_client.REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = prometheus_client.CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    page = prometheus_client.generate_latest(registry)
    return HttpResponse(page, content_type=prometheus_client.CONTENT_TYPE_LATEST)


async def health(request: HttpRequest) -> JsonResponse:
    """Return whether the storage can save and load a snapshot."""
    found = await acheck_storage()
    return JsonResponse(asdict(found), status=200 if found.is_good else 503)


def _metrics_path() -> URLPattern | URLResolver:
    if apps.is_installed("django_prometheus"):
        return path("", include("django_prometheus.urls"))
    return path("metrics", metrics)


def _health_path() -> URLPattern:
    view: Callable[..., Any] = health
    if apps.is_installed("health_check"):
        page = import_string("health_check.views.HealthCheckView")
        view = page.as_view(checks=["recovery_app.health_plugin.RecoveryStorage"])
    return path("health/", view)


urlpatterns = [
    _metrics_path(),
    _health_path(),
    path("health/", include("recovery_app.urls")),
]
