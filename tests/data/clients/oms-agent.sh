#!/bin/sh
# What the OMS agent for Linux says to its workspace, with curl and openssl: a certificate of its own, registration, refresh,
# renewal, uploads. Prints the status; what was answered is in $DIR/answer.
#
#   oms-agent.sh certificate | register | refresh | renew | json FILE | xml FILE
#
# WORKSPACE_ID and SHARED_KEY are those of the workspace; ADDRESS and CA are the gateway's.
set -eu
DIR="${DIR:?}" WORKSPACE_ID="${WORKSPACE_ID:?}" AGENT_ID="${AGENT_ID:?}" COMPUTER="${COMPUTER:?}"
ADDRESS="${ADDRESS:-https://$WORKSPACE_ID.oms.opinsights.azure.com}"
USER_AGENT='LinuxMonitoringAgent/1.14.0-0'

# certificate NAME: $DIR/NAME.crt and $DIR/NAME.key. Two common names, and an authority by its own word.
certificate() {
  cat > "$DIR/openssl.cnf" <<END
[req]
prompt = no
distinguished_name = name
x509_extensions = own
[name]
0.CN = $WORKSPACE_ID
1.CN = $AGENT_ID
OU = Linux Monitoring Agent
O = Microsoft
[own]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer
basicConstraints = CA:TRUE
END
  openssl req -x509 -new -newkey rsa:2048 -nodes -sha256 -days 365 -config "$DIR/openssl.cnf" \
    -keyout "$DIR/$1.key" -out "$DIR/$1.crt" 2> /dev/null
}

# The certificate in base64, in the lines of its file, each with a space before it.
encoded() { sed '/^-----/d; s/^/ /' "$DIR/$1.crt"; }

topology() {
  printf '<?xml version="1.0"?>\n<AgentTopologyRequest xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns="http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/">\n'
  printf '  <FullyQualfiedDomainName>%s\n</FullyQualfiedDomainName>\n  <EntityTypeId>%s</EntityTypeId>\n' "$COMPUTER" "$AGENT_ID"
  printf '  <AuthenticationCertificate>%s</AuthenticationCertificate>\n' "$(encoded "$1")"
  printf '  <OperatingSystem>\n    <ProcessorArchitecture>x64</ProcessorArchitecture>\n    <Name>Debian</Name>\n    <Manufacturer>Debian</Manufacturer>\n    <Version>12</Version>\n  </OperatingSystem>\n</AgentTopologyRequest>\n'
}

now() { date '+%Y-%m-%dT%T.%N%:z'; }

# post NAME PATH FILE [curl arguments]: with the certificate NAME.
post() {
  name="$1" path="$2" file="$3"
  shift 3
  curl -sS --http1.1 -o "$DIR/answer" -w '%{http_code}\n' -A "$USER_AGENT" -H 'Accept-Language: en-US' \
    --cert "$DIR/$name.crt" --key "$DIR/$name.key" "$@" --data-binary "@$file" "$ADDRESS$path"
}

own=agent
[ -n "${CERTIFICATE:-}" ] && own="$CERTIFICATE"
case "$1" in
certificate)
  certificate "$own"
  ;;
register)
  topology "$own" > "$DIR/body"
  date="$(now)"
  hash="$(openssl dgst -sha256 -binary "$DIR/body" | base64)"
  key="$(printf '%s' "${SHARED_KEY:?}" | base64 -d | od -An -v -tx1 | tr -d ' \n')"
  signature="$(printf '%s\n%s\n' "$date" "$hash" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)"
  post "$own" /AgentService.svc/LinuxAgentTopologyRequest "$DIR/body" --insecure -H "x-ms-Date: $date" -H 'x-ms-version: August, 2014' \
    -H "x-ms-SHA256_Content: $hash" -H "Authorization: $WORKSPACE_ID; $signature"
  ;;
refresh)
  topology "$own" > "$DIR/body"
  post "$own" /AgentService.svc/LinuxAgentTopologyRequest "$DIR/body" --cacert "$CA" -H "x-ms-Date: $(now)"
  ;;
renew)
  certificate renewed
  printf '<?xml version="1.0"?>\n<CertificateUpdateRequest xmlns="http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/">\n<NewCertificate>%s</NewCertificate>\n</CertificateUpdateRequest>\n' \
    "$(encoded renewed)" > "$DIR/body"
  post "$own" /ConfigurationService.Svc/RenewCertificate "$DIR/body" --cacert "$CA"
  ;;
json)
  post "$own" '/OperationalData.svc/PostJsonDataItems?api-version=2016-04-01' "$2" --cacert "$CA" -H 'Content-Type: application/json' \
    -H "X-Request-ID: $(cat /proc/sys/kernel/random/uuid)" -H 'x-ms-client-version: 1.14.0-0' -H 'x-ms-client-platform: Linux'
  ;;
xml)
  post "$own" '/EventDataService.svc/PostDataItems?api-version=2016-04-01' "$2" --cacert "$CA" -H 'Content-Type: application/xml' \
    -H "X-Request-ID: $(cat /proc/sys/kernel/random/uuid)"
  ;;
esac
