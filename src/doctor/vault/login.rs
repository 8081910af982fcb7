//! The login to Vault, by whatever method, and what makes it work.

use jiff::SignedDuration;

use super::super::files;
use super::super::fix::{Fix, namespace, word};
use super::super::token::{account, audience, claims};
use super::super::{Ledger, Topic};
use super::{ask, grant};
use crate::config::{Auth, Config, TokenSource};
use crate::rights::{POLICY, Rights, policy_name};
use crate::vault::Vault;
use crate::vault::inquiry::Token;

/// A token that ends before this, and can't be prolonged, is told of.
const SOON: u64 = 3600;

/// How the prober logs in.
pub(super) fn method(config: &Config) -> &'static str {
    match &config.vault.auth {
        Auth::Token(_) => "token",
        Auth::Kubernetes { .. } => "kubernetes",
        Auth::AppRole { .. } => "appRole",
        Auth::Jwt { .. } => "jwt",
    }
}

/// Logs in. Returns whether that went well.
pub(super) async fn look(
    vault: &Vault,
    config: &Config,
    rights: &Rights,
    ledger: &mut Ledger,
) -> bool {
    let subject = method(config);
    if ledger.found(Topic::File, "vault.") {
        let why = "a file that it may need can't be used";
        ledger.skipped(Topic::VaultLogin, subject, why);
        return false;
    }
    if let Err(obstacle) = ask("log in", vault.ready()).await {
        let fix = let_in(config, rights, &obstacle.text);
        ledger.finding(Topic::VaultLogin, subject, obstacle.text, fix);
        return false;
    }
    let token = ask("look up the prober's own token", vault.own_token()).await;
    let text = match token {
        Ok(Some(token)) => {
            if token.ttl > 0 && token.ttl < SOON && !token.renewable && token.period == 0 {
                let text = format!(
                    "the token ends in {} and can't be renewed",
                    lifetime(&token)
                );
                ledger.warning(Topic::VaultLogin, subject, text, None);
            }
            format!(
                "policies {}; {}",
                token.policies.join(", "),
                lifetime(&token)
            )
        }
        Ok(None) | Err(_) => "let in".to_owned(),
    };
    ledger.good(Topic::VaultLogin, subject, text);
    true
}

fn lifetime(token: &Token) -> String {
    if token.ttl == 0 {
        return "without an end".to_owned();
    }
    let ttl = SignedDuration::from_secs(i64::try_from(token.ttl).unwrap_or(i64::MAX));
    format!("{ttl:#}")
}

/// What makes a login work that was refused with these words.
fn let_in(config: &Config, rights: &Rights, said: &str) -> Fix {
    let flag = namespace(config);
    // A method that is not mounted refuses as a login does that is.
    let refused = said.contains("answered 403") || said.contains("answered 404");
    let enable = |mount: &str, kind: &str, more: &str| {
        if !refused {
            return String::new();
        }
        format!(
            "vault auth list{flag} -format=yaml | grep -q '^{mount}/:' || {{\n  \
             vault auth enable{flag} -path={mount} {kind}\n{more}}}\n"
        )
    };
    let role = match &config.vault.auth {
        Auth::Token(TokenSource::File(file)) => return Fix::Run(files::token(config, file)),
        Auth::Token(TokenSource::Env(name)) => return Fix::Run(files::variable(config, name)),
        Auth::AppRole { mount, .. } => {
            let enable = enable(mount, "approle", "");
            return Fix::Run(enable + &files::app_role(config).unwrap_or_default());
        }
        Auth::Kubernetes {
            mount,
            role,
            token_file,
        } => {
            let more = format!(
                "  vault write{flag} auth/{mount}/config kubernetes_host=https://kubernetes.default.svc\n"
            );
            let enable = enable(mount, "kubernetes", &more);
            let bound = account(token_file).map_or_else(
                || format!("bound_service_account_names={POLICY} bound_service_account_namespaces={}", config.kubernetes.namespace),
                |(namespace, name)| format!("bound_service_account_names={name} bound_service_account_namespaces={namespace}"),
            );
            let audience = audience(token_file);
            let audience = audience.map_or_else(String::new, |audience| {
                format!(" audience={}", word(&audience))
            });
            format!(
                "{enable}vault write{flag} auth/{mount}/role/{role} {bound}{audience} token_policies={role} token_ttl=1h\n"
            )
        }
        Auth::Jwt {
            mount,
            role,
            token_file,
        } => {
            let more = format!(
                "  # and tell it whose tokens to take: vault write auth/{mount}/config …\n"
            );
            let enable = enable(mount, "jwt", &more);
            let claim = |name: &str| {
                claims(token_file).and_then(|claims| Some(claims[name].as_str()?.to_owned()))
            };
            let subject = claim("sub").map_or_else(String::new, |subject| {
                format!(" bound_subject={}", word(&subject))
            });
            let audience = audience(token_file).map_or_else(String::new, |audience| {
                format!(" bound_audiences={}", word(&audience))
            });
            format!(
                "{enable}vault write{flag} auth/{mount}/role/{role} role_type=jwt user_claim=sub{subject}{audience} token_policies={role} token_ttl=1h\n"
            )
        }
    };
    // A role of a policy that is not there lets in, but to nothing.
    let named = [policy_name(&config.vault.auth).to_owned()];
    match grant(config, rights, Some(&named)) {
        Fix::Run(policy) => Fix::Run(role + &policy),
        other => other,
    }
}

/// Gives the prober's logins a policy beside those that they have.
pub(super) fn attach(config: &Config, name: &str, policies: &[String]) -> String {
    let flag = namespace(config);
    let others = policies
        .iter()
        .filter(|policy| !["default", "root"].contains(&policy.as_str()));
    let all: Vec<_> = others.map(String::as_str).chain([name]).collect();
    let all = word(&all.join(","));
    match &config.vault.auth {
        Auth::Kubernetes { mount, role, .. } | Auth::Jwt { mount, role, .. } => {
            format!("vault write{flag} auth/{mount}/role/{role} token_policies={all}\n")
        }
        Auth::AppRole { mount, .. } => {
            format!("vault write{flag} auth/{mount}/role/{name} token_policies={all}\n")
        }
        Auth::Token(TokenSource::File(file)) => files::token(config, file),
        Auth::Token(TokenSource::Env(variable)) => files::variable(config, variable),
    }
}
