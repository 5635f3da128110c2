"""The Prometheus metrics: an observer that counts what the core announces."""

from recovery_app.conf import get_metrics_namespace
from recovery_app.metrics.observer import Metrics
from recovery_app.signals import observers

__all__ = ["start"]


def start() -> None:
    """Start counting, once per process, in the namespace that the settings have now."""
    observers.start("metrics", lambda: Metrics(get_metrics_namespace()))
