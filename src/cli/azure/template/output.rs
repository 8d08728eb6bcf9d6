//! The `[[outputs]]` of the plan: what goes into Gatepost's configuration once the rule is there.

use super::plan::{Plan, Stream};
use crate::outputs::identity::{Cloud, Identity};

/// A piece of the text: as it is, or what only Azure knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// The rule's immutable id.
    Dcr,
    /// The URL to upload to.
    Url,
}

/// The outputs, one for each table.
pub(super) fn pieces(plan: &Plan) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (at, stream) in plan.streams.iter().enumerate() {
        let gap = if at > 0 { "\n" } else { "" };
        let head = format!("{gap}[[outputs]]\nkind = \"workspace\"\nname = \"{}\"\ndcr = \"", name(stream));
        pieces.extend([Piece::Text(head), Piece::Dcr, Piece::Text(after_dcr(plan, stream)), Piece::Url]);
        pieces.push(Piece::Text(format!("\"\n\n[outputs.identity]\n{}", identity(&plan.identity))));
    }
    pieces
}

fn name(stream: &Stream) -> String {
    stream.name.trim_start_matches("Custom-").to_ascii_lowercase()
}

fn after_dcr(plan: &Plan, stream: &Stream) -> String {
    let table = serde_json::to_value(stream.table).expect("a table is a text");
    let cloud = match plan.cloud {
        Cloud::Public => "",
        Cloud::UsGov => "cloud = \"us_gov\"\n",
        Cloud::China => "cloud = \"china\"\n",
    };
    format!(
        "\"\nstream = \"{}\"\ntable = {table}\noriginal_time_column = \"{}\"\nevent_key_column = \"{}\"\n\
         client_column = \"{}\"\n{cloud}\n[[outputs.endpoints]]\nurl = \"",
        stream.name, stream.original_time, stream.event_key, stream.client
    )
}

/// The identity of the configuration, without anything secret; an app registration with a secret when it has none.
fn identity(identity: &Identity) -> String {
    let mut lines = vec![("kind", identity.kind().to_owned())];
    let app = |tenant: &str, client_id: &str| [("tenant", tenant.to_owned()), ("client_id", client_id.to_owned())];
    match identity {
        Identity::None | Identity::Token { .. } => {
            lines = vec![("kind", "client_secret".to_owned())];
            lines.extend(app("TENANT-ID", "APPLICATION-ID"));
            lines.push(("client_secret", "${file:client-secret}".to_owned()));
        }
        Identity::ClientSecret { tenant, client_id, .. } => {
            lines.extend(app(tenant, client_id));
            lines.push(("client_secret", "${file:client-secret}".to_owned()));
        }
        Identity::ClientCertificate { tenant, client_id, certificate, key, .. } => {
            lines.extend(app(tenant, client_id));
            lines.push(("certificate", certificate.display().to_string()));
            lines.extend(key.as_ref().map(|key| ("key", key.display().to_string())));
        }
        Identity::ManagedIdentity { client_id, object_id, resource_id, .. } => {
            let named = [("client_id", client_id), ("object_id", object_id), ("resource_id", resource_id)];
            lines.extend(named.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        }
        Identity::Arc { .. } => {}
        Identity::WorkloadIdentity { tenant, client_id, token_file, .. } => {
            lines.extend(app(tenant, client_id));
            lines.push(("token_file", token_file.display().to_string()));
        }
    }
    lines.iter().map(|(key, value)| format!("{key} = {}\n", toml::Value::from(value.as_str()))).collect()
}
