//! The check of the receivers of pushes.

use super::Checker;
use crate::config::{Credential, Push, Receiver, raw, rule};

impl Checker {
    pub(super) fn push(&mut self, raw: &raw::Push) -> Push {
        let mut receiver = |path: &str, raw: Option<&raw::Receiver>| {
            let raw = raw?;
            self.receiver(path, raw)
        };
        let pushgateway = receiver("push.pushgateway", raw.pushgateway.as_ref());
        let remote_write = receiver("push.remoteWrite", raw.remote_write.as_ref());
        Push {
            pushgateway: pushgateway.map(|gateway| Receiver {
                url: gateway.url.trim_end_matches('/').to_owned(),
                ..gateway
            }),
            remote_write,
        }
    }

    fn receiver(&mut self, path: &str, raw: &raw::Receiver) -> Option<Receiver> {
        let at = |key: &str| format!("{path}.{key}");
        let url = self.by(&at("url"), raw.url.as_deref(), rule::url);
        let token = raw.bearer_token_file.as_deref();
        let token = self.by(&at("bearerTokenFile"), token, rule::file);
        let basic = raw.basic_auth.as_ref().and_then(|basic| {
            let username = basic.username.as_deref();
            let username = self.by(&at("basicAuth.username"), username, rule::username);
            let password = basic.password_file.as_deref();
            let password_file = self.by(&at("basicAuth.passwordFile"), password, rule::file);
            Some(Credential::Basic {
                username: username?,
                password_file: password_file?,
            })
        });
        if raw.bearer_token_file.is_some() && raw.basic_auth.is_some() {
            let both = format!(
                "`{path}` has `bearerTokenFile` and `basicAuth`; at most one of them is allowed"
            );
            self.report_key(&at("basicAuth"), both);
        }
        let headers = self.headers(&at("headers"), raw.headers.as_ref());
        let credential = token.map(Credential::Bearer).or(basic);
        if credential.is_some() && headers.iter().any(|header| header.name == "authorization") {
            let both = format!(
                "`{path}` has a credential and a header `Authorization`; at most one of them is allowed"
            );
            self.report_key(&at("headers"), both);
        }
        let ca_file = self.by(&at("caFile"), raw.ca_file.as_deref(), rule::file);
        Some(Receiver {
            url: url?,
            credential,
            headers,
            ca_file,
        })
    }
}
