"""The model admin of live pages: its URLs, permissions and views."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from recovery_app.admin import live_page
from recovery_app.admin.base import StoragePage
from recovery_app.middleware import current_manager


class LiveAdmin(StoragePage):
    """The pages that are open in all processes, as these last reported; read-only."""

    list_per_page = 100
    """How many persons, or pages of one, are shown at most."""
    shown_gone = 20
    """How many processes are shown at most that are gone."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        return [self._named_path("", self.changelist_view, "changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the processes, and the pages that are open in them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = live_page.live_page(
            current_manager(),
            request.GET,
            self._persons(request),
            limit=self.list_per_page,
            max_gone=self.shown_gone,
            url_of=self._snapshot_url_for(request),
        )
        context["journal_url"] = self._list_url_for(request, "journalentry")
        return self._render(request, "change_list", context | (extra_context or {}))
