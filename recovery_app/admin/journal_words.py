"""The words of the journal, as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app.admin.outcomes import TITLES

KINDS: Mapping[str, Promise] = {
    "recovery": _("State not recovered"),
    "event": _("Event failed"),
    "unsaved": _("State not saved"),
    "fork": _("Fork"),
    "revocation": _("Revocation"),
    "journal": _("Entries left out"),
}
_LOST = {outcome.value: title for outcome, title in TITLES.items()}
_FORKS = {reason: _LOST[reason] for reason in ("superseded", "copied")}
_STORING: Mapping[str, Promise] = {
    "crashed": _("A handler raised an error"),
    "too_large": _("State too large"),
    "unserializable": _("State can’t be serialized"),
}
REASONS_OF: Mapping[str, Mapping[str, Promise]] = {
    "recovery": {
        **{reason: _LOST[reason] for reason in _LOST if reason not in ("recovered", "copied")},
        "join_crashed": _("The join raised an error"),
    },
    "event": _STORING,
    "unsaved": {"unavailable": _LOST["unavailable"], **_STORING},
    "fork": _FORKS,
    "revocation": {
        "user_revoked": _("All pages of a user revoked"),
        "socket_revoked": _("A snapshot revoked"),
        "page_closed": _("An open page closed"),
    },
    "journal": {"left_out": _("Too many for the journal")},
}
REASONS: Mapping[str, Promise] = {
    reason: title for titles in REASONS_OF.values() for reason, title in titles.items()
}
PARTS: Mapping[str, Promise] = {
    "token": _("no token, or an altered one"),
    "secret": _("signed with another secret"),
    "person": _("another person"),
    "person or secret": _("another person or secret"),
    "address": _("another address"),
    "view": _("another view"),
    "revoked": _("revoked"),
    "unknown": _("reason unknown"),
}
