"""Live pages that survive: state recovery for Django Channels."""

from recovery_app.conf import get_manager
from recovery_app.manager import RecoveryManager

__all__ = ["RecoveryManager", "get_manager"]
__version__ = "0.1.0"
