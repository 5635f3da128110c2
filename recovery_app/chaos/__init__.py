"""Cut, kill and stall an application of yours, and see that no event is lost or applied twice.

``python -m recovery_app.chaos --help`` runs it; ``docs/chaos.md`` explains. Each part is of use
by itself: `Proxy` breaks connections, `Process` is a server to kill, `Plan` says from a seed
what happens when, and `Storm` lets it happen.
"""

from recovery_app.chaos.plan import Kind, Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.storm import Storm

__all__ = ["Kind", "Plan", "Process", "Proxy", "Storm"]
