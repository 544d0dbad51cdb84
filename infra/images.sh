#!/usr/bin/env bash
# Builds and pushes the image of each job for the commit that is checked out: images.sh REGISTRY [JOB...]
# Cloud Run needs amd64, also from a machine with another processor. Docker must be logged in:
#   gcloud auth configure-docker REGION-docker.pkg.dev
set -euo pipefail
cd "$(dirname "$0")/.."
REGISTRY=${1:?usage: images.sh REGISTRY [JOB...]}
shift
# The bridge, the migration, the retraining on Spark, and the jobs of infra/schedules.yaml.
[ $# -gt 0 ] || set -- bridge migrate spark $(sed -n 's#^ *job: jobs/##p' infra/schedules.yaml | sort -u)
COMMIT=$(git rev-parse HEAD)
for job in "$@"; do
  docker build --platform linux/amd64 --file jobs/Dockerfile --build-arg "JOB=$job" --build-arg "COMMIT=$COMMIT" --tag "$REGISTRY/$job:$COMMIT" .
  docker push "$REGISTRY/$job:$COMMIT"
done
