"""What the pages on storages share: read-only model admins whose models are never queried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import django
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse

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

    def _snapshot_url_for(self, request: HttpRequest) -> Callable[[str], str]:
        """Return what returns the URL of a snapshot, "" for who may not see it."""
        may_see = request.user.has_perm(f"{self.opts.app_label}.view_snapshot")
        return self._snapshot_url if may_see else lambda _key: ""

    def _snapshot_url(self, key: str) -> str:
        return self._url_on_this_site("snapshot_change", quote(key))

    def _list_url_for(self, request: HttpRequest, model: str) -> str:
        """Return the URL of another page's list, "" for who may not see it."""
        may_see = request.user.has_perm(f"{self.opts.app_label}.view_{model}")
        return self._url_on_this_site(f"{model}_changelist") if may_see else ""

    def _url_on_this_site(self, name: str, *arguments: str) -> str:
        try:
            return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{name}", args=arguments)
        except NoReverseMatch:
            # This site hasn't registered that page.
            return ""

    def _name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"
