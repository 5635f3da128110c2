"""The URLs of the demo."""

from django.contrib import admin
from django.urls import include, path

from example_project import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.quote, name="quote"),
    path("chat/", views.chat, name="chat"),
    path("chat/<slug:room>/", views.chat, name="chat"),
    path("dashboard/", views.orders, name="orders"),
    path("live/", views.live, name="live"),
    path("", include("example_project.monitoring")),
]
