//! The way to a server of the engine, or to a Sentinel: with TLS and a login, within a time.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::config::{Config, host_and_port};
use crate::values::Secret;

/// Why the engine cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Time may mend it.
    #[error("{0}")]
    Away(String),
    /// A person must mend it.
    #[error("{0}")]
    Refused(String),
    /// In a cluster another server has the keys: at this address.
    #[error("its keys are at {0} now")]
    Moved(String),
}

impl From<redis::RedisError> for Trouble {
    fn from(error: redis::RedisError) -> Self {
        match error.redirect_node() {
            Some((address, _)) => Self::Moved(address.to_owned()),
            None => Self::Away(error.to_string()),
        }
    }
}

/// Connects to a server of these, as this user.
pub(super) async fn connect_as(
    config: &Config,
    address: &str,
    login: RedisConnectionInfo,
) -> Result<MultiplexedConnection, Trouble> {
    let timeout: Duration = config.timeout.get();
    let limits = AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
    Ok(client(config, address, login)?.get_multiplexed_async_connection_with_config(&limits).await?)
}

pub(super) fn login(user: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password.reveal().trim());
    }
    login
}

fn client(config: &Config, address: &str, login: RedisConnectionInfo) -> Result<Client, Trouble> {
    let (host, port) =
        host_and_port(address).ok_or_else(|| Trouble::Refused(format!("{address:?} is not \"host:port\"")))?;
    let at = |addr: ConnectionAddr| -> Result<ConnectionInfo, Trouble> {
        Ok(addr.into_connection_info()?.set_redis_settings(login))
    };
    if !config.tls {
        return Ok(Client::open(at(ConnectionAddr::Tcp(host, port))?)?);
    }
    let certificates = config.certificates().map_err(|error| Trouble::Away(error.to_string()))?;
    let addr = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
    Ok(Client::build_with_tls(at(addr)?, certificates)?)
}
