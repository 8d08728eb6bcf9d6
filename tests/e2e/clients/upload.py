"""Uploads a file of events with azure-monitor-ingestion, as often as it takes. What it needs stands in the environment."""

import json
import os
import sys
import time

from azure.identity import CertificateCredential, ClientSecretCredential
from azure.monitor.ingestion import LogsIngestionClient

env = os.environ
common = {"authority": env["GATE"], "disable_instance_discovery": True}
if env["PROOF"] == "certificate":
    credential = CertificateCredential(env["TENANT"], env["CLIENT"], certificate_path=env["CERTIFICATE"], **common)
else:
    credential = ClientSecretCredential(env["TENANT"], env["CLIENT"], env["SECRET"], **common)
with open(env["EVENTS"], encoding="utf-8") as file:
    events = json.load(file)
client = LogsIngestionClient(env["GATE"], credential)
for attempt in range(10):
    try:
        client.upload(rule_id=env["RULE"], stream_name=env["STREAM"], logs=events)
    except Exception as error:  # an application that only knows that it failed sends everything again
        print(f"attempt {attempt}: {error!r}"[:2000], file=sys.stderr)
        time.sleep(0.2)
    else:
        print("uploaded")
        sys.exit(0)
sys.exit(1)
