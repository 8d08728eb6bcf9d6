//! Hard caps that no configuration can lift: name, unit, and the file that enforces each.
//!
//! What an operator may want to change is a key of the configuration instead, with its bound in the reference.

use std::time::Duration;

/// Bytes of a configuration file. Enforced by `config/load.rs` and `app/reload.rs`.
pub const CONFIG_FILE_MAX_BYTES: u64 = 1 << 20;

/// Bytes of a file that a `${file:…}` refers to. Enforced by `config/expand.rs`.
pub const SECRET_FILE_MAX_BYTES: u64 = 64 << 10;

/// Connections to the admin plane at one time; more wait in the system's queue. Enforced by `admin/serve.rs`.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Time a client of the admin plane has to send the head of a request, also on a kept-alive connection. Enforced by
/// `admin/serve.rs`.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that an admin connection may be kept alive; a request under way then may still end. Enforced by `admin/serve.rs`.
pub const ADMIN_CONNECTION_MAX_AGE: Duration = Duration::from_secs(600);

/// Bytes of a request body to the admin plane. Enforced by `admin/control.rs`.
pub const ADMIN_BODY_MAX_BYTES: usize = 64 << 10;

/// Dead letters in one page of an answer of the admin plane. Enforced by `admin/control.rs`.
pub const DEAD_LETTER_PAGE_MAX: usize = 1_000;
