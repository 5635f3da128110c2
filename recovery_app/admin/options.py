"""The model admin of snapshots: its URLs, permissions and views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _

from recovery_app.admin import actions, pages
from recovery_app.admin.base import StoragePage
from recovery_app.middleware import current_manager
from recovery_app.models import Snapshot

REVOKE = "revoke_selected"
STATE_PERMISSION = "recovery_app.view_snapshot_state"


class SnapshotAdmin(StoragePage):
    """The admin of the current manager's storage; the model itself is never queried."""

    list_per_page = 100
    sample_size = 500
    """How many snapshots the summary reads; with more stored, it shows estimates."""

    def may_see_hidden_values(self, request: HttpRequest) -> bool:
        """Return whether the user may see the values hidden by ``REDACT``."""
        return request.user.has_perm(STATE_PERMISSION)

    def get_urls(self) -> list[Any]:
        named = self._named_path
        return [
            named("", self.changelist_view, "changelist"),
            named("cleanup/", self.cleanup_view, "cleanup"),
            named("revoke-user/", self.revoke_user_view, "revoke_user"),
            named("<path:object_id>/history/", self.history_view, "history"),
            named("<path:object_id>/delete/", self.delete_view, "delete"),
            named("<path:object_id>/change/", self.change_view, "change"),
            path("<path:object_id>/", self.admin_site.admin_view(self.redirect_view)),
        ]

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Snapshot:
        """Return an unsaved object: the history outlives the snapshot."""
        return Snapshot(key=object_id)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; on POST, ask for confirmation or revoke the selected snapshots."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._run_action(request)
        context = pages.list_page(
            current_manager(),
            request.GET,
            self._persons(request),
            limit=self.list_per_page,
            sample_size=self.sample_size,
            url_of=self._url_of,
        )
        context |= {
            "may_clean_up": self._may_clean_up(request),
            "may_revoke": self.has_delete_permission(request),
            "revoke_user_url": self._reverse("revoke_user"),
            "journal_url": self._list_url_for(request, "journalentry"),
            "live_url": self._list_url_for(request, "storedreport"),
            "action_name": REVOKE,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return self._render(request, "change_list", context | (extra_context or {}))

    def _run_action(self, request: HttpRequest) -> HttpResponse:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if request.POST.get("action") != REVOKE or not keys:
            messages.warning(request, _("No snapshots were selected, so nothing was revoked."))
            return redirect(request.get_full_path())
        return self._revoke_if_confirmed(request, keys)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a snapshot and its state, read-only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        key = unquote(object_id)
        context = pages.detail_page(
            current_manager(),
            key,
            self._persons(request),
            reveal=self.may_see_hidden_values(request),
        )
        if context is None:
            text = _("There is no snapshot of socket %(hash)s. It has expired or was removed.")
            messages.warning(request, text % {"hash": key})
            return redirect(self._list_url())
        context |= {
            "parents": [self._list_link(request)],
            "may_revoke": self.has_delete_permission(request),
            "delete_url": self._reverse("delete", quote(key)),
            "list_url": self._list_url(),
            "revoke_user_url": self._reverse("revoke_user"),
            "history_url": self._reverse("history", quote(key)),
        }
        return self._render(request, "detail", context | (extra_context or {}))

    def redirect_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the snapshot's page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect(self._reverse("change", object_id))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for confirmation; on POST, revoke the snapshot."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        return self._revoke_if_confirmed(request, [unquote(object_id)])

    def cleanup_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation; on POST, remove expired snapshots."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        manager = current_manager()
        if request.method == "POST":
            result = actions.clean_up(manager, user=request.user)
            for error in result.errors:
                messages.error(request, error)
            if result.changed or not result.errors:
                messages.success(request, actions.removed_message(result.changed))
            return redirect(self._next_url(request))
        context = pages.cleanup_page(manager, sample_size=self.sample_size)
        context |= {
            "parents": [self._list_link(request)],
            "may_clean_up": self._may_clean_up(request),
            "list_url": self._next_url(request),
        }
        return self._render(request, "cleanup", context)

    def revoke_user_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a user and for confirmation; on POST, revoke all pages of the user."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        manager, given = current_manager(), request.POST or request.GET
        name, key = (given.get(field, "").strip() for field in ("user", "pk"))
        context = pages.revoke_user_page(manager, self._persons(request), name=name, key=key)
        user = context["user_to_revoke"]
        if user is not None and request.method == "POST" and request.POST.get("post"):
            errors = actions.revoke_user(manager, user, by=request.user)
            for error in errors:
                messages.error(request, error)
            if not errors:
                text = actions.user_revoked_message(user, context["within"])
                messages.success(request, text)
            return redirect(self._next_url(request))
        context |= {
            "parents": [self._list_link(request)],
            "list_url": self._next_url(request),
            "can_list": context["can_list"] and self.has_view_permission(request),
        }
        return self._render(request, "revoke_user", context)

    def _revoke_if_confirmed(self, request: HttpRequest, keys: Sequence[str]) -> HttpResponse:
        manager = current_manager()
        if request.method == "POST" and request.POST.get("post"):
            result = actions.revoke(manager, keys, user=request.user)
            for error in result.errors:
                messages.error(request, error)
            if result.changed:
                messages.success(request, actions.revoked_message(result.changed))
            if result.missing:
                messages.warning(request, actions.missing_message(result.missing))
            return redirect(self._next_url(request))
        context = pages.revoke_page(manager, keys, url_of=self._url_of)
        context |= {
            "parents": [self._list_link(request)],
            "list_url": self._next_url(request),
            "action_name": REVOKE,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return self._render(request, "revoke", context)

    def _may_clean_up(self, request: HttpRequest) -> bool:
        is_useful = not current_manager().storage.expires_by_itself
        return is_useful and self.has_delete_permission(request)

    def _list_link(self, request: HttpRequest) -> dict[str, str]:
        url = self._list_url() if self.has_view_permission(request) else ""
        return {"text": _("Snapshots"), "url": url}

    def _next_url(self, request: HttpRequest) -> str:
        """Return the URL after a change: permission to delete doesn't include the list."""
        if self.has_view_permission(request):
            return self._list_url()
        return reverse(f"{self.admin_site.name}:index")

    def _list_url(self) -> str:
        return self._reverse("changelist")

    def _url_of(self, key: str) -> str:
        return self._reverse("change", quote(key))
