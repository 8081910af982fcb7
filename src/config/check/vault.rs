//! The check of the way to Vault, and of the login there.

use std::collections::BTreeMap;

use super::Checker;
use crate::config::{Auth, Header, HeaderSource, Literal, TokenSource, Vault, raw, rule};

impl Checker {
    pub(super) fn vault(
        &mut self,
        raw: &raw::Vault,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Option<Vault> {
        let address = if self.places.written("vault.address") {
            self.by("vault.address", raw.address.as_deref(), rule::vault_address)
        } else {
            self.address_of(env("VAULT_ADDR"))
        };
        let namespace = self.by(
            "vault.namespace",
            raw.namespace.as_deref(),
            rule::vault_path,
        );
        let ca_file = self.by("vault.caFile", raw.ca_file.as_deref(), rule::file);
        let tls_server_name = self.by(
            "vault.tlsServerName",
            raw.tls_server_name.as_deref(),
            rule::host,
        );
        let headers = self.headers("vault.headers", raw.headers.as_ref());
        let redirect_hosts = raw.redirect_hosts.as_ref().map(|hosts| {
            let hosts = hosts.iter().enumerate();
            let checked = hosts.filter_map(|(index, host)| {
                let at = format!("vault.redirectHosts[{index}]");
                self.by(&at, Some(host), rule::host_pattern)
            });
            checked.collect()
        });
        let auth = raw.auth.as_ref().and_then(|auth| self.auth(auth));
        Some(Vault {
            address: address?,
            namespace,
            ca_file,
            tls_server_name,
            headers,
            redirect_hosts,
            auth: auth?,
        })
    }

    /// The headers below `path`.
    pub(super) fn headers(
        &mut self,
        path: &str,
        raw: Option<&BTreeMap<String, raw::Header>>,
    ) -> Vec<Header> {
        let mut headers = Vec::new();
        for (name, raw) in raw.into_iter().flatten() {
            let path = format!("{path}.{name}");
            let at = |key: &str| format!("{path}.{key}");
            let checked = rule::header_name(name).map_err(|wrong| {
                self.report_key(&path, format!("`{path}` {wrong}"));
            });
            let value = self.by(&at("value"), raw.value.as_deref(), rule::header_value);
            let env = self.by(&at("env"), raw.env.as_deref(), rule::variable);
            let file = self.by(&at("file"), raw.file.as_deref(), rule::file);
            let value = value
                .map(|value| HeaderSource::Value(Literal::new(value)))
                .or(env.map(HeaderSource::Env))
                .or(file.map(HeaderSource::File));
            if let (Ok(name), Some(value)) = (checked, value) {
                headers.push(Header { name, value });
            }
        }
        headers
    }

    fn address_of(&mut self, variable: Option<String>) -> Option<String> {
        let Some(address) = variable.filter(|address| !address.is_empty()) else {
            self.report_key(
                "vault.address",
                "`vault` lacks `address`, and `VAULT_ADDR` is not set; one of them is needed"
                    .to_owned(),
            );
            return None;
        };
        rule::vault_address(&address)
            .map_err(|wrong| {
                let message =
                    format!("`vault` lacks `address`, and `VAULT_ADDR`, used instead, {wrong}");
                self.report_key("vault.address", message);
            })
            .ok()
    }

    fn auth(&mut self, raw: &raw::Auth) -> Option<Auth> {
        let at = |key: &str| format!("vault.auth.{key}");
        let token = raw.token.as_ref().and_then(|token| {
            let file = self.by(&at("token.file"), token.file.as_deref(), rule::file);
            let env = self.by(&at("token.env"), token.env.as_deref(), rule::variable);
            file.map(TokenSource::File)
                .or(env.map(TokenSource::Env))
                .map(Auth::Token)
        });
        let kubernetes = raw.kubernetes.as_ref().and_then(|method| {
            let mount = self.by_or(
                &at("kubernetes.mount"),
                method.mount.as_deref(),
                "kubernetes",
                rule::auth_mount,
            );
            let role = self.by(&at("kubernetes.role"), method.role.as_deref(), rule::role);
            let token_file = self.by_or(
                &at("kubernetes.tokenFile"),
                method.token_file.as_deref(),
                raw::SERVICE_ACCOUNT_TOKEN,
                rule::file,
            );
            Some(Auth::Kubernetes {
                mount: mount?,
                role: role?,
                token_file: token_file?,
            })
        });
        let app_role = raw.app_role.as_ref().and_then(|method| {
            let mount = method.mount.as_deref();
            let mount = self.by_or(&at("appRole.mount"), mount, "approle", rule::auth_mount);
            let role_id = method.role_id_file.as_deref();
            let role_id_file = self.by(&at("appRole.roleIdFile"), role_id, rule::file);
            let secret_id = method.secret_id_file.as_deref();
            let secret_id_file = self.by(&at("appRole.secretIdFile"), secret_id, rule::file);
            Some(Auth::AppRole {
                mount: mount?,
                role_id_file: role_id_file?,
                secret_id_file: secret_id_file?,
            })
        });
        let jwt = raw.jwt.as_ref().and_then(|method| {
            let mount = self.by_or(
                &at("jwt.mount"),
                method.mount.as_deref(),
                "jwt",
                rule::auth_mount,
            );
            let role = self.by(&at("jwt.role"), method.role.as_deref(), rule::role);
            let token_file = self.by(
                &at("jwt.tokenFile"),
                method.token_file.as_deref(),
                rule::file,
            );
            Some(Auth::Jwt {
                mount: mount?,
                role: role?,
                token_file: token_file?,
            })
        });
        token.or(kubernetes).or(app_role).or(jwt)
    }
}
