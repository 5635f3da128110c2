"""The model admin of durable groups: its URLs, permissions and views."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from recovery_app.admin import actions, group_pages
from recovery_app.admin.base import StoragePage
from recovery_app.middleware import current_manager
from recovery_app.models import StoredGroup

MESSAGES_PERMISSION = "recovery_app.view_storedgroup_messages"


class GroupAdmin(StoragePage):
    """The durable groups of the current manager's storage; the model itself is never queried."""

    list_per_page = 50
    shown_messages = 20
    """How many messages the page of a group shows, the newest ones."""

    def may_see_hidden_values(self, request: HttpRequest) -> bool:
        """Return whether the user may see the values hidden by ``REDACT``."""
        return request.user.has_perm(MESSAGES_PERMISSION)

    def get_urls(self) -> list[Any]:
        named = self._named_path
        return [
            named("", self.changelist_view, "changelist"),
            named("<path:object_id>/history/", self.history_view, "history"),
            named("<path:object_id>/delete/", self.delete_view, "delete"),
            named("<path:object_id>/change/", self.change_view, "change"),
        ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> StoredGroup:
        """Return an unsaved object: the history outlives the log."""
        return StoredGroup(name=object_id)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = group_pages.list_page(
            current_manager(), request.GET, limit=self.list_per_page, url_of=self._url_of
        )
        return self._render(request, "change_list", context | (extra_context or {}))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a group and its last messages, read-only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = unquote(object_id)
        context = group_pages.detail_page(
            current_manager(),
            name,
            limit=self.shown_messages,
            reveal=self.may_see_hidden_values(request),
        )
        if context is None:
            self._say_missing(request, name)
            return redirect(self._reverse("changelist"))
        context |= {
            "parents": [self._list_link(request)],
            "may_delete": self.has_delete_permission(request),
            "delete_url": self._reverse("delete", quote(name)),
            "history_url": self._reverse("history", quote(name)),
        }
        return self._render(request, "detail", context | (extra_context or {}))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for confirmation; on POST, remove the group's log."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        manager, name = current_manager(), unquote(object_id)
        if request.method == "POST" and request.POST.get("post"):
            result = actions.delete_group(manager, name, user=request.user)
            for error in result.errors:
                messages.error(request, error)
            if result.changed:
                text = _("The messages of the group %(name)s are deleted.")
                messages.success(request, text % {"name": name})
            if result.missing:
                self._say_missing(request, name)
            return redirect(self._next_url(request))
        context = group_pages.delete_page(manager, name)
        context |= {"parents": [self._list_link(request)], "list_url": self._next_url(request)}
        return self._render(request, "delete", context | (extra_context or {}))

    def _say_missing(self, request: HttpRequest, name: str) -> None:
        text = _("There is no group %(name)s, or it has no messages any more.")
        messages.warning(request, text % {"name": name})

    def _list_link(self, request: HttpRequest) -> dict[str, str]:
        url = self._reverse("changelist") if self.has_view_permission(request) else ""
        return {"text": _("Durable groups"), "url": url}

    def _next_url(self, request: HttpRequest) -> str:
        """Return the URL after a change: permission to delete doesn't include the list."""
        if self.has_view_permission(request):
            return self._reverse("changelist")
        return reverse(f"{self.admin_site.name}:index")

    def _url_of(self, name: str) -> str:
        return self._reverse("change", quote(name))
