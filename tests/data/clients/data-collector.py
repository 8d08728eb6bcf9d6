"""A post to the HTTP Data Collector API as Python scripts make it. Reads the records from standard input.

WORKSPACE_ID and SHARED_KEY are those of the workspace; ADDRESS is all that changes for a gateway.
"""

import base64
import datetime
import hashlib
import hmac
import os
import ssl
import sys
import urllib.request

customer_id = os.environ["WORKSPACE_ID"]
shared_key = os.environ["SHARED_KEY"]
log_type = os.environ.get("LOG_TYPE", "MyRecordType")
address = os.environ.get("ADDRESS", f"https://{customer_id}.ods.opinsights.azure.com")


def build_signature(date, content_length, method, content_type, resource):
    string_to_hash = f"{method}\n{content_length}\n{content_type}\nx-ms-date:{date}\n{resource}"
    key = base64.b64decode(shared_key)
    encoded_hash = base64.b64encode(hmac.new(key, string_to_hash.encode("utf-8"), hashlib.sha256).digest())
    return f"SharedKey {customer_id}:{encoded_hash.decode()}"


body = sys.stdin.buffer.read()
date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
headers = {
    "content-type": "application/json",
    "Authorization": build_signature(date, len(body), "POST", "application/json", "/api/logs"),
    "Log-Type": log_type,
    "x-ms-date": date,
}
context = ssl.create_default_context(cafile=os.environ.get("CA"))
request = urllib.request.Request(f"{address}/api/logs?api-version=2016-04-01", data=body, headers=headers, method="POST")
with urllib.request.urlopen(request, context=context) as response:
    print(response.status)
