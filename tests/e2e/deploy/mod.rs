//! What deploy/ and dashboards/ hold is used for real: by systemd, HAProxy, Prometheus and docker-compose.
//!
//! Tools come from scripts/tools.sh; a test whose tool is missing fails and names its package.

mod compose;
mod dashboards;
mod docker;
mod haproxy;
mod kubernetes;
mod nginx;
mod package;
mod systemd;
