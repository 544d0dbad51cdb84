"""The files that Grafana reads are what its format allows, and what we generate."""

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
from tests.monitoring.alerts.conftest import BY_NAME, GROUPS, ROOT, RULES

from marquee.errors import SettingsError
from marquee.monitoring.alerts.provisioning import read_notifications, read_rules
from marquee.monitoring.alerts.summary import filled

SLACK = ROOT / "infra/grafana/provisioning/alerting/slack.yaml"
DOCUMENT = yaml.safe_load(RULES.read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]


def test_the_rules_are_what_the_generator_gives() -> None:
    """`make dashboards` writes them."""
    assert RULES.read_text() == alert_rules.text(generate.RUNBOOKS)


def test_uids_titles_and_groups_are_of_their_own() -> None:
    """Grafana refuses two rules of one title in a folder, and two of one uid anywhere."""
    rules = [rule for group in GROUPS for rule in group.rules]
    assert len({rule.uid for rule in rules}) == len({rule.title for rule in rules}) == len(rules) == 11
    assert {group.folder for group in GROUPS} == {"Marquee"}
    # The folder of the dashboards, so that Terraform's is the same.
    assert 'title = "Marquee"' in (ROOT / "infra/terraform/grafana.tf").read_text()


def test_every_rule_says_how_bad_it_is_and_whose() -> None:
    """By the label that the notification policy of Terraform matches."""
    assert {rule.labels["severity"] for rule in BY_NAME.values()} == {"critical", "warning"}
    assert {rule.labels["app"] for rule in BY_NAME.values()} == {"marquee"}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_wait_is_a_whole_number_of_intervals(name: str) -> None:
    """Or Grafana would wait longer than it says."""
    (group,) = [group for group in GROUPS if BY_NAME[name] in group.rules]
    minutes = {"m": 1, "h": 60}
    waits = int(BY_NAME[name].for_[:-1]) * minutes[BY_NAME[name].for_[-1]]
    assert waits % int(group.interval[:-1]) == 0


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_panel_of_an_alert_is_there_and_leads_to_the_same_page(name: str) -> None:
    """The link in Slack opens the panel that shows it, and that panel's runbook is the alert's."""
    notes = BY_NAME[name].annotations
    board = json.loads(
        (ROOT / f"dashboards/{notes['__dashboardUid__'].removeprefix('marquee-')}.json").read_text()
    )
    assert board["uid"] == notes["__dashboardUid__"]
    (panel,) = [panel for panel in board["panels"] if panel["id"] == int(notes["__panelId__"])]
    pages = [link["url"] for link in panel.get("links", ())]
    assert pages in ([notes["runbook_url"]], [])


def test_panels_lead_to_pages_that_exist() -> None:
    """Every runbook that a dashboard names."""
    text = "".join(path.read_text() for path in (ROOT / "dashboards").glob("*.json"))
    named = set(re.findall(r"/docs/runbooks/([\w-]+)\.md", text))
    assert named
    assert named <= {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_nothing_is_taken_for_a_variable(name: str) -> None:
    """Grafana expands $words of annotations, labels and titles from its environment; in queries it does not."""
    rule = BY_NAME[name]
    assert "$" not in "".join([rule.title, *rule.annotations.values(), *rule.labels.values()])


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_queries_can_be_read_as_of_any_moment(name: str) -> None:
    """By the macros alone; and none is without a time, so that no table is read whole."""
    sql = BY_NAME[name].sql.raw_sql
    assert not re.search(r"\bnow\(|current_timestamp|clock_timestamp", sql)
    assert "$__time" in sql


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_summaries_show_the_value(name: str) -> None:
    labels = {"version": "v1", "arm": "canary", "check": "movie_psi", "task": "quality", "measure": "RMSE"}
    said = filled(BY_NAME[name].annotations["summary"], labels, 7.0)
    assert re.search(r"\b7|700", said)
    assert "{{" not in said
    assert "[no value]" not in said
    assert "[no value]" in filled(BY_NAME[name].annotations["summary"], {}, None)


def test_a_template_that_is_not_known_here_is_refused() -> None:
    """Rather than shown as it is."""
    for template in ("{{ $values.B }}", "{{ humanize .Values.B.Value }}", "{{ .Values.A }}"):
        with pytest.raises(SettingsError, match="none of"):
            filled(template, {}, 1.0)


def spoilt(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> Path:
    document = copy.deepcopy(DOCUMENT)
    change(document["groups"][0]["rules"][0])
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
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
        (lambda rule: rule["data"][1]["model"].update(reducer="median"), "reducer"),
        (lambda rule: rule["data"][1]["model"].update(expression="C"), "do not follow"),
        (
            lambda rule: rule["data"][2]["model"]["conditions"][0]["evaluator"].update(params=[1, 2]),
            "takes 1",
        ),
        (lambda rule: rule["data"][2].update(refId="D"), "otherwise without"),
        (lambda rule: rule.update(condition="B"), "do not follow"),
        (lambda rule: rule["labels"].update({"not a name": "x"}), "labels"),
    ],
)
def test_what_grafana_would_not_take_is_refused(
    change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path
) -> None:
    """Strictly: a field that is misspelt would be ignored there, and the rule be another one."""
    with pytest.raises(SettingsError, match=said):
        read_rules(spoilt(change, tmp_path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"alerts\.yaml cannot be read"):
        read_rules(tmp_path / "alerts.yaml")


def test_compose_gives_grafana_both_files_and_the_webhook() -> None:
    """A webhook that is not set must not keep Grafana from starting: it refuses an empty address."""
    mounted = [volume.split(":")[:2] for volume in COMPOSE["volumes"]]
    where = "/etc/grafana/provisioning/alerting"
    assert ["./dashboards/alerts.yaml", f"{where}/alerts.yaml"] in mounted
    assert ["./infra/grafana/provisioning/alerting", where] not in mounted, "one mount would hide the other"
    assert ["./infra/grafana/provisioning/alerting/slack.yaml", f"{where}/slack.yaml"] in mounted
    webhook = COMPOSE["environment"]["MARQUEE_SLACK_WEBHOOK"]
    assert re.fullmatch(r"\$\{MARQUEE_SLACK_WEBHOOK:-http://127\.0\.0\.1:\d+/[\w-]+\}", webhook)
    (point,) = read_notifications(SLACK).contact_points
    assert point.receivers[0].settings.url == "${MARQUEE_SLACK_WEBHOOK}"


def test_terraform_has_the_same_way_to_slack() -> None:
    """The same template and the same times, read from the same file."""
    text = (ROOT / "infra/terraform/grafana.tf").read_text()
    assert 'file("${path.module}/../grafana/provisioning/alerting/slack.yaml")' in text
    for name in ("group_interval", "repeat_interval", "group_wait"):
        assert re.search(rf"{name}\s*= local\.policy\.{name}", text), name
    assert "grafana_message_template" in text
