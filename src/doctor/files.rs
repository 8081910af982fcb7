//! The files and variables that a configuration names.

use std::path::Path;

use super::fix::{Fix, here, namespace, word};
use super::{Ledger, Topic};
use crate::config::{Auth, Config, MetricsSource, TokenSource};
use crate::rights::POLICY;
use crate::wire::{causes, http};

/// Looks at each of them.
pub(super) fn look(config: &Config, ledger: &mut Ledger) {
    let count = config.probes.len();
    let plural = if count == 1 { "" } else { "s" };
    let text = format!("{count} probe{plural}");
    ledger.good(Topic::Configuration, &config.instance, text);
    if let Some(file) = &config.vault.ca_file {
        authority(ledger, "vault.caFile", file);
    }
    match &config.vault.auth {
        Auth::Token(TokenSource::File(file)) => {
            let fix = Fix::Run(token(config, file));
            credential(ledger, "vault.auth.token.file", file, fix);
        }
        Auth::Token(TokenSource::Env(name)) => set(config, ledger, name),
        Auth::Kubernetes { token_file, .. } => {
            let fix = account_token(config, token_file, "vault");
            credential(ledger, "vault.auth.kubernetes.tokenFile", token_file, fix);
        }
        Auth::AppRole {
            role_id_file,
            secret_id_file,
            ..
        } => {
            let fix = app_role(config).unwrap_or_default();
            let fix = || Fix::Run(fix.clone());
            credential(ledger, "vault.auth.appRole.roleIdFile", role_id_file, fix());
            let key = "vault.auth.appRole.secretIdFile";
            credential(ledger, key, secret_id_file, fix());
        }
        Auth::Jwt { token_file, .. } => {
            let fix = account_token(config, token_file, "vault");
            credential(ledger, "vault.auth.jwt.tokenFile", token_file, fix);
        }
    }
    let access = config.operator.metrics.as_ref().map(MetricsSource::access);
    if let Some(file) = access.and_then(|access| access.ca_file.as_ref()) {
        authority(ledger, "operator.metrics.caFile", file);
    }
    if let Some(file) = access.and_then(|access| access.bearer_token_file.as_ref()) {
        let fix = account_token(config, file, "");
        credential(ledger, "operator.metrics.bearerTokenFile", file, fix);
    }
    let remote = config.push.remote_write.as_ref();
    if let Some(file) = remote.and_then(|remote| remote.bearer_token_file.as_ref()) {
        let fix = Fix::Do(format!(
            "write the receiver's token into {} on one line",
            file.display()
        ));
        credential(ledger, "push.remoteWrite.bearerTokenFile", file, fix);
    }
}

/// A new token of Vault's for the prober, in its file.
pub(super) fn token(config: &Config, file: &Path) -> String {
    format!(
        "{} > {}\n",
        new_token(config),
        word(&file.display().to_string())
    )
}

/// The same, in its variable.
pub(super) fn variable(config: &Config, name: &str) -> String {
    format!("export {name}=\"$({})\"\n", new_token(config))
}

fn new_token(config: &Config) -> String {
    let flag = namespace(config);
    format!("vault token create{flag} -policy={POLICY} -period=24h -field=token")
}

/// What gives the prober's AppRole its IDs, if that is how it logs in.
pub(super) fn app_role(config: &Config) -> Option<String> {
    let Auth::AppRole {
        mount,
        role_id_file,
        secret_id_file,
    } = &config.vault.auth
    else {
        return None;
    };
    let role = format!("auth/{mount}/role/{POLICY}");
    let file = |file: &Path| word(&file.display().to_string());
    let flag = namespace(config);
    Some(format!(
        "vault write{flag} {role} token_policies={POLICY} token_ttl=1h\n\
         vault read{flag} -field=role_id {role}/role-id > {}\n\
         vault write{flag} -f -field=secret_id {role}/secret-id > {}\n",
        file(role_id_file),
        file(secret_id_file)
    ))
}

/// A token of the prober's ServiceAccount; in a pod, a projected volume brings one.
fn account_token(config: &Config, file: &Path, audience: &str) -> Fix {
    let audience = if audience.is_empty() {
        String::new()
    } else {
        format!(" --audience={audience}")
    };
    Fix::Run(format!(
        "# in a pod, mount a projected volume with a serviceAccountToken there; elsewhere:\n\
         kubectl create token vso-prober -n {}{audience} > {}\n",
        config.kubernetes.namespace,
        word(&file.display().to_string())
    ))
}

fn credential(ledger: &mut Ledger, key: &str, file: &Path, fix: Fix) {
    match http::credential(&format!("`{key}`"), file) {
        Ok(credential) if secrecy::ExposeSecret::expose_secret(&credential).is_empty() => {
            let text = format!("tried to read `{key}` from {}: it is empty", file.display());
            ledger.finding(Topic::File, key, text, fix);
        }
        Ok(_) => ledger.good(Topic::File, key, file.display().to_string()),
        Err(text) => ledger.finding(Topic::File, key, text, fix),
    }
}

fn set(config: &Config, ledger: &mut Ledger, name: &str) {
    let key = "vault.auth.token.env";
    let set = std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    if set {
        ledger.good(Topic::File, key, format!("`{name}` is set"));
    } else {
        let text =
            format!("tried to read the token for Vault from the environment: `{name}` is not set");
        let fix = variable(config, name);
        ledger.finding(Topic::File, key, text, Fix::Run(fix));
    }
}

/// A file with certificates: a client that trusts them can be made.
fn authority(ledger: &mut Ledger, key: &str, file: &Path) {
    let made = http::builder("https://", Some((key, file)))
        .and_then(|builder| builder.build().map_err(|error| causes(&error)));
    match made {
        Ok(_) => ledger.good(Topic::File, key, file.display().to_string()),
        Err(text) => {
            let fix = here(
                &format!("cat > {}", word(&file.display().to_string())),
                "-----BEGIN CERTIFICATE-----\n… the certificate of the CA that signed the server's …\n-----END CERTIFICATE-----",
            );
            ledger.finding(Topic::File, key, text, Fix::Run(fix));
        }
    }
}
