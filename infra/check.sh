#!/usr/bin/env bash
# Checks what is deployed, as far as a machine without a cloud can: Terraform, checkov, Dockerfiles, Compose, workflows.
# Linters live in an environment of their own (requirements/infra.txt). What cannot run here says so and is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=build/infra-venv
BIN=$VENV/bin
say() { printf '\n== %s\n' "$*"; }

if ! cmp -s requirements/infra.txt "$VENV/requirements.txt"; then
  say "installing the linters"
  "$PYTHON" -m venv --clear "$VENV"
  "$BIN/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements/infra.txt
  cp requirements/infra.txt "$VENV/requirements.txt"
fi

say "Dockerfiles: hadolint"
"$BIN/hadolint" jobs/*/Dockerfile functions/Dockerfile

say "Terraform: format, validation, tests"
OFFLINE=../shared/terraform-offline/check.sh
if ! command -v terraform >/dev/null; then
  echo "SKIPPED: there is no terraform on the PATH"
elif [ -x "$OFFLINE" ]; then
  "$OFFLINE" infra/terraform
else
  terraform -chdir=infra/terraform fmt -check -recursive
  if terraform -chdir=infra/terraform init -backend=false -input=false >build/terraform-init.log 2>&1; then
    terraform -chdir=infra/terraform validate
    terraform -chdir=infra/terraform test
  elif [ -n "${CI:-}" ]; then
    cat build/terraform-init.log
    exit 1
  else
    echo "SKIPPED: the providers cannot be downloaded here (build/terraform-init.log says why)"
  fi
fi

say "Terraform: checkov"
# grafana_rules.tf: checkov cannot read it (bridgecrewio/checkov#7526), and has no check for what is in it.
"$BIN/checkov" --directory infra/terraform --framework terraform --skip-path grafana_rules.tf --skip-download \
  --compact --quiet --output cli --output json --output-file-path console,build/checkov.json 2>build/checkov.log
"$BIN/python" - build/checkov.json <<'EOF'
import json, sys
found = json.load(open(sys.argv[1]))["summary"]
print(found)
sys.exit(bool(found["failed"] or found["parsing_errors"] or not found["passed"]))
EOF

say "Compose: the specification's schema"
"$BIN/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
"$BIN/check-jsonschema" --schemafile infra/functions.schema.json infra/functions.yaml
"$BIN/check-jsonschema" --schemafile infra/schedules.schema.json infra/schedules.yaml
