"""Messages to a Slack-compatible webhook, and their delivery to a real HTTP receiver."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from tests.monitoring.alerts.conftest import RULES
from tests.servers.webhook import Webhook

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.monitoring.alerts.evaluate import Alert
from marquee.monitoring.alerts.webhook import AlertWebhook, format_message

RULE = RULES["drift"]
NOTES = RULE.annotations
DASHBOARDS = "https://example.grafana.net"


def firing_alert(check: str = "movie_psi", value: float | None = 0.31) -> Alert:
    """Return a firing alert of the rule for drift."""
    links = (NOTES.runbook_url, NOTES.dashboard_uid, int(NOTES.panel_id))
    since = datetime(2026, 3, 2, 12, tzinfo=UTC)
    labels = {"check": check}
    return Alert("uid", RULE.title, "warning", *links, "PSI", labels, value, "firing", since, NOTES.summary)


class FakeClock:
    """Clock whose time a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with closing(Webhook()) as receiver:
        yield receiver


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def webhook(receiver: Webhook, clock: FakeClock) -> AlertWebhook:
    return AlertWebhook(receiver.url, DASHBOARDS, clock)


def test_format_message_firing_has_summary_value_and_links() -> None:
    """The message says what, how severe, since when, what to do and where to look."""
    assert format_message([firing_alert()], DASHBOARDS + "/", resolved=False) == {
        "text": "[WARNING] Drift",
        "attachments": [
            {
                "color": "#E8A33D",
                "title": "[WARNING] Drift",
                "fallback": "[WARNING] Drift",
                "text": f"*Firing* since 2026-03-02 12:00 UTC, check movie_psi: {NOTES.summary} Value: 0.31 PSI\n"
                f"<{NOTES.runbook_url}|Runbook> | "
                f"<{DASHBOARDS}/d/marquee-data-quality?viewPanel={NOTES.panel_id}#p{NOTES.panel_id}|Panel>",
                "mrkdwn_in": ["text"],
            }
        ],
    }


def test_format_message_resolved_is_green() -> None:
    """Title, color and text say that the alert is over. Without a URL of dashboards there is no link to a panel."""
    message = format_message([firing_alert()], "", resolved=True)
    assert message["text"] == "[RESOLVED] Drift"
    (attachment,) = message["attachments"]
    assert attachment["color"] == "#2E8B57"
    assert attachment["text"].startswith("*Resolved*, fired since 2026-03-02 12:00 UTC")
    assert "Panel" not in attachment["text"]


def test_format_message_escapes_labels() -> None:
    """A label comes from a table and must not become Slack markup."""
    text = format_message([firing_alert("<!channel> & co")], "", resolved=False)["attachments"][0]["text"]
    assert "&lt;!channel&gt; &amp; co" in text


def test_format_message_several_alerts_are_one_message() -> None:
    """All alerts of a rule are listed, with one set of links. An alert without a value has no value."""
    message = format_message([firing_alert("a"), firing_alert("b", None)], "", resolved=False)
    assert message["text"] == "[WARNING] Drift (2)"
    text = message["attachments"][0]["text"]
    assert text.count("*Firing*") == 2
    assert text.count("Value: ") == text.count("|Runbook>") == 1


def test_post_delivers_json(receiver: Webhook, webhook: AlertWebhook) -> None:
    """Body and URL arrive as they are, the query string included."""
    assert webhook.post([firing_alert()], resolved=False)
    message = format_message([firing_alert()], DASHBOARDS, resolved=False)
    assert receiver.posted == [json.loads(json.dumps(message))]
    assert receiver.paths == ["/services/T000/B000/secret?x=1"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_post_temporary_failure_is_to_be_repeated(receiver: Webhook, webhook: AlertWebhook, status: int) -> None:
    """The caller is told to try again, and the next try is delivered."""
    receiver.statuses.append(status)
    assert not webhook.post([firing_alert()], resolved=False)
    assert webhook.post([firing_alert()], resolved=False)
    assert len(receiver.posted) == 2


def test_post_retry_after_pauses(receiver: Webhook, webhook: AlertWebhook, clock: FakeClock) -> None:
    """Nothing is sent before the time that the receiver asks for."""
    receiver.statuses.append(429)
    receiver.retry_after = "30"
    assert not webhook.post([firing_alert()], resolved=False)
    clock.now += 29
    assert not webhook.post([firing_alert()], resolved=False)
    assert len(receiver.posted) == 1
    clock.now += 1
    assert webhook.post([firing_alert()], resolved=False)
    assert len(receiver.posted) == 2


@pytest.mark.parametrize("pause", ["\u00b2", "1e3", "-5", "Mon, 30 Nov 2026 12:00:00 GMT"])
def test_post_retry_after_no_number_is_repeated_at_once(receiver: Webhook, webhook: AlertWebhook, pause: str) -> None:
    """A header that is no number of seconds is ignored, and never ends the watcher."""
    receiver.statuses.append(429)
    receiver.retry_after = pause
    assert not webhook.post([firing_alert()], resolved=False)
    assert webhook.post([firing_alert()], resolved=False)


def test_post_refusal_is_final(receiver: Webhook, webhook: AlertWebhook, caplog: pytest.LogCaptureFixture) -> None:
    """A status that a retry cannot change is logged, without the secret URL, and not repeated."""
    receiver.statuses.append(404)
    with caplog.at_level(logging.DEBUG):
        assert webhook.post([firing_alert()], resolved=False)
    assert len(receiver.posted) == 1
    assert "404" in caplog.text
    assert "secret" not in caplog.text


def test_post_no_connection_is_to_be_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that is down is logged, without the secret URL."""
    webhook = AlertWebhook("http://127.0.0.1:1/services/secret", "")
    assert not webhook.post([firing_alert()], resolved=False)
    assert "did not answer for Drift" in caplog.text
    assert "secret" not in caplog.text


def test_webhook_setting_is_not_shown() -> None:
    """The URL appears neither in the settings' repr nor in the error about it."""
    url = "https://hooks.slack.com/services/T000/B000/hush"
    assert "hush" not in repr(Settings.from_mapping({"MARQUEE_SLACK_WEBHOOK": url}))
    with pytest.raises(SettingsError) as error:
        Settings.from_mapping({"MARQUEE_SLACK_WEBHOOK": "hush"})
    assert "hush" not in str(error.value)
