"""Reads dashboards with the types that Grafana publishes, and tells what of them these types do not know.

Usage: dashboards.py FILE ... Exit code 1 when a dashboard holds anything that would be lost.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(ours, read, path):
    """The places where what was read differs from what is written."""
    if isinstance(ours, dict) and isinstance(read, dict):
        return [
            place
            for key, value in ours.items()
            for place in (lost(value, read[key], f"{path}.{key}") if key in read else [f"{path}.{key}"])
        ]
    if isinstance(ours, list) and isinstance(read, list) and len(ours) == len(read):
        return [place for at, pair in enumerate(zip(ours, read)) for place in lost(*pair, f"{path}[{at}]")]
    return [] if ours == read else [f"{path}: {ours!r} became {read!r}"]


register_default_plugins()
unknown = []
for file in sys.argv[1:]:
    with open(file, encoding="utf-8") as text:
        ours = json.load(text)
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(ours)))
    unknown += lost(ours, read, file)
print("\n".join(unknown))
sys.exit(1 if unknown else 0)
