"""Own the page "Snapshots" of Django's admin, for whichever storage is configured.

- `options`: the addresses, who may open them, and what each does;
- `pages`: what each page shows; `actions`: what it changes; `trouble`: a storage that fails;
- `listing`: what a request asks for, and the rows that answer it;
- `detail`: one snapshot; `tree`: its state as rows, what is to be hidden left out;
- `summary`: how many, how large, how old; `charts`: that as pictures;
- `outcomes`: what came of recoveries in this process; `words`: numbers for people.

Django imports it where ``django.contrib.admin`` is installed; nothing else does.
"""

from django.contrib import admin

from recovery_app.admin.options import SnapshotAdmin
from recovery_app.admin.outcomes import OUTCOMES
from recovery_app.models import Snapshot
from recovery_app.signals import observers

__all__ = ["SnapshotAdmin"]

admin.site.register(Snapshot, SnapshotAdmin)
observers.add(OUTCOMES)
