"""A test kit that breaks connections and kills servers, and checks that no event suffers.

Run it with ``python -m recovery_app.chaos --help``; ``docs/chaos.md`` explains it. The parts can
be used separately: a `Proxy` breaks connections, a `Process` is a server that can be killed, a
`Plan` draws faults from a seed, and a `Storm` makes them happen.
"""

from recovery_app.chaos.plan import Kind, Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.storm import Storm

__all__ = ["Kind", "Plan", "Process", "Proxy", "Storm"]
