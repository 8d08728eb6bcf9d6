//! Hard caps that no configuration can lift: name, unit, and the file that enforces each.
//!
//! What an operator may want to change is a key of the configuration instead, with its bound in the reference.

use std::time::Duration;

/// Bytes of a configuration file. Enforced by `config/load.rs` and `app/reload.rs`.
pub const CONFIG_FILE_MAX_BYTES: u64 = 1 << 20;

/// Bytes of a file with rules. Enforced by `config/rule_files.rs`.
pub const RULE_FILE_MAX_BYTES: u64 = 4 << 20;

/// Files with rules in one folder. Enforced by `config/rule_files.rs`.
pub const RULE_FILES_MAX: usize = 1_000;

/// Bytes of a file that a `${file:…}` refers to. Enforced by `config/expand.rs`.
pub const SECRET_FILE_MAX_BYTES: u64 = 64 << 10;

/// Connections to the admin plane at one time, beside those of probes. Enforced by `admin/serve/places.rs`.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Connections to the admin plane at one time from this machine and from `admin.probes_from`, whatever else is open. Enforced
/// by `admin/serve/places.rs`.
pub const ADMIN_PROBE_CONNECTIONS_MAX: usize = 64;

/// Connections to the admin plane at one time from one address (IPv6: its /64). Enforced by `admin/serve/places.rs`.
pub const ADMIN_CONNECTIONS_PER_ADDRESS_MAX: usize = 32;

/// Time a client of the admin plane has for TLS, and then from the start of the connection, or the first byte of a later
/// request, to the end of a head. Enforced by `admin/serve`.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that the body of a request to the admin plane may take. Enforced by `admin/serve/visit.rs`.
pub const ADMIN_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that an admin connection may be open between two requests. Enforced by `admin/serve`.
pub const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time that an admin connection may be kept alive; a request under way then may still end. Enforced by `admin/serve`.
pub const ADMIN_CONNECTION_MAX_AGE: Duration = Duration::from_secs(600);

/// Bytes of a request body to the admin plane. Enforced by `admin/control.rs`.
pub const ADMIN_BODY_MAX_BYTES: usize = 64 << 10;

/// Followers of the status page at one time. Enforced by `admin/live.rs`.
pub const LIVE_FOLLOWERS_MAX: usize = 16;

/// Dead letters in one page of an answer of the admin plane. Enforced by `admin/control.rs`.
pub const DEAD_LETTER_PAGE_MAX: usize = 1_000;

/// Bytes of a file of data collection rules. Enforced by `filter/dcr/document.rs`.
pub const DCR_TEXT_MAX_BYTES: usize = 4 << 20;

/// Data collection rules in one file, and in the store. Enforced by `filter/dcr/document.rs` and `app/rule_store`.
pub const DCR_RULES_MAX: usize = 1_000;

/// Findings that are told of one file; the rest is counted. Enforced by `filter/dcr/findings.rs`.
pub const DCR_FINDINGS_MAX: usize = 200;

/// Bytes that the expressions of an ARM template may grow to. Enforced by `filter/dcr/template`.
pub const DCR_TEMPLATE_GROWTH_MAX_BYTES: usize = 16 << 20;

/// Associations in the store. Enforced by `app/rule_store`.
pub const DCR_ASSOCIATIONS_MAX: usize = 100_000;

/// Bytes of a request body to the interface of Azure Monitor. Enforced by `admin/azure`.
pub const AZURE_BODY_MAX_BYTES: usize = 1 << 20;

/// Characters of a resource id, and of the description of an association. Enforced by `admin/azure`.
pub const AZURE_TEXT_MAX_CHARS: usize = 2_048;

/// Resources in one page of a list. Enforced by `admin/azure`.
pub const AZURE_PAGE_MAX: usize = 200;
