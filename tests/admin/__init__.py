"""The page "Snapshots" of Django's admin."""
