"""Slack: the message, and its way to a webhook, which never holds up who sends it."""

from __future__ import annotations

import json
import logging
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from marquee.monitoring.alerts.alert import Alert
from marquee.monitoring.alerts.grouping import Notice

log = logging.getLogger(__name__)

COLOURS = {"critical": "#D63232", "warning": "#E8A33D", "resolved": "#2E8B57"}
TRIES, FIRST_PAUSE_S, LONGEST_PAUSE_S, TIMEOUT_S = 6, 1.0, 60.0, 10.0
MOST_SHOWN = 10
"""Alerts in one message; further ones are counted."""


def message(notice: Notice, dashboards_url: str) -> dict[str, Any]:
    """The body for an incoming webhook: one attachment, coloured by how bad it is. ``dashboards_url`` may be empty."""
    title = heading(notice)
    colour = COLOURS.get(notice.severity, "#439FE0") if notice.firing else COLOURS["resolved"]
    text = "\n".join(_lines(notice, dashboards_url))
    return {
        "text": title,
        "attachments": [
            {"color": colour, "title": title, "fallback": title, "text": text, "mrkdwn_in": ["text"]}
        ],
    }


def heading(notice: Notice) -> str:
    """As the template in infra/grafana/provisioning/alerting has it."""
    if notice.firing:
        return f"[{notice.severity.upper()}] {notice.title}" + _times(len(notice.firing))
    return f"[RESOLVED] {notice.title}" + _times(len(notice.resolved))


def _times(count: int) -> str:
    return f" ({count})" if count > 1 else ""


def _lines(notice: Notice, dashboards_url: str) -> Iterator[str]:
    for alert in notice.firing[:MOST_SHOWN]:
        yield f"*Firing* since {_time(alert.since)}: {_escaped(alert.summary)}"
    for alert in notice.resolved[:MOST_SHOWN]:
        yield f"*Resolved*, fired since {_time(alert.since)}: {_escaped(alert.summary)}"
    shown = [*notice.firing[:MOST_SHOWN], *notice.resolved[:MOST_SHOWN]]
    if more := len(notice.firing) + len(notice.resolved) - len(shown):
        yield f"and {more} more"
    yield _links(shown[0], dashboards_url)


def _links(alert: Alert, dashboards_url: str) -> str:
    links = [f"<{alert.runbook}|Runbook>"]
    if dashboards_url:
        base = dashboards_url.rstrip("/")
        # Grafana goes by the query, the local page by the fragment.
        links.append(f"<{base}/d/{alert.dashboard}?viewPanel={alert.panel}#p{alert.panel}|Panel>")
    return " | ".join(links)


def _time(since: datetime | None) -> str:
    return "unknown" if since is None else f"{since:%Y-%m-%d %H:%M} UTC"


def _escaped(text: str) -> str:
    """https://api.slack.com/reference/surfaces/formatting#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class SlackSender:
    """Posts notices to an incoming webhook, one after the other, in a thread of its own.

    429 and 5xx are tried again with growing pauses, or as long as Slack asks for; other answers are final. The
    webhook's address is a secret and is never logged.
    """

    def __init__(self, webhook: str, dashboards_url: str, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._webhook = urlsplit(webhook)
        self._dashboards_url = dashboards_url
        self._first_pause_s = first_pause_s
        self._queue: queue.SimpleQueue[tuple[Notice, Callable[[bool], None]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slack", daemon=True)
        self._thread.start()

    def tell(self, notice: Notice, done: Callable[[bool], None]) -> None:
        """Queue a notice; returns at once. ``done`` is called in the sending thread: whether it arrived."""
        self._queue.put((notice, done))

    def close(self, timeout_s: float = 5.0) -> None:
        """Finish what is queued, without waiting to try again, within ``timeout_s``."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            notice, done = item
            try:
                body = json.dumps(message(notice, self._dashboards_url)).encode()
                done(self._deliver(body, notice.title))
            except Exception:  # Whatever it was: the next notice must not suffer for it.
                log.exception("The notice of %s could not be sent", notice.title)

    def _deliver(self, body: bytes, title: str) -> bool:
        pause_s = self._first_pause_s
        for attempt in range(1, TRIES + 1):
            status, asked_s, said = self._post(body)
            if 200 <= status < 300:
                return True
            if status not in (0, 429) and status < 500:
                log.error("Slack refuses the notice of %s: %d %s", title, status, said)
                return False
            log.warning("Slack did not take the notice of %s (try %d): %d %s", title, attempt, status, said)
            if attempt == TRIES or self._stopping.wait(min(asked_s or pause_s, LONGEST_PAUSE_S)):
                break
            pause_s *= 2
        return False

    def _post(self, body: bytes) -> tuple[int, float | None, str]:
        """Status (0: no answer), the seconds to wait that it asks for, and what it says."""
        parts = self._webhook
        connection = self._connection()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            said = response.read(300).decode(errors="replace")
            return response.status, _seconds(response.getheader("Retry-After")), said
        except (OSError, HTTPException) as error:
            return 0, None, type(error).__name__
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        host, port = self._webhook.hostname or "", self._webhook.port
        if self._webhook.scheme == "https":
            return HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=TIMEOUT_S)


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdigit() else None
