//! The files and variables that a configuration names.

use std::path::Path;

use super::fix::{Command, File, Fix, Name, Plain, Script, Variable, Word};
use super::{Ledger, Topic};
use crate::config::{Auth, Config, Credential, Header, MetricsSource, TokenSource};
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
    let fix = "set the value that the gateway before Vault wants";
    headers(ledger, "vault", &config.vault.headers, fix);
    match &config.vault.auth {
        Auth::Token(TokenSource::File(file)) => {
            let fix = fix_of(token(config, file), file);
            credential(ledger, "vault.auth.token.file", file, fix);
        }
        Auth::Token(TokenSource::Env(name)) => set(config, ledger, name),
        Auth::Kubernetes { token_file, .. } => {
            let fix = account_token(config, token_file, Some("--audience=vault"));
            credential(ledger, "vault.auth.kubernetes.tokenFile", token_file, fix);
        }
        Auth::AppRole {
            role_id_file,
            secret_id_file,
            ..
        } => {
            let fix = fix_of(app_role(config), secret_id_file);
            let key = "vault.auth.appRole.roleIdFile";
            credential(ledger, key, role_id_file, fix.clone());
            let key = "vault.auth.appRole.secretIdFile";
            credential(ledger, key, secret_id_file, fix);
        }
        Auth::Jwt { token_file, .. } => {
            let fix = account_token(config, token_file, Some("--audience=vault"));
            credential(ledger, "vault.auth.jwt.tokenFile", token_file, fix);
        }
    }
    let access = config.operator.metrics.as_ref().map(MetricsSource::access);
    if let Some(file) = access.and_then(|access| access.ca_file.as_ref()) {
        authority(ledger, "operator.metrics.caFile", file);
    }
    if let Some(file) = access.and_then(|access| access.bearer_token_file.as_ref()) {
        let fix = account_token(config, file, None);
        credential(ledger, "operator.metrics.bearerTokenFile", file, fix);
    }
    for (key, receiver) in config.push.receivers() {
        if let Some(file) = &receiver.ca_file {
            authority(ledger, &format!("{key}.caFile"), file);
        }
        // A password may have blanks, and the receiver says whether it is the right one.
        if let Some(Credential::Bearer(file)) = &receiver.credential {
            let fix = Fix::words(format!(
                "write the receiver's token to {} on one line",
                file.display()
            ));
            credential(ledger, &format!("{key}.bearerTokenFile"), file, fix);
        }
        let fix = "set the value that the receiver wants";
        headers(ledger, key, &receiver.headers, fix);
    }
}

/// Looks at the values of headers.
fn headers(ledger: &mut Ledger, key: &str, headers: &[Header], fix: &str) {
    for header in headers {
        let key = format!("{key}.headers.{}", header.name);
        match http::header(header) {
            Ok(_) => ledger.good(Topic::File, &key, "has a value"),
            Err(text) => ledger.finding(Topic::File, &key, text, Fix::words(fix)),
        }
    }
}

/// The commands that fill a file, or words if they can't be given.
fn fix_of(script: Option<Script>, file: &Path) -> Fix {
    script.map_or_else(
        || {
            Fix::words(format!(
                "create a new credential and write it to {}",
                file.display()
            ))
        },
        Fix::from,
    )
}

/// A new token of Vault's for the prober, in its file.
pub(super) fn token(config: &Config, file: &Path) -> Option<Script> {
    let command = new_token(config)?.into_file(&File::parse(file)?);
    Some(Script::default().run(command))
}

/// The same, in its variable.
pub(super) fn variable(config: &Config, name: &str) -> Option<Script> {
    Some(Script::default().export(&Variable::parse(name)?, new_token(config)?))
}

fn new_token(config: &Config) -> Option<Command> {
    let command = Command::vault(config, "token create")?.arg(Word::pair("-policy", POLICY));
    Some(command.args("-period=24h -field=token"))
}

/// What gives the prober's AppRole its IDs, if that is how it logs in.
pub(super) fn app_role(config: &Config) -> Option<Script> {
    let Auth::AppRole {
        mount,
        role_id_file,
        secret_id_file,
    } = &config.vault.auth
    else {
        return None;
    };
    let role = Word::from("auth/").then(&Plain::parse(mount)?);
    let role = role.then("/role/").then(POLICY);
    let make = Command::vault(config, "write")?
        .arg(role.clone())
        .arg(Word::pair("token_policies", POLICY))
        .arg("token_ttl=1h");
    let role_id = Command::vault(config, "read")?
        .arg("-field=role_id")
        .arg(role.clone().then("/role-id"))
        .into_file(&File::parse(role_id_file)?);
    let secret_id = Command::vault(config, "write")?
        .args("-f -field=secret_id")
        .arg(role.then("/secret-id"))
        .into_file(&File::parse(secret_id_file)?);
    Some(Script::default().run(make).run(role_id).run(secret_id))
}

/// A token of the prober's ServiceAccount; in a pod, a projected volume brings one.
fn account_token(config: &Config, file: &Path, audience: Option<&'static str>) -> Fix {
    let script = || {
        let namespace = Name::parse(&config.kubernetes.namespace)?;
        let command = Command::new("kubectl create token vso-prober -n").arg(&namespace);
        let command = match audience {
            Some(audience) => command.arg(audience),
            None => command,
        };
        let remark =
            "in a pod, mount a projected volume with a serviceAccountToken there; elsewhere:";
        let command = command.into_file(&File::parse(file)?);
        Some(Script::default().remark(remark).run(command))
    };
    fix_of(script(), file)
}

/// A file with a credential: it can be read, and has something in it.
pub(super) fn credential(ledger: &mut Ledger, key: &str, file: &Path, fix: Fix) {
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
        let fix = variable(config, name).map_or_else(
            || Fix::words("set it to a Vault token for the prober"),
            Fix::from,
        );
        ledger.finding(Topic::File, key, text, fix);
    }
}

/// A file with certificates: a client that trusts them can be made.
pub(super) fn authority(ledger: &mut Ledger, key: &str, file: &Path) {
    let made = http::builder("https://", Some((key, file)))
        .and_then(|builder| builder.build().map_err(|error| causes(&error)));
    match made {
        Ok(_) => ledger.good(Topic::File, key, file.display().to_string()),
        Err(text) => {
            let fix = format!(
                "put the PEM certificate of the CA that signed the server's certificate into {}; its present content may still be needed",
                file.display()
            );
            ledger.finding(Topic::File, key, text, Fix::words(fix));
        }
    }
}
