"""Live pages that survive: state recovery for Django Channels."""

from recovery_app._core.manager import RecoveryManager
from recovery_app.conf import get_manager

__all__ = ["RecoveryManager", "get_manager"]
__version__ = "0.1.0"
