"""Build of a signed package (APK) and bundle (AAB) from Kotlin and resources of ``android/``, without Gradle.

The steps are those of the Android Gradle plugin: aapt2 compiles and links resources, kotlinc and javac compile, R8
shrinks and converts to Android's bytecode, zipalign aligns, apksigner signs. Equal sources give equal bytes up to
signing, whose ECDSA signatures are random.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from infra.android.toolchain import FRAMEWORK, ROOT, Toolchain, list_files, run_tool, write_archive

SOURCES = ROOT / "android/app/src"
PACKAGE, MIN_SDK, TARGET_SDK = "app.marquee", 26, 36
DEBUG_ORIGIN, EXAMPLE_ORIGIN = "http://localhost:8085", "https://marquee.example.com"
# Attributes that are newer than Debian's framework resources (API 29).
_NEW_ATTRIBUTES = {"dataExtractionRules": "reference", "enableOnBackInvokedCallback": "boolean"}
_KEYSTORE_PASSWORD = "android"  # The password of Gradle's debug keys, which protect nothing.


@dataclass(frozen=True, slots=True)
class BuiltPackage:
    """Paths of the files of one variant. Only the release variant has a bundle."""

    unsigned: Path
    apk: Path
    bundle: Path


def build_packages(
    tools: Toolchain, folder: Path, origin: str = EXAMPLE_ORIGIN, *, with_bundle: bool = True
) -> dict[str, BuiltPackage]:
    """Build the variants ``release`` and ``debug`` in the new ``folder``; return the paths by variant.

    Raises ``RuntimeError`` if a tool fails.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write_new_attributes(tools, folder / "framework_new.apk")
    origins = {"release": origin, "debug": DEBUG_ORIGIN}
    linked = {variant: _link_resources(tools, folder, variant, url) for variant, url in origins.items()}
    names = {(folder / variant / "java" / PACKAGE.replace(".", "/") / "R.java").read_bytes() for variant in linked}
    if len(names) != 1:
        raise RuntimeError(
            "the resource ids of the variants release and debug differ, so they cannot share compiled code; define the "
            "same resources in both"
        )
    dex = _compile_code(tools, folder)
    key = _make_key(folder)
    built = locate_packages(folder)
    for variant, resources in linked.items():
        _package(built[variant], resources, dex, key)
    if with_bundle:
        _build_bundle(tools, built["release"].bundle, dex, key)
    return built


def locate_packages(folder: Path) -> dict[str, BuiltPackage]:
    """Return the files that a build in ``folder`` writes, by variant."""
    return {
        variant: BuiltPackage(work / "aligned.apk", work / f"marquee-{variant}.apk", work / f"marquee-{variant}.aab")
        for variant, work in (("release", folder / "release"), ("debug", folder / "debug"))
    }


def read_version() -> tuple[str, int]:
    """Return the package's version name and version code, both derived from pyproject.toml."""
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    major, minor, patch = map(int, name.split("."))
    return name, major * 1_000_000 + minor * 1_000 + patch


def _write_new_attributes(tools: Toolchain, target: Path) -> None:
    """Write framework resources with :data:`_NEW_ATTRIBUTES` under their public ids."""
    lines, text = [], (tools / "public_api.d.ts").read_text()
    for name, kind in _NEW_ATTRIBUTES.items():
        found = re.search(rf"public static {name}: (\d+);", text)
        if found is None:
            raise RuntimeError(f"the list of the public API does not have the attribute {name}")
        lines.append(
            f'<public type="attr" name="{name}" id="{int(found[1]):#010x}"/><attr name="{name}" format="{kind}"/>'
        )
    values = target.with_suffix("") / "res/values/public.xml"
    values.parent.mkdir(parents=True)
    values.write_text(f"<resources>{''.join(lines)}</resources>")
    manifest = target.with_suffix("") / "AndroidManifest.xml"
    manifest.write_text('<manifest package="android"/>')
    compiled = target.with_suffix(".zip")
    run_tool(tools / "aapt2", "compile", "--dir", values.parents[1], "-o", compiled)
    run_tool(tools / "aapt2", "link", "-x", "--manifest", manifest, "-o", target, compiled)


def _link_resources(tools: Toolchain, folder: Path, variant: str, origin: str) -> Path:
    work = folder / variant
    resources = work / "res"
    shutil.copytree(SOURCES / "main/res", resources)
    if (own := SOURCES / variant / "res").is_dir():
        shutil.copytree(own, resources, dirs_exist_ok=True)
    host = origin.split("://")[1].split(":")[0].split("/")[0]
    values = "".join(
        f'<string name="{name}" translatable="false">{escape(text)}</string>'
        for name, text in (("origin", origin), ("host", host))
    )
    (resources / "values/generated.xml").write_text(f"<resources>{values}</resources>")
    manifest = work / "AndroidManifest.xml"
    text = (SOURCES / "main/AndroidManifest.xml").read_text()
    manifest.write_text(text.replace("<manifest ", f'<manifest package="{PACKAGE}" ', 1))
    run_tool(tools / "aapt2", "compile", "--dir", resources, "-o", work / "res.zip")
    name, code = read_version()
    link: list[str | Path] = [tools / "aapt2", "link", "-I", FRAMEWORK, "-I", folder / "framework_new.apk"]
    link += ["--manifest", manifest, "--min-sdk-version", str(MIN_SDK), "--target-sdk-version", str(TARGET_SDK)]
    link += ["--version-code", str(code), "--version-name", name, *(["--debug-mode"] if variant == "debug" else [])]
    run_tool(*link, "--java", work / "java", "-o", work / "base.apk", work / "res.zip")
    if variant == "release":
        run_tool(*link, "--proto-format", "-o", work / "proto.apk", work / "res.zip")
    return work / "base.apk"


