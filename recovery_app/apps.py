"""The app's configuration, which starts checks, metrics and tracing."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks as django_checks
from django.utils.translation import gettext_lazy as _

from recovery_app import checks, metrics, tracing


class RecoveryConfig(AppConfig):
    """The configuration of the app ``recovery_app``."""

    name = "recovery_app"
    label = "recovery_app"
    verbose_name = _("Recovery")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and start metrics and, if OpenTelemetry is installed, tracing."""
        for check in checks.CHECKS:
            django_checks.register(check, checks.TAG)
        for check in checks.DEPLOY_CHECKS:
            django_checks.register(check, checks.TAG, deploy=True)
        metrics.start()
        tracing.start()
