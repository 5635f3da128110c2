"""Own the addresses of the page "Snapshots", who may open them, and what each does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import django
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from recovery_app.admin import actions, pages
from recovery_app.middleware import current_manager
from recovery_app.models import Snapshot

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Snapshot]
else:
    _ModelAdmin = admin.ModelAdmin

REVOKE = "revoke_selected"
STATE_PERMISSION = "recovery_app.view_snapshot_state"
_CRUMBS_ARE_A_LIST = django.VERSION >= (6, 1)


class SnapshotAdmin(_ModelAdmin):
    """Look into the storage of the current manager; nothing of it is asked of the model."""

    list_per_page = 100
    sample_size = 500
    """Snapshots that the summary looks at; of more it gives an estimate."""

    # Who may do what; "view" and "delete" are Django's own questions.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_see_hidden_values(self, request: HttpRequest) -> bool:
        """Say whether the values of keys in ``REDACT`` are shown."""
        return request.user.has_perm(STATE_PERMISSION)

    # The addresses.

    def get_urls(self) -> list[Any]:
        def named(route: str, view: Any, name: str) -> Any:
            return path(route, self.admin_site.admin_view(view), name=self._name(name))

        return [
            named("", self.changelist_view, "changelist"),
            named("cleanup/", self.cleanup_view, "cleanup"),
            named("<path:object_id>/history/", self.history_view, "history"),
            named("<path:object_id>/delete/", self.delete_view, "delete"),
            named("<path:object_id>/change/", self.change_view, "change"),
            path("<path:object_id>/", self.admin_site.admin_view(self.bare_view)),
        ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Snapshot:
        """Name a socket; its history is there when its snapshot is gone."""
        return Snapshot(key=object_id)

    # The list.

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what is stored; by POST, ask about what was selected or revoke it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._run_action(request)
        context = pages.list_page(
            current_manager(),
            request.GET,
            limit=self.list_per_page,
            sample_size=self.sample_size,
            url_of=self._url_of,
        )
        context |= {
            "may_clean_up": self._may_clean_up(request),
            "may_revoke": self.has_delete_permission(request),
            "action_name": REVOKE,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return self._render(request, "change_list", context | (extra_context or {}))

    def _run_action(self, request: HttpRequest) -> HttpResponse:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if request.POST.get("action") != REVOKE or not keys:
            messages.warning(request, _("Nothing was selected, so nothing was revoked."))
            return redirect(request.get_full_path())
        return self._revoke_if_sure(request, keys)

    # One snapshot.

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a snapshot and its state; nothing of it can be changed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        key = unquote(object_id)
        context = pages.detail_page(
            current_manager(), key, reveal=self.may_see_hidden_values(request)
        )
        if context is None:
            text = _("There is no snapshot of socket %(hash)s: it has expired or was removed.")
            messages.warning(request, text % {"hash": key})
            return redirect(self._list_url())
        context |= {
            "crumbs": [self._list_crumb(request)],
            "may_revoke": self.has_delete_permission(request),
            "delete_url": self._reverse("delete", quote(key)),
            "history_url": self._reverse("history", quote(key)),
        }
        return self._render(request, "detail", context | (extra_context or {}))

    def bare_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Lead on to the snapshot."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect(self._reverse("change", object_id))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask whether a snapshot is to be revoked; by POST, revoke it."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        return self._revoke_if_sure(request, [unquote(object_id)])

    # Changes.

    def cleanup_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whether what has expired is to be removed; by POST, remove it."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        manager = current_manager()
        if request.method == "POST":
            done = actions.clean_up(manager, user=request.user)
            for trouble in done.troubles:
                messages.error(request, trouble)
            if done.changed or not done.troubles:
                messages.success(request, actions.removed(done.changed))
            return redirect(self._next_url(request))
        context = pages.cleanup_page(manager, sample_size=self.sample_size)
        context |= {
            "crumbs": [self._list_crumb(request)],
            "may_clean_up": self._may_clean_up(request),
            "list_url": self._next_url(request),
        }
        return self._render(request, "cleanup", context)

    def _revoke_if_sure(self, request: HttpRequest, keys: Sequence[str]) -> HttpResponse:
        manager = current_manager()
        if request.method == "POST" and request.POST.get("post"):
            done = actions.revoke(manager, keys, user=request.user)
            self._tell(request, done)
            return redirect(self._next_url(request))
        context = pages.revoke_page(manager, keys, url_of=self._url_of)
        context |= {
            "crumbs": [self._list_crumb(request)],
            "list_url": self._next_url(request),
            "action_name": REVOKE,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return self._render(request, "revoke", context)

    def _tell(self, request: HttpRequest, done: actions.Done) -> None:
        for trouble in done.troubles:
            messages.error(request, trouble)
        if done.changed:
            messages.success(request, actions.revoked(done.changed))
        if done.absent:
            messages.warning(request, actions.gone(done.absent))

    # What the views share.

    def _may_clean_up(self, request: HttpRequest) -> bool:
        can = not current_manager().storage.expires_by_itself
        return can and self.has_delete_permission(request)

    def _render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        common = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "subtitle": None,
            "crumbs": [],
            "crumbs_are_a_list": _CRUMBS_ARE_A_LIST,
        }
        name = f"admin/recovery_app/snapshot/{template}.html"
        return TemplateResponse(request, name, {**common, **context})

    def _list_crumb(self, request: HttpRequest) -> dict[str, str]:
        url = self._list_url() if self.has_view_permission(request) else ""
        return {"text": _("Snapshots"), "url": url}

    def _next_url(self, request: HttpRequest) -> str:
        """Give where to go after a change: who may remove may not be who may see."""
        if self.has_view_permission(request):
            return self._list_url()
        return reverse(f"{self.admin_site.name}:index")

    def _list_url(self) -> str:
        return self._reverse("changelist")

    def _url_of(self, key: str) -> str:
        return self._reverse("change", quote(key))

    def _reverse(self, name: str, *arguments: str) -> str:
        return reverse(f"{self.admin_site.name}:{self._name(name)}", args=arguments)

    def _name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"
