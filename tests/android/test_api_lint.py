"""Lint of the bytecode: it calls public members of Android only, and newer ones after a look at the API level."""

from __future__ import annotations

import pytest
from infra.android.api_lint import ApiCall, ApiFindings, disassemble, lint_calls, list_calls
from infra.android.package_build import MIN_SDK
from infra.android.public_api import PublicApi, find_level, read_public_api
from tests.android.conftest import Build

pytestmark = pytest.mark.timeout(600)  # The first test builds the package, or waits for its build.
NEWER = {
    "android.app.Activity.getOnBackInvokedDispatcher": 33,
    "android.app.ActivityManager.getHistoricalProcessExitReasons": 30,
    "android.app.ApplicationExitInfo.getImportance": 30,
    "android.app.ApplicationExitInfo.getReason": 30,
    "android.app.ApplicationExitInfo.getTimestamp": 30,
    "android.graphics.Insets.bottom": 29,
    "android.graphics.Insets.left": 29,
    "android.graphics.Insets.right": 29,
    "android.graphics.Insets.top": 29,
    "android.view.WindowInsets.CONSUMED": 30,
    "android.view.WindowInsets.Type.displayCutout": 30,
    "android.view.WindowInsets.Type.ime": 30,
    "android.view.WindowInsets.Type.systemBars": 30,
    "android.view.WindowInsets.getInsets": 30,
    "android.window.OnBackInvokedDispatcher.registerOnBackInvokedCallback": 33,
    "android.window.OnBackInvokedDispatcher.unregisterOnBackInvokedCallback": 33,
}
"""Members that are newer than the oldest Android that the package installs on."""


@pytest.fixture(scope="session")
def api(build: Build) -> PublicApi:
    return read_public_api(build.tools / "public_api.d.ts")


@pytest.fixture(scope="session")
def findings(build: Build, api: PublicApi) -> ApiFindings:
    return lint_calls(api, list_calls(disassemble(build.apk)), MIN_SDK)


def test_package_calls_public_members_only(findings: ApiFindings) -> None:
    """Each method and field exists in API 37, with the types that the bytecode names."""
    assert len({call.name for call in findings.calls}) > 100
    assert findings.unknown == ()


def test_package_guards_newer_members(findings: ApiFindings) -> None:
    """The method that calls a newer member has looked at the API level before."""
    assert findings.newer == NEWER
    assert findings.unguarded == ()


@pytest.mark.parametrize(
    ("owner", "member", "descriptor", "level"),
    [
        ("android.webkit.WebView", "loadUrl", "(Ljava/lang/String;)V", 1),
        ("android.webkit.WebView", "loadUrl", "(I)V", None),
        ("android.webkit.WebView", "loadUri", "(Ljava/lang/String;)V", None),
        ("android.webkit.WebView", "setPadding", "(IIII)V", 1),
        ("android.webkit.Webview", "loadUrl", "(Ljava/lang/String;)V", None),
        ("android.view.WindowInsets", "CONSUMED", "Landroid/view/WindowInsets;", 30),
        ("android.window.OnBackInvokedCallback", "onBackInvoked", "()V", 33),
        ("java.net.URI", "getHost", "()Ljava/lang/String;", 1),
    ],
)
def test_public_api_knows_members_by_level(
    api: PublicApi, owner: str, member: str, descriptor: str, level: int | None
) -> None:
    """Inherited members count; a wrong class, name or type does not."""
    assert find_level(api, owner, member, descriptor) == level


def test_lint_reports_an_unguarded_call(api: PublicApi) -> None:
    """A look at the API level after the call, or in another method, is none."""
    call = "invoke-static {}, Landroid/view/WindowInsets$Type;.ime:()I // method@0001"
    check = "sget v0, Landroid/os/Build$VERSION;.SDK_INT:I // field@0004"
    lines = ["|[001e4c] a.A.first:()V", f"|0000: {check}", f"|0002: {call}"]
    lines += ["|[001e5c] a.A.second:()V", f"|0000: {call}", f"|0002: {check}"]
    calls = list_calls("\n".join(lines))
    assert [call.guarded for call in calls if call.member == "ime"] == [True, False]
    assert lint_calls(api, calls, 26).unguarded == ("android.view.WindowInsets.Type.ime in a.A.second:()V",)
    assert lint_calls(api, calls, 30).newer == {}


def test_lint_reports_a_member_that_is_not_public(api: PublicApi) -> None:
    """A hidden method is named with its types."""
    hidden = ApiCall("a.A.b:()V", "android.app.Activity", "setDisablePreviewScreenshots", "(Z)V", False)
    assert lint_calls(api, [hidden], 26).unknown == ("android.app.Activity.setDisablePreviewScreenshots(Z)V",)
