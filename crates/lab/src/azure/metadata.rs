//! The services that give tokens to machines: the instance metadata service of Azure, and the agent of Azure Arc.

use parking_lot::{Mutex, MutexGuard};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode, header};
use serde_json::json;

use super::door::{Answer, Behind, Call, json};
use super::entra::Directory;
use super::rules::random_guid;

const PATH: [&str; 4] = ["metadata", "identity", "oauth2", "token"];

/// An identity that was assigned to the machine by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAssigned {
    /// Its client id, which is also what its tokens say.
    pub client_id: String,
    /// Its object id.
    pub object_id: String,
    /// Its resource id.
    pub resource_id: String,
}

/// The identities of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The client id of the system-assigned identity, if it has one.
    pub system_assigned: Option<String>,
    /// Further identities.
    pub user_assigned: Vec<UserAssigned>,
}

/// The instance metadata service.
pub struct Imds {
    directory: Arc<Directory>,
    machine: Mutex<Machine>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

fn bad(description: &str) -> Answer {
    json(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_request", "error_description": description }))
}

fn unavailable(status: StatusCode) -> Answer {
    json(status, &json!({ "error": "internal_error", "error_description": "Internal server error" }))
}

/// What every request of both services must have: the path, the header, a version and a resource that is known.
fn resource(call: &Call) -> Result<&str, Box<Answer>> {
    let refused = |description: &str| Box::new(bad(description));
    if call.method != Method::GET || call.path != PATH {
        return Err(Box::new(json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }))));
    }
    if !call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(refused("Required metadata header not specified"));
    }
    if call.header("x-forwarded-for").is_some() {
        return Err(refused("Requests must not come through a proxy"));
    }
    if call.query("api-version").is_none() {
        return Err(refused("Required query variable 'api-version' is missing"));
    }
    let resource = call.query("resource").ok_or_else(|| refused("Required query variable 'resource' is missing"))?;
    if !Directory::knows(resource) {
        return Err(refused(&format!(
            "AADSTS500011: The resource principal named {resource} was not found in the tenant."
        )));
    }
    Ok(resource)
}

/// A token, with its times as text, as the metadata services write them.
fn grant(directory: &Directory, client_id: &str, resource: &str) -> Answer {
    match directory.for_machine(client_id, resource) {
        Ok((token, seconds, end)) => json(
            StatusCode::OK,
            &json!({
                "access_token": token, "client_id": client_id, "expires_in": seconds.to_string(),
                "expires_on": end.to_string(), "ext_expires_in": seconds.to_string(),
                "not_before": (end - seconds.cast_signed()).to_string(), "resource": resource, "token_type": "Bearer",
            }),
        ),
        Err(_) => unavailable(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl Imds {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory, machine: Mutex::default() }
    }

    /// Gives the machine these identities and no other.
    pub fn set_machine(&self, machine: Machine) {
        *locked(&self.machine) = machine;
    }

    /// The client id of the identity that a request asks for.
    fn identity(&self, call: &Call) -> Option<String> {
        let machine = locked(&self.machine);
        let matches = |name: &str, text: &str| call.query(name).is_some_and(|asked| asked.eq_ignore_ascii_case(text));
        if ["client_id", "object_id", "msi_res_id"].iter().all(|name| call.query(name).is_none()) {
            let only = (machine.user_assigned.len() == 1).then(|| machine.user_assigned[0].client_id.clone());
            return machine.system_assigned.clone().or(only);
        }
        let identity = machine.user_assigned.iter().find(|identity| {
            matches("client_id", &identity.client_id)
                || matches("object_id", &identity.object_id)
                || matches("msi_res_id", &identity.resource_id)
        });
        identity.map(|identity| identity.client_id.clone())
    }
}

impl Behind for Imds {
    fn answer(&self, call: &Call) -> Answer {
        let resource = match resource(call) {
            Ok(resource) => resource,
            Err(answer) => return *answer,
        };
        match self.identity(call) {
            Some(client_id) => grant(&self.directory, &client_id, resource),
            None => bad("Identity not found"),
        }
    }

    fn refuse(&self, _: &Call, status: StatusCode) -> Answer {
        unavailable(status)
    }
}

/// What the agent of Azure Arc does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ArcState {
    client_id: Option<String>,
    key_dir: Option<PathBuf>,
    /// The file that challenges name, whatever was written.
    names_instead: Option<PathBuf>,
    /// The file of the last challenge with what is in it.
    key: Option<(PathBuf, String)>,
    challenges: u64,
}

/// The metadata service of the agent of Azure Arc.
pub struct Himds {
    directory: Arc<Directory>,
    state: Mutex<ArcState>,
}

impl Himds {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory, state: Mutex::default() }
    }

    /// Connects the machine: its identity, and the folder where its challenges write their keys.
    pub fn connect(&self, client_id: impl Into<String>, key_dir: impl Into<PathBuf>) {
        let mut state = locked(&self.state);
        state.client_id = Some(client_id.into());
        state.key_dir = Some(key_dir.into());
    }

    /// From now on, challenges name this file: as somebody would who listens on the agent's port and wants to be sent
    /// the content of another file. `None` for honesty.
    pub fn name_instead(&self, file: Option<PathBuf>) {
        locked(&self.state).names_instead = file;
    }

    /// Challenges so far.
    pub fn challenges(&self) -> u64 {
        locked(&self.state).challenges
    }

    /// Answers with a new key in a new file.
    fn challenge(&self) -> Answer {
        let mut state = locked(&self.state);
        let Some(dir) = &state.key_dir else { return unavailable(StatusCode::INTERNAL_SERVER_ERROR) };
        let (file, key) = (dir.join(format!("{}.key", random_guid())), random_guid());
        if std::fs::write(&file, &key).is_err() {
            return unavailable(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let named = state.names_instead.clone().unwrap_or_else(|| file.clone());
        state.key = Some((file, key));
        state.challenges += 1;
        let mut answer = json(
            StatusCode::UNAUTHORIZED,
            &json!({ "error": "unauthorized_client", "error_description": "Missing Basic Authorization header" }),
        );
        if let Ok(value) = header::HeaderValue::try_from(format!("Basic realm={}", named.display())) {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        answer
    }
}

impl Behind for Himds {
    fn answer(&self, call: &Call) -> Answer {
        let resource = match resource(call) {
            Ok(resource) => resource,
            Err(answer) => return *answer,
        };
        let Some(client_id) = locked(&self.state).client_id.clone() else { return bad("The machine is not connected") };
        let Some(given) = call.header("authorization").and_then(|value| value.strip_prefix("Basic ")) else {
            return self.challenge();
        };
        // A key opens once.
        let Some((file, key)) = locked(&self.state).key.take() else { return self.challenge() };
        _ = std::fs::remove_file(file);
        // Clients send the content of the file as it is; some encode it first.
        if given == key || given == STANDARD.encode(&key) {
            return grant(&self.directory, &client_id, resource);
        }
        json(
            StatusCode::FORBIDDEN,
            &json!({ "error": "invalid_client", "error_description": "The key of the challenge is wrong" }),
        )
    }

    fn refuse(&self, _: &Call, status: StatusCode) -> Answer {
        unavailable(status)
    }
}
