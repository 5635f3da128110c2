"""The admin of snapshots, live pages, the journal and durable groups, for any storage.

- `options`: URLs, permissions and views;
- `pages`: the template context of each page;
- `actions`: revoking snapshots and removing expired ones;
- `listing`: the parameters of a request, and the rows, links and filters of the list;
- `detail`: the facts about one snapshot; `state_tree`: its state, with hidden values left out;
- `summary`: totals, sizes and ages; `charts`: the same as bar charts;
- `outcomes`: the outcomes of recoveries in this process;
- `journal`: the URLs, permissions and views of the journal; `journal_page`: its template context,
  and its export; `journal_list`: its parameters, rows and filters; `journal_words`: its words;
- `groups`: the URLs, permissions and views of durable groups; `group_pages`: their context;
- `live`: the URLs, permissions and views of live pages; `live_page`: their template context;
  `live_rows`: their parameters, rows and filters;
- `timeline`: an hour as a bar chart;
- `presence`: whether a snapshot's page is open, and where;
- `base`: what both pages share; `persons`: whose something is;
- `error_messages`: storage errors as messages; `formatting`: numbers and durations as text.

Django imports it only if ``django.contrib.admin`` is installed.
"""

from django.contrib import admin

from recovery_app.admin.groups import GroupAdmin
from recovery_app.admin.journal import JournalAdmin
from recovery_app.admin.live import LiveAdmin
from recovery_app.admin.options import SnapshotAdmin
from recovery_app.admin.outcomes import OUTCOMES
from recovery_app.models import JournalEntry, Snapshot, StoredGroup, StoredReport
from recovery_app.signals import observers

__all__ = ["GroupAdmin", "JournalAdmin", "LiveAdmin", "SnapshotAdmin"]

admin.site.register(Snapshot, SnapshotAdmin)
admin.site.register(StoredGroup, GroupAdmin)
admin.site.register(JournalEntry, JournalAdmin)
admin.site.register(StoredReport, LiveAdmin)
observers.add(OUTCOMES)
