//! What a person must do about a refusal: one sentence for each code that is met in practice.
//!
//! The codes are those of Microsoft's page "Microsoft Entra authentication and authorization error codes".

/// What advice may name. Never a secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) tenant: &'a str,
    pub(super) client_id: &'a str,
    /// What the token is for.
    pub(super) scope: &'a str,
    /// The certificate's thumbprint, where there is one.
    pub(super) thumbprint: Option<&'a str>,
}

/// The sentence for an `AADSTS` code, if there is one.
pub(super) fn for_code(code: u32, about: About<'_>) -> Option<String> {
    let About { tenant, client_id, scope, thumbprint } = about;
    let certificate = thumbprint.map_or_else(|| "the certificate".to_owned(), |print| format!("certificate {print}"));
    Some(match code {
        7_000_215 => format!(
            "The secret is not one of application {client_id} in tenant {tenant}: put the secret's value, not its id, into identity.client_secret."
        ),
        7_000_222 => format!(
            "The client secrets of application {client_id} in tenant {tenant} have expired: make a new one there and put its value into identity.client_secret."
        ),
        7_000_112 => format!("Application {client_id} is disabled in tenant {tenant}: enable it there."),
        7_000_216 | 7_000_218 => {
            format!("Application {client_id} must prove who it is: give it a client secret or a certificate.")
        }
        700_016 => format!(
            "Tenant {tenant} has no application {client_id}: correct identity.client_id or identity.tenant, or register the application there."
        ),
        90_002 | 900_021 | 900_023 => {
            format!("There is no tenant {tenant} in this cloud: correct identity.tenant, or the output's cloud.")
        }
        50_034 | 50_020 => {
            format!("Tenant {tenant} does not know the account that was named: use an application of that tenant.")
        }
        50_053 | 53_003 => {
            format!("A policy of tenant {tenant} blocks application {client_id} from here: allow this gateway's address there.")
        }
        500_011 => format!("Tenant {tenant} does not know {scope}: check the output's cloud and identity.tenant."),
        70_011 => format!("Entra ID does not take the scope {scope}: check the output's cloud."),
        700_027 => format!(
            "Upload {certificate} to application {client_id} in tenant {tenant}, or use the one that is registered there."
        ),
        1_000_502 => format!(
            "Time is up for {certificate}: make a new one, upload it to application {client_id} and put it into identity.certificate."
        ),
        700_024 => "The proof is outside of its time: set this machine's clock; a token_file must be renewed by whoever writes it."
            .to_owned(),
        70_021 | 700_211..=700_213 => format!(
            "Application {client_id} in tenant {tenant} does not trust the issuer and subject of the token in identity.token_file: add them there as a federated credential."
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_codes_have_a_sentence_that_names_what_to_mend() {
        let about =
            About { tenant: "contoso", client_id: "app-1", scope: "https://x/.default", thumbprint: Some("AB12") };
        let codes = [
            (7_000_215, "app-1"),
            (7_000_222, "app-1"),
            (700_016, "app-1"),
            (90_002, "contoso"),
            (700_027, "AB12"),
            (700_024, "clock"),
            (50_034, "contoso"),
            (500_011, "https://x/.default"),
        ];
        for (code, named) in codes {
            let sentence = for_code(code, about).unwrap();
            assert!(sentence.contains(named) && sentence.ends_with('.'), "{code}: {sentence}");
        }
        assert_eq!(for_code(1, about), None);
    }
}
