"""What the pages on storages share: read-only model admins whose models are never queried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse

from recovery_app.admin.persons import Persons
from recovery_app.middleware import current_manager

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Model]
else:
    _ModelAdmin = admin.ModelAdmin

_HAS_BREADCRUMB_LIST = django.VERSION >= (6, 1)


class StoragePage(_ModelAdmin):
    """A model admin of something in the current manager's storage."""

    named_users = 1000
    """How many users are recognized by their digests: who logged in last."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def _named_path(self, route: str, view: Any, name: str) -> Any:
        return path(route, self.admin_site.admin_view(view), name=self._name(name))

    def _persons(self, request: HttpRequest) -> Persons:
        return Persons(current_manager(), request.user, max_users=self.named_users)

    def _render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        common = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "subtitle": None,
            "parents": [],
            "has_breadcrumb_list": _HAS_BREADCRUMB_LIST,
        }
        name = f"admin/recovery_app/{self.opts.model_name}/{template}.html"
        return TemplateResponse(request, name, {**common, **context})

    def _reverse(self, name: str, *arguments: str) -> str:
        return reverse(f"{self.admin_site.name}:{self._name(name)}", args=arguments)

    def _name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"
