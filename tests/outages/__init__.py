"""Outages of real servers, tried out: what pages, probes, log, journal and alerts make of each.

`scenarios` has them, `record` records the series of all of them for the tests of the alerts, and
`tests/test_outage_trial.py` has some of them in each run.
"""
