"""When Slack is told, of what, and how the message gets there."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.monitoring.alerts.notices import NOTIFICATIONS, NOW, PANEL, POLICY, RULE, alerting, at, sent
from tests.servers.webhook import Webhook

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.monitoring.alerts.alert import of_rule
from marquee.monitoring.alerts.state_machine import AlertInstance, AlertState
from marquee.monitoring.alerts.webhook import MOST_SHOWN, SlackSender, message


def test_nothing_is_told_of_what_is_normal_or_pending() -> None:
    pending = list(of_rule(RULE, AlertState((AlertInstance({}, "pending", NOW),))))
    assert at(0, [], None) is None
    assert at(0, pending, None) is None
    assert at(0, list(of_rule(RULE, AlertState())), None) is None


def test_the_first_alert_is_told_at_once() -> None:
    notice = at(0, alerting("movie_psi"), None)
    assert notice is not None
    assert [alert.labels["check"] for alert in notice.firing] == ["movie_psi"]


def test_it_is_not_repeated_before_its_time() -> None:
    """Four hours, by the policy; not a minute before."""
    assert POLICY.repeat_interval == "4h"
    for minutes, told in ((1, False), (239.9, False), (240, True)):
        assert (at(minutes, alerting("a"), sent("a")) is not None) == told


def test_a_further_instance_waits_for_the_groups_interval() -> None:
    """Then one message has both."""
    assert at(4.9, alerting("a", "b"), sent("a")) is None
    notice = at(5, alerting("a", "b"), sent("a"))
    assert notice is not None
    assert len(notice.firing) == 2


def test_what_is_over_is_told_once() -> None:
    notice = at(6, [], sent("a"))
    assert notice is not None
    assert not notice.firing
    assert [alert.labels["check"] for alert in notice.resolved] == ["a"]


def test_one_of_two_that_is_over_is_told_beside_the_other() -> None:
    notice = at(6, alerting("b"), sent("a", "b"))
    assert notice is not None
    assert [alert.labels["check"] for alert in notice.firing] == ["b"]
    assert [alert.labels["check"] for alert in notice.resolved] == ["a"]


def test_the_message_says_all_that_is_needed() -> None:
    """What, how bad, since when, what to do, where to look."""
    notice = at(0, alerting("movie_psi"), None)
    assert notice is not None
    assert message(notice, "https://example.grafana.net/") == {
        "text": "[WARNING] Drift",
        "attachments": [
            {
                "color": "#E8A33D",
                "title": "[WARNING] Drift",
                "fallback": "[WARNING] Drift",
                "text": "*Firing* since 2026-03-02 12:00 UTC: movie_psi is 0.31: what comes in is no longer what "
                "the model was trained on.\n"
                f"<{RULE.annotations['runbook_url']}|Runbook> | "
                f"<https://example.grafana.net/d/marquee-data-quality?viewPanel={PANEL}#p{PANEL}|Panel>",
                "mrkdwn_in": ["text"],
            }
        ],
    }


def test_a_resolved_message_is_green_and_says_so() -> None:
    notice = at(6, [], sent("a"))
    assert notice is not None
    shown = message(notice, "")
    assert shown["text"] == "[RESOLVED] Drift"
    assert shown["attachments"][0]["color"] == "#2E8B57"
    assert "Panel" not in shown["attachments"][0]["text"]


def test_text_of_strangers_cannot_write_markup() -> None:
    """A label is whatever a table holds."""
    notice = at(0, alerting("<!channel> & co"), None)
    assert notice is not None
    text = message(notice, "")["attachments"][0]["text"]
    assert "&lt;!channel&gt; &amp; co" in text


def test_many_alerts_are_one_short_message() -> None:
    notice = at(0, alerting(*(str(number) for number in range(25))), None)
    assert notice is not None
    shown = message(notice, "")
    assert shown["text"] == "[WARNING] Drift (25)"
    assert shown["attachments"][0]["text"].count("*Firing*") == MOST_SHOWN
    assert "and 15 more" in shown["attachments"][0]["text"]


def test_grafanas_template_says_the_same() -> None:
    """The words of the message, and nothing that Grafana would take for a variable."""
    (template,) = NOTIFICATIONS.templates
    assert "$" not in template.template
    for words in (
        "*Firing* since",
        "*Resolved*, fired since",
        "[RESOLVED]",
        "|Runbook>",
        "|Panel>",
        " UTC: ",
    ):
        assert words in template.template
    (point,) = NOTIFICATIONS.contact_points
    settings = point.receivers[0].settings
    for name, used in (("marquee.title", settings.title), ("marquee.text", settings.text)):
        assert f'define "{name}"' in template.template
        assert used == f'{{{{ template "{name}" . }}}}'
    begun = re.findall(r"\{\{-? *(?:if|range|define) ", template.template)
    assert len(begun) == len(re.findall(r"\{\{-? *end ", template.template))
    assert POLICY.receiver == point.name


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with closing(Webhook()) as webhook:
        yield webhook


@pytest.fixture
def sender(webhook: Webhook) -> Iterator[SlackSender]:
    with closing(SlackSender(webhook.url, "https://example.grafana.net", first_pause_s=0.01)) as sender:
        yield sender


def deliver(sender: SlackSender) -> bool:
    """Whether a notice arrived."""
    notice, arrived, done = at(0, alerting("a"), None), list[bool](), threading.Event()
    assert notice is not None
    sender.tell(notice, lambda ok: (arrived.append(ok), done.set())[0])
    assert done.wait(60)
    return arrived == [True]


def test_it_is_posted_to_the_webhook_as_json(webhook: Webhook, sender: SlackSender) -> None:
    assert deliver(sender)
    notice = at(0, alerting("a"), None)
    assert notice is not None
    assert webhook.posted == [json.loads(json.dumps(message(notice, "https://example.grafana.net")))]
    assert webhook.paths == ["/services/T000/B000/secret?x=1"]


def test_429_and_5xx_are_tried_again(webhook: Webhook, sender: SlackSender) -> None:
    webhook.answers.extend([429, 503, 500])
    webhook.retry_after = "0"
    assert deliver(sender)
    assert len(webhook.posted) == 4


def test_a_refusal_is_final(webhook: Webhook, sender: SlackSender, caplog: pytest.LogCaptureFixture) -> None:
    """And told in the log, without the secret."""
    webhook.answers.extend([404])
    with caplog.at_level(logging.DEBUG):
        assert not deliver(sender)
    assert len(webhook.posted) == 1
    assert "404" in caplog.text
    assert "secret" not in caplog.text


def test_a_slack_that_is_away_costs_nobody_time(caplog: pytest.LogCaptureFixture) -> None:
    """Telling returns at once; closing does not wait for further tries."""
    sender = SlackSender("http://127.0.0.1:1/services/secret", "", first_pause_s=30)
    notice, arrived = at(0, alerting("a"), None), list[bool]()
    assert notice is not None
    sender.tell(notice, arrived.append)
    sender.close(30)
    assert arrived == [False]
    assert "secret" not in caplog.text


def test_the_webhook_is_a_secret_setting() -> None:
    url = "https://hooks.slack.com/services/T000/B000/hush"
    assert "hush" not in repr(Settings.from_mapping({"MARQUEE_SLACK_WEBHOOK": url}))
    with pytest.raises(SettingsError) as error:
        Settings.from_mapping({"MARQUEE_SLACK_WEBHOOK": "hush"})
    assert "hush" not in str(error.value)
