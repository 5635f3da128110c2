"""The Prometheus metrics; they only listen (`recovery_app.signals.Observer`)."""

from recovery_app.metrics import operations, recovery

__all__ = ["start"]


def start() -> None:
    """Count from now on, under the namespace that the settings have now; once a process."""
    recovery.start()
    operations.start()
