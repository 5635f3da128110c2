"""The endpoints of the health checks: ``path("health/", include("recovery_app.urls"))``."""

from django.urls import path

from recovery_app import health

app_name = "recovery"
urlpatterns = [
    path("live/", health.live, name="live"),
    path("ready/", health.ready, name="ready"),
    path("storage/", health.storage, name="storage"),
]
