#!/bin/sh
# A post to the HTTP Data Collector API as shell scripts make it: curl and openssl. Reads the records from standard input.
# WORKSPACE_ID and SHARED_KEY are those of the workspace; ADDRESS is all that changes for a gateway.
set -eu
WORKSPACE_ID="${WORKSPACE_ID:?}" SHARED_KEY="${SHARED_KEY:?}" LOG_TYPE="${LOG_TYPE:-MyRecordType}"
ADDRESS="${ADDRESS:-https://$WORKSPACE_ID.ods.opinsights.azure.com}"
body="$(cat)"
date="$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')"
length="$(printf '%s' "$body" | wc -c | tr -d ' ')"
key="$(printf '%s' "$SHARED_KEY" | base64 -d | od -An -v -tx1 | tr -d ' \n')"
signature="$(printf 'POST\n%s\napplication/json\nx-ms-date:%s\n/api/logs' "$length" "$date" \
  | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64 | tr -d '\n')"
exec curl -sS -o /dev/null -w '%{http_code}\n' ${CA:+--cacert "$CA"} \
  -H "Authorization: SharedKey $WORKSPACE_ID:$signature" -H "Log-Type: $LOG_TYPE" -H "x-ms-date: $date" \
  -H 'Content-Type: application/json' --data-binary "$body" "$ADDRESS/api/logs?api-version=2016-04-01"
