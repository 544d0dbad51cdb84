#!/usr/bin/env bash
# Builds each job's image of the commit that is checked out, and pushes it: images.sh REGISTRY [JOB...]
set -euo pipefail
cd "$(dirname "$0")/.."
REGISTRY=${1:?usage: images.sh REGISTRY [JOB...]}
shift
# The bridge, the migration, and whatever infra/schedules.yaml runs.
[ $# -gt 0 ] || set -- bridge migrate $(sed -n 's#^ *job: jobs/##p' infra/schedules.yaml)
COMMIT=$(git rev-parse HEAD)
for job in "$@"; do
  docker build --file "jobs/$job/Dockerfile" --build-arg "COMMIT=$COMMIT" --tag "$REGISTRY/$job:$COMMIT" .
  docker push "$REGISTRY/$job:$COMMIT"
done
