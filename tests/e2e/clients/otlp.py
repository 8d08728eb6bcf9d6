"""Reads requests of OTLP over HTTP in JSON, one a line, with the types that OpenTelemetry publishes; tells how many spans they hold.

Their JSON differs from that of protobuf in one thing: ids are hexadecimal.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def with_base64(of):
    """The same with ids as protobuf has them."""
    if isinstance(of, list):
        return [with_base64(one) for one in of]
    if not isinstance(of, dict):
        return of
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in ids else with_base64(value) for key, value in of.items()
    }


spans = 0
for line in sys.stdin:
    request = json_format.Parse(json.dumps(with_base64(json.loads(line))), ExportTraceServiceRequest())
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert len(span.trace_id) == 16 and len(span.span_id) == 8, span
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
                spans += 1
print(spans)
