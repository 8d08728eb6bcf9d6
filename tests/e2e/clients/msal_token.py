"""Gets a token with MSAL alone, twice; the second time it comes from MSAL's own memory."""

import os

import msal

env = os.environ
application = msal.ConfidentialClientApplication(
    env["CLIENT"],
    client_credential=env["SECRET"],
    authority=f"{env['GATE']}/{env['TENANT']}",
    instance_discovery=False,
    verify=env["CA"],
)
scopes = ["https://monitor.azure.com/.default"]
first = application.acquire_token_for_client(scopes)
assert "access_token" in first, first
second = application.acquire_token_for_client(scopes)
assert second["access_token"] == first["access_token"], "it was kept"
wrong = msal.ConfidentialClientApplication(
    env["CLIENT"],
    client_credential="wrong",
    authority=f"{env['GATE']}/{env['TENANT']}",
    instance_discovery=False,
    verify=env["CA"],
).acquire_token_for_client(scopes)
assert wrong["error"] == "invalid_client" and wrong["error_codes"] == [7000215], wrong
print(first["access_token"])
