"""The model admin of the journal: its URLs, permissions and views."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from recovery_app.admin import journal_page
from recovery_app.admin.base import StoragePage
from recovery_app.admin.error_messages import collect_errors
from recovery_app.middleware import current_manager

EXPORT_PERMISSION = "recovery_app.export_journalentry"
_TYPES = {"csv": "text/csv", "json": "application/json"}


class JournalAdmin(StoragePage):
    """The journal of the current manager's storage, read-only."""

    list_per_page = 100
    export_limit = 10_000
    """How many entries an export has at most, the newest of those that are selected."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_export(self, request: HttpRequest) -> bool:
        """Return whether the user may download the journal."""
        return self.has_view_permission(request) and request.user.has_perm(EXPORT_PERMISSION)

    def get_urls(self) -> list[Any]:
        return [
            self._named_path("", self.changelist_view, "changelist"),
            self._named_path("export/", self.export_view, "export"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the journal."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = journal_page.journal_page(
            current_manager(),
            request.GET,
            self._persons(request),
            limit=self.list_per_page,
            url_of=self._snapshot_url_for(request),
        )
        context |= {
            "may_export": self.may_export(request),
            "export_url": self._reverse("export"),
            "live_url": self._list_url_for(request, "storedreport"),
        }
        return self._render(request, "change_list", context | (extra_context or {}))

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Return what is selected as a file."""
        if not self.may_export(request):
            raise PermissionDenied
        form = "json" if request.GET.get("format") == "json" else "csv"
        errors: list[str] = []
        with collect_errors(errors):
            text = journal_page.exported(
                current_manager(),
                request.GET,
                self._persons(request),
                form=form,
                limit=self.export_limit,
            )
        if errors:
            for error in errors:
                messages.error(request, error)
            return redirect(self._reverse("changelist"))
        response = HttpResponse(text, content_type=f"{_TYPES[form]}; charset=utf-8")
        name = f"journal-{timezone.localtime():%Y%m%d-%H%M%S}.{form}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
