//! The check of the login to Vault, by any method, and its fix.

use jiff::SignedDuration;

use super::super::files;
use super::super::fix::{Command, Fix, Name, Plain, Script, Word};
use super::super::token::{account, audience, claims};
use super::super::{Ledger, Topic};
use super::{ask, granted};
use crate::config::{Auth, Config, TokenSource};
use crate::model::record::Hindrance;
use crate::rights::{POLICY, Rights, policy_name};
use crate::vault::Vault;
use crate::vault::introspect::Token;

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
        let why = "a file that the login may need can't be used";
        ledger.skipped(Topic::VaultLogin, subject, why);
        return false;
    }
    if let Err(obstacle) = ask("log in", vault.ready()).await {
        let fix = match obstacle.how {
            Hindrance::Denied => let_in(config, rights, obstacle.status()),
            // A role has no part in it: a redirect that may not be followed, or a Vault that does not serve.
            _ => Fix::words(
                "make sure that Vault itself answers at `vault.address`; its response says more",
            ),
        };
        ledger.finding(Topic::VaultLogin, subject, obstacle.text, fix);
        return false;
    }
    let token = ask("look up the prober's own token", vault.own_token()).await;
    let text = match token {
        Ok(Some(token)) => {
            // Whoever logs in gets another one in time.
            let given = matches!(config.vault.auth, Auth::Token(_));
            if given && token.ttl > 0 && token.ttl < SOON && !token.renewable && token.period == 0 {
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
        return "never expires".to_owned();
    }
    let ttl = SignedDuration::from_secs(i64::try_from(token.ttl).unwrap_or(i64::MAX));
    format!("{ttl:#}")
}

/// What makes a login work that was refused with these words.
fn let_in(config: &Config, rights: &Rights, status: Option<u16>) -> Fix {
    let by_hand = || {
        Fix::words(
            "fix the method, its role and the policy that `vso-prober doctor --print-policy` prints in Vault: a name in \
             the configuration or the prober's token is not valid in a command",
        )
    };
    let (mount, key) = match &config.vault.auth {
        Auth::Token(TokenSource::File(file)) => {
            return files::token(config, file).map_or_else(by_hand, Fix::from);
        }
        Auth::Token(TokenSource::Env(name)) => {
            return files::variable(config, name).map_or_else(by_hand, Fix::from);
        }
        Auth::Kubernetes { mount, .. } => (mount, "kubernetes"),
        Auth::AppRole { mount, .. } => (mount, "appRole"),
        Auth::Jwt { mount, .. } => (mount, "jwt"),
    };
    if let Some(bare) = mount.strip_prefix("auth/") {
        return Fix::words(format!(
            "set `vault.auth.{key}.mount` to `{bare}`: Vault adds `auth/` itself"
        ));
    }
    // A method that is not mounted refuses as a login does that is.
    let refused = matches!(status, Some(403 | 404));
    made(config, rights, refused).map_or_else(by_hand, Fix::from)
}

/// The method, where it may be missing, the role, and the policy that it names.
fn made(config: &Config, rights: &Rights, enable: bool) -> Option<Script> {
    let (mount, kind) = match &config.vault.auth {
        Auth::Kubernetes { mount, .. } => (mount, "kubernetes"),
        Auth::AppRole { mount, .. } => (mount, "approle"),
        Auth::Jwt { mount, .. } => (mount, "jwt"),
        Auth::Token(_) => return None,
    };
    let mount = Plain::parse(mount)?;
    let script = if enable {
        enabled(config, &mount, kind)?
    } else {
        Script::default()
    };
    if let Auth::AppRole { .. } = config.vault.auth {
        return Some(script.and(files::app_role(config)?));
    }
    // A role of a policy that is not there lets in, but to nothing.
    let named = [policy_name(&config.vault.auth).to_owned()];
    let policy = granted(config, rights, Some(&named))?;
    Some(script.run(role(config)?).and(policy))
}

/// Mounts the method, if nothing is mounted there.
fn enabled(config: &Config, mount: &Plain, kind: &'static str) -> Option<Script> {
    let listed = Command::vault(config, "auth list")?
        .arg("-format=yaml")
        .pipe("grep -Fqx")
        .arg(Word::from(mount).then("/:"));
    let enable = Command::vault(config, "auth enable")?
        .arg(Word::pair("-path", mount))
        .arg(kind);
    let script = Script::default().run(enable);
    let script = match kind {
        "kubernetes" => {
            let path = Word::from("auth/").then(mount).then("/config");
            let command = Command::vault(config, "write")?.arg(path);
            script.run(command.arg("kubernetes_host=https://kubernetes.default.svc"))
        }
        "jwt" => script.remark("and configure whose tokens it accepts"),
        _ => script,
    };
    Some(Script::default().unless(listed, script))
}

/// The role that the prober logs in as, bound to what its token says of it.
fn role(config: &Config) -> Option<Command> {
    let (mount, role, file) = match &config.vault.auth {
        Auth::Kubernetes {
            mount,
            role,
            token_file,
        }
        | Auth::Jwt {
            mount,
            role,
            token_file,
        } => (Plain::parse(mount)?, Plain::parse(role)?, token_file),
        Auth::Token(_) | Auth::AppRole { .. } => return None,
    };
    let path = Word::from("auth/").then(&mount).then("/role/").then(&role);
    let mut command = Command::vault(config, "write")?.arg(path);
    let audience_key = if let Auth::Kubernetes { .. } = config.vault.auth {
        let (namespace, name) = account(file)
            .unwrap_or_else(|| (config.kubernetes.namespace.clone(), POLICY.to_owned()));
        let (namespace, name) = (Name::parse(&namespace)?, Name::parse(&name)?);
        command = command
            .arg(Word::pair("bound_service_account_names", &name))
            .arg(Word::pair("bound_service_account_namespaces", &namespace));
        "audience"
    } else {
        command = command.args("role_type=jwt user_claim=sub");
        let subject = claims(file).and_then(|claims| Some(claims["sub"].as_str()?.to_owned()));
        if let Some(subject) = subject {
            let subject = Plain::parse(&subject)?;
            command = command.arg(Word::pair("bound_subject", &subject));
        }
        "bound_audiences"
    };
    if let Some(audience) = audience(file) {
        command = command.arg(Word::pair(audience_key, &Plain::parse(&audience)?));
    }
    let policies = Word::pair("token_policies", &role);
    Some(command.arg(policies).arg("token_ttl=1h"))
}

/// Gives the prober's logins a policy beside those that they have.
pub(super) fn attach(config: &Config, name: &str, policies: &[String]) -> Option<Script> {
    let others = policies
        .iter()
        .filter(|policy| !["default", "root"].contains(&policy.as_str()));
    let all: Option<Vec<_>> = others
        .map(String::as_str)
        .chain([name])
        .map(|policy| Plain::parse(policy).as_ref().map(Word::from))
        .collect();
    let policies = Word::pair("token_policies", Word::list(all?));
    let (mount, role) = match &config.vault.auth {
        Auth::Kubernetes { mount, role, .. } | Auth::Jwt { mount, role, .. } => {
            (mount, role.as_str())
        }
        Auth::AppRole { mount, .. } => (mount, name),
        Auth::Token(TokenSource::File(file)) => return files::token(config, file),
        Auth::Token(TokenSource::Env(variable)) => return files::variable(config, variable),
    };
    let path = Word::from("auth/").then(&Plain::parse(mount)?);
    let path = path.then("/role/").then(&Plain::parse(role)?);
    let command = Command::vault(config, "write")?.arg(path).arg(policies);
    Some(Script::default().run(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{EXAMPLE, load};

    fn fix(mount: &str, role: &str, policies: &[&str]) -> (Fix, Option<Script>) {
        let mut config = load(EXAMPLE, "prober.yaml", |_| None).expect("the example is good");
        config.vault.auth = Auth::Kubernetes {
            mount: mount.to_owned(),
            role: role.to_owned(),
            token_file: "/no/such/file".into(),
        };
        let rights = Rights::of(&config, false);
        let policies: Vec<_> = policies.iter().map(|policy| (*policy).to_owned()).collect();
        (
            let_in(&config, &rights, Some(403)),
            attach(&config, role, &policies),
        )
    }

    #[test]
    fn a_method_is_never_mounted_under_a_doubled_path() {
        let (fix, _) = fix("auth/k8s", "prober", &[]);
        let told = fix.to_string();
        assert!(matches!(fix, Fix::Do(_)), "{told}");
        assert!(
            told.contains("set `vault.auth.kubernetes.mount` to `k8s`"),
            "{told}"
        );
    }

    #[test]
    fn a_role_and_policies_are_values_of_a_plain_form_or_words() {
        let (good, attached) = fix("k8s", "prober", &["default", "other"]);
        let told = good.to_string();
        assert!(
            told.contains("vault auth enable -path=k8s kubernetes"),
            "{told}"
        );
        assert!(attached.is_some());
        let (odd, attached) = fix("k8s", "x';id;'", &["other"]);
        assert!(matches!(odd, Fix::Do(_)) && attached.is_none(), "{odd}");
        for policy in ["a,root", "@/etc/passwd", "a b", "\u{1b}[2J"] {
            assert!(fix("k8s", "prober", &[policy]).1.is_none(), "{policy:?}");
        }
    }
}
