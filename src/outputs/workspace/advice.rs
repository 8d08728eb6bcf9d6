//! What an operator should do when a workspace does not take events: the status page's answer to "and now?".

use super::Config;
use crate::event::columns::Table;
use crate::outputs::identity::TokenStatus;
use crate::outputs::output::{Outcome, RetryReason};

/// Names for the texts.
#[derive(Debug)]
pub(super) struct Advisor {
    rule: String,
    stream: String,
    cloud: &'static str,
}

impl Advisor {
    pub(super) fn new(config: &Config) -> Self {
        Self { rule: config.dcr.clone(), stream: config.stream.clone(), cloud: config.cloud.ingestion_suffix() }
    }

    /// What to do about records that are no Windows events and have no columns in the table.
    pub(super) fn advise_shapeless(&self, table: Table) -> String {
        format!(
            "records that are no Windows events and that {table} has no columns for are sent whole in its column for raw data: \
             have their sender write a shape that is known (`gatepost columns` shows the row), or send them to an output with a \
             stream of their own and without `table`; this one's is {}",
            self.stream
        )
    }

    /// What to do about an outcome, `None` when waiting is enough.
    pub(super) fn advise(&self, outcome: &Outcome, token: &TokenStatus) -> Option<String> {
        let Self { rule, stream, cloud } = self;
        let Outcome::Retry { reason, .. } = outcome else { return None };
        Some(match reason {
            RetryReason::Token => token.advice.clone().unwrap_or_else(|| {
                "no token can be had from Entra ID; see `token` beside this, and check the way to it (proxy, firewall, DNS)"
                    .to_owned()
            }),
            RetryReason::Unauthorized if token.kind == "none" => {
                "the endpoint wants a token: configure the output's `identity`".to_owned()
            }
            RetryReason::Unauthorized if token.advice.is_some() => return token.advice.clone(),
            RetryReason::Unauthorized => format!(
                "a fresh token is not taken: check that `cloud` fits the endpoint (tokens are for …{cloud}) and that the clock is right"
            ),
            RetryReason::Forbidden => format!(
                "give the identity the role \"Monitoring Metrics Publisher\" on the data collection rule {rule}; a new role takes \
                 up to 30 minutes to act. Events are kept and go out by themselves"
            ),
            RetryReason::NotFound => format!(
                "check `dcr` ({rule}), `stream` ({stream}) and the endpoint's URL against the rule; `gatepost azure check` \
                 does. Events are kept and go out when it is right"
            ),
            RetryReason::Refused => {
                "something between here and Azure answers in its place: check the URL, `proxy`, and whether TLS is intercepted"
                    .to_owned()
            }
            RetryReason::Throttled => {
                "nothing, if it passes; if it lasts, spread the hosts over several data collection rules, or ask Microsoft \
                 for a higher limit of this one"
                    .to_owned()
            }
            RetryReason::Connect => {
                "check that the gateway reaches the endpoint: name, firewall, `proxy`, `ca_file`".to_owned()
            }
            RetryReason::Failed | RetryReason::Busy => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(kind: &'static str, advice: Option<&str>) -> TokenStatus {
        let advice = advice.map(str::to_owned);
        TokenStatus {
            kind,
            has_token: false,
            expires_in_seconds: None,
            certificate_ends: None,
            fetched: 0,
            last_error: None,
            advice,
        }
    }

    fn retry(reason: RetryReason) -> Outcome {
        Outcome::Retry { after: None, reason, may_be_taken: false, detail: String::new() }
    }

    #[test]
    fn whoever_must_act_is_told_what_to_do_with_the_names_in_it() {
        let config = Config { dcr: "dcr-7".to_owned(), stream: "Custom-X".to_owned(), ..Config::default() };
        let advisor = Advisor::new(&config);
        let advise = |reason| advisor.advise(&retry(reason), &token("arc", Some("renew the secret")));
        assert!(
            advise(RetryReason::Forbidden).is_some_and(|text| text.contains("dcr-7") && text.contains("Publisher"))
        );
        assert!(advise(RetryReason::NotFound).is_some_and(|text| text.contains("dcr-7") && text.contains("Custom-X")));
        assert_eq!(advise(RetryReason::Token).as_deref(), Some("renew the secret"));
        let without = advisor.advise(&retry(RetryReason::Unauthorized), &token("none", None));
        assert!(without.is_some_and(|text| text.contains("`identity`")));
        assert_eq!(advisor.advise(&Outcome::Accepted, &token("arc", None)), None);
    }
}
