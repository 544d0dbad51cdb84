"""The built Android package, read back: signature, manifest, permissions, size and bytes."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from infra.android.package_build import MIN_SDK, TARGET_SDK, build_packages
from infra.android.toolchain import ROOT, run_tool
from tests.android.conftest import Build

from marquee.app.app_site import ANDROID_PACKAGE

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
MAX_BYTES = 64_000


def read_badging(build: Build, apk: Path) -> str:
    return run_tool(build.tools / "aapt2", "dump", "badging", apk)


def read_xml(build: Build, apk: Path, file: str = "AndroidManifest.xml") -> str:
    return run_tool(build.tools / "aapt2", "dump", "xmltree", "--file", file, apk)


def read_strings(build: Build, apk: Path) -> dict[str, str]:
    """Return the package's text resources by name."""
    dump = run_tool(build.tools / "aapt2", "dump", "resources", apk)
    return dict(re.findall(r'resource 0x\w+ string/(\w+)\n\s+\(\) "(.*)"', dump))


def test_package_is_signed_for_every_phone(build: Build) -> None:
    """Signature schemes 2 and 3 hold, and no other one is in the package."""
    for variant in build.variants.values():
        output = run_tool("apksigner", "verify", "--verbose", "--print-certs", variant.apk)
        schemes = dict(re.findall(r"using (v\S+) scheme .*: (true|false)", output))
        assert schemes == {"v1": "false", "v2": "true", "v3": "true", "v4": "false"}
        assert "key algorithm: EC" in output


def test_package_is_aligned(build: Build) -> None:
    """Android can map the resources into memory."""
    for variant in build.variants.values():
        run_tool("zipalign", "-c", "-p", "4", variant.apk)


def test_package_is_small(build: Build) -> None:
    """A package has at most 64 kB, with what it needs only."""
    with zipfile.ZipFile(build.apk) as archive:
        names = set(archive.namelist())
    assert {"AndroidManifest.xml", "classes.dex", "resources.arsc"} < names
    assert not [name for name in names if not name.startswith("res/") and "/" in name]
    assert build.apk.stat().st_size <= MAX_BYTES


def test_package_names_version_and_levels(build: Build) -> None:
    """The version is that of the project; the package installs from Android 8 on and targets Android 16."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for variant in build.variants.values():
        badging = read_badging(build, variant.apk)
        assert f"package: name='{ANDROID_PACKAGE}' " in badging
        assert f"versionName='{version}'" in badging
        assert f"minSdkVersion:'{MIN_SDK}'\ntargetSdkVersion:'{TARGET_SDK}'" in badging
    assert (MIN_SDK, TARGET_SDK) == (26, 36)


def test_package_has_one_permission(build: Build) -> None:
    """It may use the network and nothing else."""
    for variant in build.variants.values():
        assert re.findall(r"uses-permission.*: name='(.*)'", read_badging(build, variant.apk)) == [
            "android.permission.INTERNET"
        ]


def test_package_exports_one_component(build: Build) -> None:
    """Other apps can start the window, and there is no other component."""
    manifest = read_xml(build, build.apk)
    assert re.findall(r"E: (activity|activity-alias|service|receiver|provider) ", manifest) == ["activity"]
    assert re.findall(r"exported\(\w+\)=(\w+)", manifest) == ["true"]
    assert "launchable-activity: name='app.marquee.MainActivity'" in read_badging(build, build.apk)


def test_package_takes_links_of_its_site(build: Build) -> None:
    """The links are verified with the site, whose host is a resource, and use HTTPS."""
    manifest = read_xml(build, build.apk)
    assert re.search(r"autoVerify\(\w+\)=true", manifest)
    assert re.findall(r'scheme\(\w+\)="(\w+)"', manifest) == ["https"]
    strings = read_strings(build, build.apk)
    assert strings["origin"] == f"https://{strings['host']}"


def test_release_is_not_debuggable_and_encrypted_only(build: Build) -> None:
    """No debugger can attach, nothing is backed up, and no site may be reached without TLS."""
    manifest = read_xml(build, build.apk)
    assert "debuggable" not in manifest
    assert re.search(r"allowBackup\(\w+\)=false", manifest)
    security = read_xml(build, build.apk, "res/xml/network_security_config.xml")
    assert re.findall(r"cleartextTrafficPermitted=(\w+)", security) == ["false"]
    assert "domain " not in security


def test_debug_variant_is_for_the_demo(build: Build) -> None:
    """It opens the demo on localhost, the one host that it may reach without TLS."""
    apk = build.variants["debug"].apk
    assert re.search(r"debuggable\(\w+\)=true", read_xml(build, apk))
    assert read_strings(build, apk)["origin"] == "http://localhost:8085"
    security = read_xml(build, apk, "res/xml/network_security_config.xml")
    assert re.findall(r"cleartextTrafficPermitted=(\w+)", security) == ["false", "true"]
    assert re.findall(r"T: '(.*)'", security) == ["localhost"]


def test_shortcuts_lead_to_screens_of_the_app(build: Build) -> None:
    """Their paths are those that the code accepts."""
    shortcuts = read_xml(build, build.apk, "res/xml/shortcuts.xml")
    paths = set(re.findall(r'data\(\w+\)="marquee:(\S+)"', shortcuts))
    code = (ROOT / "android/app/src/main/kotlin/app/marquee/Site.kt").read_text()
    (accepted,) = re.findall(r"SHORTCUT_PATHS = setOf\((.*)\)", code)
    assert paths == set(re.findall(r'"(.*?)"', accepted)) == {"/search", "/you"}


def test_package_has_one_origin_and_no_secret(build: Build) -> None:
    """No text of the bytecode or the resources looks like a key, and none names another site."""
    strings = read_strings(build, build.apk)
    with zipfile.ZipFile(build.apk) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    texts = [text.decode() for text in re.findall(rb"[\x20-\x7e]{5,}", content.replace(b"\x00", b""))]
    sites = {site for text in texts for site in re.findall(r"https?://[\w.-]+", text)}
    assert sites <= {strings["origin"], "http://schemas.android.com"}
    assert strings["origin"] in sites
    assert not [t for t in texts if re.search(r"AIza|AKIA|BEGIN |eyJ|[Pp]assw|[Ss]ecret|[Tt]oken|\b[0-9a-f]{32,}\b", t)]


def test_bundle_is_valid(build: Build) -> None:
    """A store accepts its structure, and its signature holds."""
    bundle = build.variants["release"].bundle
    main = "com.android.tools.build.bundletool.BundleToolMain"
    assert "base" in build.tools.run_java([build.tools / "bundletool.jar"], main, "validate", f"--bundle={bundle}")
    assert "jar verified" in run_tool("jarsigner", "-verify", bundle)


def test_second_build_has_the_same_bytes(build: Build, tmp_path: Path) -> None:
    """Before it is signed, a package depends on its sources alone."""
    again = build_packages(build.tools, tmp_path / "elsewhere", with_bundle=False)
    for name, variant in build.variants.items():
        assert again[name].unsigned.read_bytes() == variant.unsigned.read_bytes()
