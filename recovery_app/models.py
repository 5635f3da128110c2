"""The tables of `recovery_app.storages.DatabaseStorage`."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class StoredSnapshot(models.Model):
    """One stored value of the database storage.

    The values that fenced steps compare or change are in columns, so that each step is one
    ``UPDATE``. If a column and the bytes in ``data`` differ, the column takes precedence. Times
    are in microseconds since 1970, as in the bytes.
    """

    key = models.CharField(_("socket hash"), max_length=255, primary_key=True)
    data = models.BinaryField(_("data"))
    expires_us = models.BigIntegerField(_("expires"), db_index=True)
    fence = models.BigIntegerField(_("fence"), default=0)
    floor = models.BigIntegerField(_("floor"), default=0)
    binding = models.CharField(_("digest of the binding"), max_length=32, default="")
    revoked = models.BooleanField(_("revoked"), default=False)
    version = models.BigIntegerField(_("state version"), default=0)
    created_us = models.BigIntegerField(_("created"), default=0)
    saved_us = models.BigIntegerField(_("saved"), default=0)
    socket_id = models.CharField(_("socket id"), max_length=255, default="", db_index=True)
    view = models.CharField(_("view"), max_length=255, default="")
    topic = models.CharField(_("topic"), max_length=255, default="")
    person = models.CharField(
        _("digest of the person"), max_length=32, default="", db_index=True, db_default=""
    )
    size_bytes = models.BigIntegerField(_("size"), default=0)

    class Meta:
        verbose_name = _("stored snapshot")
        verbose_name_plural = _("stored snapshots")
        # The permissions belong to `Snapshot`, which stands for snapshots in any storage.
        default_permissions = ()

    def __str__(self) -> str:
        return self.socket_id or self.key


class Snapshot(StoredSnapshot):
    """A snapshot in any storage, for permissions and the admin's log.

    It has no table, and is never loaded or saved as a model.
    """

    class Meta:
        proxy = True
        verbose_name = _("snapshot")
        verbose_name_plural = _("snapshots")
        default_permissions = ("view", "delete")
        permissions = [("view_snapshot_state", "Can view the hidden values of a snapshot's state")]


class StoredGroup(models.Model):
    """A durable group of the database storage, and the number of its newest message.

    ``used_us`` is the last time that a message was published, or that pages were found in it.
    """

    name = models.CharField(_("name"), max_length=255, primary_key=True)
    newest = models.BigIntegerField(_("newest message"))
    used_us = models.BigIntegerField(_("last used"), default=0, db_default=0)

    class Meta:
        verbose_name = _("durable group")
        verbose_name_plural = _("durable groups")
        # For the groups of any storage.
        default_permissions = ("view", "delete")
        permissions = [
            ("view_storedgroup_messages", "Can view the hidden values of a group's messages")
        ]

    def __str__(self) -> str:
        return self.name


class StoredMessage(models.Model):
    """A message to a durable group: a JSON object."""

    id = models.BigAutoField(_("id"), primary_key=True)
    group = models.CharField(_("group"), max_length=255)
    number = models.BigIntegerField(_("number"))
    data = models.BinaryField(_("data"))
    published_us = models.BigIntegerField(_("published"), db_index=True)

    class Meta:
        verbose_name = _("group message")
        verbose_name_plural = _("group messages")
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=("group", "number"), name="recovery_app_message_number")
        ]

    def __str__(self) -> str:
        return f"{self.group} {self.number}"


class JournalEntry(models.Model):
    """One incident in the journal of the database storage; see `recovery_app.values.Incident`.

    ``data`` is the whole incident as JSON; the other columns are for searches. The permissions
    apply to the journal in any storage.
    """

    uid = models.CharField(_("id"), max_length=16, primary_key=True)
    at_us = models.BigIntegerField(_("time"), db_index=True)
    kind = models.CharField(_("kind"), max_length=16)
    reason = models.CharField(_("reason"), max_length=64)
    person = models.CharField(_("digest of the person"), max_length=32, db_index=True)
    user_pk = models.CharField(_("primary key of the user"), max_length=255, db_index=True)
    view = models.CharField(_("view"), max_length=255)
    data = models.TextField(_("data"))

    class Meta:
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal")
        default_permissions = ("view",)
        permissions = [("export_journalentry", "Can export the journal")]

    def __str__(self) -> str:
        return self.uid


class StoredReport(models.Model):
    """The last report of a process on its pages, in the database storage.

    See `recovery_app.values.ProcessReport`. The permission is for the reports in any storage.
    """

    uid = models.CharField(_("id"), max_length=16, primary_key=True)
    data = models.BinaryField(_("data"))
    expires_us = models.BigIntegerField(_("expires"))

    class Meta:
        verbose_name = _("process report")
        verbose_name_plural = _("live pages")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.uid
