"""Files that Grafana provisions alerts from: generated content, accepted format, and use by Compose and Terraform."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboards import alert_rules, generate
from tests.monitoring.alerts.conftest import GROUPS, ROOT, RULES, RULES_FILE

from marquee.errors import SettingsError
from marquee.grafana.durations import parse_duration
from marquee.monitoring.alerts.rules_file import read_rules

NOTIFICATIONS = yaml.safe_load((ROOT / "infra/grafana/provisioning/alerting/slack.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
TERRAFORM = (ROOT / "infra/terraform/grafana.tf").read_text()
Change = Callable[[dict[str, Any]], object]


def test_rules_file_is_up_to_date() -> None:
    """`make dashboards` writes the committed file."""
    assert RULES_FILE.read_text() == alert_rules.format_rules(generate.RUNBOOKS)


def test_rules_uids_and_titles_are_unique() -> None:
    """Grafana refuses two rules of one title in a folder, and two of one uid anywhere."""
    rules = [rule for group in GROUPS for rule in group.rules]
    assert len({rule.uid for rule in rules}) == len({rule.title for rule in rules}) == len(rules) == 15
    assert {group.folder for group in GROUPS} == {"Marquee"}
    # The folder of the dashboards, so that Terraform creates the same one.
    assert 'title = "Marquee"' in TERRAFORM


def test_rules_have_labels_for_the_notification_policy() -> None:
    """The notification policy of Terraform matches the label ``app``."""
    assert {rule.labels["severity"] for rule in RULES.values()} == {"critical", "warning"}
    assert {rule.labels["app"] for rule in RULES.values()} == {"marquee"}


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_pending_period_is_multiple_of_interval(name: str) -> None:
    """Grafana rounds the pending period up to whole evaluation intervals."""
    (group,) = [group for group in GROUPS if RULES[name] in group.rules]
    assert not RULES[name].pending_period % parse_duration(group.interval)


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_panel_exists_and_links_to_the_same_runbook(name: str) -> None:
    """The link in a message opens the panel that shows the value, and that panel's runbook is the alert's."""
    notes = RULES[name].annotations
    board = json.loads((ROOT / f"dashboards/{notes.dashboard_uid.removeprefix('marquee-')}.json").read_text())
    assert board["uid"] == notes.dashboard_uid
    (panel,) = [panel for panel in board["panels"] if panel["id"] == int(notes.panel_id)]
    runbooks = [link["url"] for link in panel.get("links", ())]
    assert runbooks in ([notes.runbook_url], [])


def test_dashboards_link_to_existing_runbooks() -> None:
    """Every runbook that a dashboard names is a page."""
    text = "".join(path.read_text() for path in (ROOT / "dashboards").glob("*.json"))
    named = set(re.findall(r"/docs/runbooks/([\w-]+)\.md", text))
    assert named
    assert named <= {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")}


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_texts_have_no_variables_or_templates(name: str) -> None:
    """Grafana expands $words from its environment; the local evaluation knows no templates."""
    rule = RULES[name]
    notes = rule.annotations
    texts = [rule.title, notes.summary, notes.unit, notes.runbook_url, *rule.labels.values()]
    assert not re.search(r"\$|\{\{", "".join(texts))
    assert notes.summary.endswith(".")


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_query_can_be_evaluated_as_of_any_time(name: str) -> None:
    """The query takes its time from macros only, and has one, so that no table is read as a whole."""
    sql = RULES[name].data[0].model.raw_sql
    assert not re.search(r"\bnow\(|current_timestamp|clock_timestamp", sql)
    assert "$__time" in sql


def write_changed_rules(change: Change, tmp_path: Path) -> Path:
    """Write the rules file with a change to its first rule."""
    document = copy.deepcopy(yaml.safe_load(RULES_FILE.read_text()))
    change(document["groups"][0]["rules"][0])
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda rule: rule.update(nodataState="OK"), "nodataState"),
        (lambda rule: rule.update(noDataState="Ok"), "noDataState"),
        (lambda rule: rule.update(execErrState="NoData"), "execErrState"),
        (lambda rule: rule.update({"for": "5 minutes"}), "for"),
        (lambda rule: rule.pop("uid"), "uid"),
        (lambda rule: rule.update(uid="x" * 41), "uid"),
        (lambda rule: rule["data"][0].update(datasourceUid="other"), "datasourceUid"),
        (lambda rule: rule["data"][0]["relativeTimeRange"].update(to=-1), "relativeTimeRange"),
        (lambda rule: rule["data"][0]["model"].pop("rawSql"), "rawSql"),
        (lambda rule: rule["data"][2]["model"]["conditions"][0]["evaluator"].update(params=[1, 2]), "params"),
        (lambda rule: rule["data"][2]["model"]["conditions"][0]["evaluator"].update(type="lt"), "'lt'"),
        (lambda rule: rule["data"][2]["model"].update(expression="A"), "expression"),
        (lambda rule: rule["data"][2].update(refId="D"), "refId"),
        (lambda rule: rule.update(condition="B"), "condition"),
        (lambda rule: rule["labels"].update({"not a name": "x"}), "labels"),
    ],
)
def test_read_rules_unexpected_field_is_refused(change: Change, field: str, tmp_path: Path) -> None:
    """The error names the field. Grafana ignores a misspelled one, and the rule then means something else."""
    with pytest.raises(SettingsError, match=field):
        read_rules(write_changed_rules(change, tmp_path))


def test_read_rules_missing_file_is_named(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(SettingsError, match=r"alerts\.yaml cannot be read"):
        read_rules(tmp_path / "alerts.yaml")


def test_slack_template_is_complete() -> None:
    """The template has no variables, closes its blocks, shows summary, value and links, and is the one in use."""
    (template,) = [each["template"] for each in NOTIFICATIONS["templates"]]
    assert "$" not in template
    for words in (
        "[RESOLVED]",
        ".Annotations.summary",
        ".Values.B",
        ".Annotations.unit",
        "|Runbook>",
        "|Panel>",
    ):
        assert words in template
    opened = re.findall(r"\{\{-? *(?:if|range|define) ", template)
    assert len(opened) == len(re.findall(r"\{\{-? *end ", template))
    (contact_point,) = NOTIFICATIONS["contactPoints"]
    settings = contact_point["receivers"][0]["settings"]
    for name, reference in (("marquee.title", settings["title"]), ("marquee.text", settings["text"])):
        assert f'define "{name}"' in template
        assert reference == f'{{{{ template "{name}" . }}}}'
    for name in re.findall(r'\{\{ template "([\w.]+)"', template):
        assert f'define "{name}"' in template
    (policy,) = NOTIFICATIONS["policies"]
    assert policy["receiver"] == contact_point["name"]


def test_compose_mounts_both_files_and_passes_the_webhook() -> None:
    """An unset webhook gets a placeholder, because Grafana does not start with an empty address."""
    mounted = [volume.split(":")[:2] for volume in COMPOSE["volumes"]]
    target = "/etc/grafana/provisioning/alerting"
    assert ["./dashboards/alerts.yaml", f"{target}/alerts.yaml"] in mounted
    assert ["./infra/grafana/provisioning/alerting", target] not in mounted, "one mount would hide the other"
    assert ["./infra/grafana/provisioning/alerting/slack.yaml", f"{target}/slack.yaml"] in mounted
    webhook = COMPOSE["environment"]["MARQUEE_SLACK_WEBHOOK"]
    assert re.fullmatch(r"\$\{MARQUEE_SLACK_WEBHOOK:-http://127\.0\.0\.1:\d+/[\w-]+\}", webhook)
    (contact_point,) = NOTIFICATIONS["contactPoints"]
    assert contact_point["receivers"][0]["settings"]["url"] == "${MARQUEE_SLACK_WEBHOOK}"


def test_terraform_reads_the_notifications_file() -> None:
    """Template and intervals come from the same file."""
    assert 'file("${path.module}/../grafana/provisioning/alerting/slack.yaml")' in TERRAFORM
    for name in ("group_interval", "repeat_interval", "group_wait"):
        assert re.search(rf"{name}\s*= local\.policy\.{name}", TERRAFORM), name
    assert "grafana_message_template" in TERRAFORM
