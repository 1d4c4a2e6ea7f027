#!/usr/bin/env bash
# The MLflow server: PostgreSQL behind it, users in front, artifacts passed through it to S3.
#
#   PGHOST PGUSER PGPASSWORD PGDATABASE      libpq's own: no password in an address or in `ps`
#   AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID ...   boto3's own
#   MLFLOW_ARTIFACTS                         s3://bucket/prefix
#   MLFLOW_ALLOWED_HOSTS                     names it answers to, with ports; others get 403
#   MLFLOW_AUTH_ADMIN_USERNAME, ..._PASSWORD the first administrator
#   MLFLOW_FLASK_SERVER_SECRET_KEY           signs the forms of the sign-up page
set -euo pipefail

: "${MLFLOW_AUTH_ADMIN_USERNAME:?}" "${MLFLOW_AUTH_ADMIN_PASSWORD:?}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?}" "${PGHOST:?}" "${PGPASSWORD:?}"
MLFLOW_AUTH_CONFIG_PATH=$(dirname "$(readlink -f "$0")")/mlflow_auth.ini
export MLFLOW_AUTH_CONFIG_PATH

exec mlflow server --app-name basic-auth \
    --host "${MLFLOW_HOST:-0.0.0.0}" --port "${MLFLOW_PORT:-5000}" --workers "${MLFLOW_WORKERS:-2}" \
    --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:?the names that clients use, such as mlflow:5000}" \
    --backend-store-uri postgresql+psycopg2:// \
    --artifacts-destination "${MLFLOW_ARTIFACTS:?s3://bucket/prefix}"
