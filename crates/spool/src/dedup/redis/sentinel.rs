//! Sentinel: who says which server is the primary.
//!
//! It is asked before every connection, off the way of uploads, and its answer is a hint: the server is asked for its role as
//! well, since a Sentinel that was cut off names a primary of yesterday.

use super::config::Config;
use super::connect::{Trouble, connect_as, login};

/// The address of the primary, as the first Sentinel that knows it says; `None` where no Sentinel is configured.
pub(super) async fn primary(config: &Config) -> Result<Option<String>, Trouble> {
    let mut trouble = None;
    for sentinel in &config.sentinels {
        match tokio::time::timeout(config.timeout.get() * 2, ask(config, sentinel)).await {
            Ok(Ok(address)) => return Ok(Some(address)),
            Ok(Err(why)) => trouble = Some(format!("Sentinel {sentinel}: {why}")),
            Err(_) => trouble = Some(format!("Sentinel {sentinel}: no answer in time")),
        }
    }
    trouble.map_or(Ok(None), |reason| Err(Trouble::Away(reason)))
}

async fn ask(config: &Config, sentinel: &str) -> Result<String, Trouble> {
    let login = login(config.sentinel_user.as_deref(), config.sentinel_password.as_ref());
    let mut connection = connect_as(config, sentinel, login).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(&config.sentinel_master);
    let named: Option<(String, u16)> = question.query_async(&mut connection).await?;
    let Some((host, port)) = named else {
        return Err(Trouble::Away(format!(
            "it knows no primary {:?}: see dedup.redis.sentinel_master",
            config.sentinel_master
        )));
    };
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
