//! The gateway of the demo: the real one, in this process, configured as anybody would in a file.

use std::path::Path;

use futures_util::future::BoxFuture;

use super::{Plan, UnderTest};
use crate::admin::Scrape;
use crate::app::Gateway;
use crate::config;

/// Starts it as the demo wants it.
pub(super) async fn start(plan: Plan) -> anyhow::Result<Box<dyn UnderTest>> {
    let config = config::parse("demo.toml", &configuration(&plan), Path::new("."), &|_| None)?;
    let gateway = Gateway::start(config, None, Scrape::install()?).await?;
    let ca = std::fs::read(plan.state_dir.join("tls/cert.pem"))?;
    Ok(Box::new(Demo { gateway, ca }))
}

fn configuration(plan: &Plan) -> String {
    let endpoints: Vec<String> =
        plan.collectors.iter().map(|(name, url)| format!("{{ name = \"{name}\", url = \"{url}\" }}")).collect();
    format!(
        r#"
state_dir = "{state}"
filter.event_set = "All"
admin.listen = "127.0.0.1:0"
access_log.enabled = false

[[listeners]]
name = "agents"
listen = "127.0.0.1:0"

[[outputs]]
kind = "workspace"
name = "workspace"
dcr = "dcr-00000000000000000000000000000000"
stream = "Custom-SecurityEvent"
endpoints = [{endpoints}]
forward.linger = "200 ms"
balancer = {{ ejection_base = "500 ms", ejection_cap = "2 s", probe_interval = "500 ms", retry_base = "100 ms", retry_cap = "2 s" }}
"#,
        state = plan.state_dir.display(),
        endpoints = endpoints.join(", "),
    )
}

struct Demo {
    gateway: Gateway,
    ca: Vec<u8>,
}

impl UnderTest for Demo {
    fn upload_url(&self) -> String {
        let addresses = self.gateway.upload_addresses();
        let (_, address) = addresses.first().expect("the configuration above has a listener");
        format!("https://{address}")
    }

    fn admin_url(&self) -> String {
        format!("http://{}", self.gateway.admin_address())
    }

    fn ca_pem(&self) -> Option<Vec<u8>> {
        Some(self.ca.clone())
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            self.gateway.stop().await;
            Ok(())
        })
    }
}
