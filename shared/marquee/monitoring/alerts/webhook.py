"""Delivery of alerts to a Slack-compatible incoming webhook."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import msgspec

from marquee.config.http_client import HttpClient, retry_after_s
from marquee.errors import RequestFailed
from marquee.monitoring.alerts.evaluate import Alert

log = logging.getLogger(__name__)

COLORS = {"critical": "#D63232", "warning": "#E8A33D", "resolved": "#2E8B57"}
TIMEOUT_S, MAX_PAUSE_S = 10.0, 60.0


class AlertWebhook:
    """Client of an incoming webhook. The URL is a secret and is never logged."""

    def __init__(self, url: str, dashboards_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._dashboards_url = dashboards_url
        self._clock = clock
        self._paused_until = 0.0

    def post(self, alerts: Sequence[Alert], *, resolved: bool) -> bool:
        """Post one message about the alerts of one rule.

        Returns False if it should be tried again: no response, status 429 or 5xx, or still within the pause that a
        ``Retry-After`` asked for. Any other status is final; a refusal is logged.
        """
        if self._clock() < self._paused_until:
            return False
        body = msgspec.json.encode(format_message(alerts, self._dashboards_url, resolved=resolved))
        title = alerts[0].title
        try:
            with closing(HttpClient(self._url, timeout_s=TIMEOUT_S)) as client:
                response = client.request("POST", body=body, headers={"Content-Type": "application/json"})
        except RequestFailed as error:
            log.warning("The webhook did not answer for %s: %s", title, error)
            return False
        if response.status == 429 or response.status >= 500:
            self._paused_until = self._clock() + min(retry_after_s(response), MAX_PAUSE_S)
            log.warning("The webhook answered %d for %s; it is tried again", response.status, title)
            return False
        if response.status >= 300:
            log.error("The webhook refused %s: %d %r", title, response.status, response.body[:300])
        return True


def format_message(alerts: Sequence[Alert], dashboards_url: str, *, resolved: bool) -> dict[str, Any]:
    """Return the JSON body for alerts of one rule. Without ``dashboards_url`` there is no link to the panel."""
    first = alerts[0]
    title = f"[{'RESOLVED' if resolved else first.severity.upper()}] {first.title}"
    title += f" ({len(alerts)})" if len(alerts) > 1 else ""
    links = [f"<{first.runbook}|Runbook>"]
    if dashboards_url:
        board = f"{dashboards_url.rstrip('/')}/d/{first.dashboard}"
        # Grafana reads the query, the local page the fragment.
        links.append(f"<{board}?viewPanel={first.panel}#p{first.panel}|Panel>")
    attachment = {
        "color": COLORS["resolved" if resolved else first.severity],
        "title": title,
        "fallback": title,
        "text": "\n".join([*(_format_alert(alert, resolved) for alert in alerts), " | ".join(links)]),
        "mrkdwn_in": ["text"],
    }
    return {"text": title, "attachments": [attachment]}


def _format_alert(alert: Alert, resolved: bool) -> str:
    state = "*Resolved*, fired" if resolved else "*Firing*"
    labels = "".join(f", {name} {value}" for name, value in alert.labels.items())
    value = "" if alert.value is None else f" Value: {alert.value:.4g} {alert.unit}".rstrip()
    text = f"{state} since {alert.since:%Y-%m-%d %H:%M} UTC{labels}: {alert.summary}{value}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
