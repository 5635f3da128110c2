"""The URLs of the demo."""

from django.contrib import admin
from django.urls import include, path

from example_project import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.quote, name="quote"),
    path("live/", views.live, name="live"),
    path("", include("example_project.monitoring")),
]
