//! What is wrong with the files and addresses that the tunnels' configuration names.

use super::{Config, UpstreamProxies};
use crate::faults::Fault;
use crate::net::dns::Resolver;
use crate::net::listen;
use crate::net::tls_client::{Trust, client_config};

impl Config {
    /// Everything that is wrong with the files and addresses that it names. Makes nothing.
    pub fn faults(&self) -> Vec<Fault> {
        if self.listeners.is_empty() {
            return Vec::new();
        }
        let listeners = self.listeners.iter().enumerate().flat_map(|(n, listener)| {
            let tls = listener.tls.faults().into_iter().map(|fault| fault.within("tls"));
            let listen = listen::fault(listener.listen).map(|reason| Fault::stops("listen", reason));
            listen.into_iter().chain(tls).map(move |fault| fault.within(&format!("listeners[{n}]")))
        });
        let proxies = self.upstream_proxies.iter().enumerate().filter_map(|(n, proxies)| {
            let reason = proxies.trust().and_then(|trust| client_config(&trust).err())?;
            Some(Fault::stops(format!("upstream_proxies[{n}].ca_file"), reason.to_string()))
        });
        let dns = self.goes_direct().then(|| Resolver::fault(&self.dns)).flatten();
        let dns = dns.map(|reason| Fault::stops("dns.servers", reason.to_string()));
        let log = self.access_log.faults().into_iter().map(|fault| fault.within("access_log"));
        listeners.chain(proxies).chain(dns).chain(log).collect()
    }
}

impl UpstreamProxies {
    /// Whom to believe, where any of them is spoken to over TLS.
    pub fn trust(&self) -> Option<Trust> {
        let any_tls = self.proxies.iter().any(|proxy| proxy.url.starts_with("https://"));
        any_tls.then(|| self.ca_file.clone().map_or(Trust::System, Trust::File))
    }
}
