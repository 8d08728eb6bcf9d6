//! The body of the data collection rule, with holes for what each format says in its own way.

use serde_json::{Value, json};

use super::plan::Plan;

/// What a format fills in. Stands in the body as a text that no name can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole {
    /// The workspace's resource id.
    Workspace,
    /// The data collection endpoint's resource id.
    Endpoint,
}

const WORKSPACE: &str = "\u{0}workspace";
const ENDPOINT: &str = "\u{0}endpoint";

impl Hole {
    fn mark(self) -> Value {
        Value::from(match self {
            Self::Workspace => WORKSPACE,
            Self::Endpoint => ENDPOINT,
        })
    }

    /// The hole that this text marks.
    pub(super) fn of(text: &str) -> Option<Self> {
        match text {
            WORKSPACE => Some(Self::Workspace),
            ENDPOINT => Some(Self::Endpoint),
            _ => None,
        }
    }
}

/// The rule's `properties`.
pub(super) fn properties(plan: &Plan) -> Value {
    let mut properties = json!({ "description": "What Gatepost uploads, and where it goes." });
    if plan.endpoint {
        properties["dataCollectionEndpointId"] = Hole::Endpoint.mark();
    }
    properties["streamDeclarations"] = json!({});
    for stream in &plan.streams {
        let columns = stream.declared().into_iter().map(|(name, kind)| json!({ "name": name, "type": kind }));
        properties["streamDeclarations"][&stream.name] = json!({ "columns": columns.collect::<Vec<_>>() });
    }
    properties["destinations"] =
        json!({ "logAnalytics": [{ "name": "workspace", "workspaceResourceId": Hole::Workspace.mark() }] });
    let flow = |stream: &super::plan::Stream| {
        json!({
            "streams": [stream.name],
            "destinations": ["workspace"],
            "transformKql": "source",
            "outputStream": stream.output_stream(),
        })
    };
    properties["dataFlows"] = plan.streams.iter().map(flow).collect();
    properties
}

/// The body with every hole filled.
pub(super) fn filled(value: Value, fill: &dyn Fn(Hole) -> String) -> Value {
    match value {
        Value::String(text) => Value::from(Hole::of(&text).map_or(text, fill)),
        Value::Array(items) => items.into_iter().map(|item| filled(item, fill)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, filled(value, fill))).collect::<serde_json::Map<_, _>>().into()
        }
        other => other,
    }
}
