"""Alerts: what happened to an asset, told once to those who asked for it, however long a destination is away.

`report` keeps what a run's end means (`tell_late`: what the clock means) as incidents and alerts in the catalog, and
`deliver` sends the alerts that are due. Importing this loads neither Spark nor Great Expectations.
"""

from millrace.quality.alerts.delivery import Delivery, deliver, send_test
from millrace.quality.alerts.destinations import NotSent
from millrace.quality.alerts.happening import CheckFinding, Failure, Happening
from millrace.quality.alerts.late import lateness
from millrace.quality.alerts.message import Message
from millrace.quality.alerts.report import overdue, report, tell_late

__all__ = [
    "CheckFinding",
    "Delivery",
    "Failure",
    "Happening",
    "Message",
    "NotSent",
    "deliver",
    "lateness",
    "overdue",
    "report",
    "send_test",
    "tell_late",
]