def _compile_code(tools: Toolchain, folder: Path) -> Path:
    """Compile the code of both variants; return the shrunk ``classes.dex``."""
    java, classes, stdlib = folder / "release/java", folder / "classes", tools / "kotlin-stdlib.jar"
    name, _ = read_version()
    config = java / PACKAGE.replace(".", "/") / "BuildConfig.java"
    config.write_text(
        f"package {PACKAGE};\npublic final class BuildConfig {{\n"
        f'    public static final String VERSION_NAME = "{name}";\n}}\n'
    )
    compile_kotlin(tools, classes, [tools / "stubs.jar"], [SOURCES / "main/kotlin", java])
    libraries = f"{tools / 'stubs.jar'}:{stdlib}"
    generated = sorted(java.rglob("*.java"))
    run_tool("javac", "--release", "8", "-nowarn", "-Xlint:none", "-cp", libraries, "-d", classes, *generated)
    jar = folder / "app.jar"
    write_archive(jar, list_files(classes))
    rules = folder / "rules.pro"
    # Replaces Gradle's default rules and the rules that aapt2 derives from the manifest.
    keep = f"-keep class {PACKAGE}.MainActivity {{ <init>(); }}\n-dontwarn **\n"
    rules.write_text(keep + (SOURCES.parent / "proguard-rules.pro").read_text())
    dex = folder / "dex"
    dex.mkdir()
    options = ("--release", "--min-api", str(MIN_SDK), "--lib", tools / "stubs.jar", "--lib", tools / "java8.jar")
    r8 = "com.android.tools.r8.R8"
    tools.run_java([tools / "r8.jar"], r8, *options, "--pg-conf", rules, "--output", dex, jar, stdlib)
    return dex / "classes.dex"


def compile_kotlin(tools: Toolchain, target: Path, classpath: list[Path], sources: list[Path]) -> None:
    """Compile Kotlin sources to Java classes; a warning is an error."""
    stdlib = tools / "kotlin-stdlib.jar"
    options = ("-no-stdlib", "-no-reflect", "-jvm-target", "1.8", "-Werror", "-Xsuppress-deprecated-jvm-target-warning")
    paths = ":".join(map(str, [*classpath, stdlib]))
    compiler = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
    tools.run_java([tools / "kotlinc.jar", stdlib], compiler, *options, "-cp", paths, "-d", target, *sources)


def _make_key(folder: Path) -> Path:
    """Create a signing key for development; a store does not accept packages signed with it."""
    key = folder / "debug.keystore"
    options = f"-storepass {_KEYSTORE_PASSWORD} -keypass {_KEYSTORE_PASSWORD} -alias marquee -validity 10000"
    algorithm = "-keyalg EC -groupname secp256r1 -storetype PKCS12"
    run_tool("keytool", "-genkeypair", "-keystore", key, *options.split(), *algorithm.split(), "-dname", "CN=Debug")
    return key


def _package(target: BuiltPackage, resources: Path, dex: Path, key: Path) -> None:
    work = target.apk.parent
    joined = work / "joined.apk"
    parts = work / "parts"
    shutil.unpack_archive(resources, parts, "zip")
    write_archive(joined, list_files(parts) | {"classes.dex": dex})
    run_tool("zipalign", "-f", "-p", "4", joined, target.unsigned)
    versions = ("--min-sdk-version", str(MIN_SDK), "--v1-signing-enabled", "false", "--v4-signing-enabled", "false")
    password = ("--ks-pass", f"pass:{_KEYSTORE_PASSWORD}")
    run_tool("apksigner", "sign", "--ks", key, *password, *versions, "--out", target.apk, target.unsigned)


def _build_bundle(tools: Toolchain, bundle: Path, dex: Path, key: Path) -> None:
    """Build the bundle, from which a store generates packages for each device configuration."""
    work = bundle.parent
    parts, module = work / "bundle", work / "base.zip"
    shutil.unpack_archive(work / "proto.apk", parts, "zip")
    files = list_files(parts)
    manifest = {"manifest/AndroidManifest.xml": files.pop("AndroidManifest.xml")}
    write_archive(module, manifest | files | {"dex/classes.dex": dex})
    arguments = (f"--modules={module}", f"--output={bundle}")
    bundletool = "com.android.tools.build.bundletool.BundleToolMain"
    tools.run_java([tools / "bundletool.jar"], bundletool, "build-bundle", *arguments)
    run_tool("jarsigner", "-keystore", key, "-storepass", _KEYSTORE_PASSWORD, bundle, "marquee")
