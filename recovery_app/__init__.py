"""Live pages that survive: state recovery for Django Channels."""

from recovery_app import groups
from recovery_app._core.manager import RecoveryManager
from recovery_app._pages import astart_state, start_state
from recovery_app.conf import get_manager

__all__ = ["RecoveryManager", "astart_state", "get_manager", "groups", "start_state"]
__version__ = "0.1.0"
