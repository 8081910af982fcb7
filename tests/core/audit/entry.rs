//! Tests of entries: recorded lines of the operator's and of refused logins, and lines that are none.

use vso_prober::audit::entry::{Entry, Torn, VaultEntry, parse};

use super::{entries, folder, read};

/// The servers whose lines were recorded.
const SERVERS: [&str; 2] = ["openbao", "vault"];

fn of_vault(entry: Entry) -> VaultEntry {
    match entry {
        Entry::Vault(entry) => entry,
        Entry::Kube(event) => panic!("{event:?}"),
    }
}

#[test]
fn every_line_of_an_identity_but_a_logins_says_when_its_token_was_issued() {
    for server in SERVERS {
        let file = folder().join(format!("recorded/{server}-operator.jsonl"));
        let entries: Vec<_> = entries(&file).into_iter().map(of_vault).collect();
        for entry in &entries {
            let of_login = entry.path == "auth/kubernetes/login";
            let anonymous = of_login && !entry.login;
            assert_eq!(entry.issued.is_some(), !of_login, "{entry:?}");
            let named = entry.who.service_account == "vso-probe/probe";
            assert_eq!(named, !anonymous, "{entry:?}");
            assert_eq!(entry.token.is_some(), !anonymous, "{entry:?}");
        }
        let logins = entries.iter().filter(|entry| entry.login).count();
        assert_eq!((entries.len(), logins), (12, 1), "{server}");
    }
}

#[test]
fn a_refused_login_says_nobody() {
    for server in SERVERS {
        let file = folder().join(format!("recorded/{server}-refused-logins.jsonl"));
        let entries: Vec<_> = entries(&file).into_iter().map(of_vault).collect();
        for entry in &entries {
            assert!(!entry.login && entry.token.is_none(), "{entry:?}");
            assert_eq!(entry.who.display_name, "", "{entry:?}");
        }
        // An unknown role and an empty JWT have their error in the response, hashed.
        let refused = entries.iter().filter(|entry| entry.refused).count();
        assert_eq!((entries.len(), refused), (10, 3), "{server}");
    }
}

#[test]
fn what_the_operator_has_issued_is_read() {
    for entry in entries(&folder().join("recorded/kubernetes-operator.jsonl")) {
        let Entry::Kube(event) = entry else {
            panic!("{entry:?}")
        };
        assert_eq!(event.token_of.as_deref(), Some("vso-probe/probe"));
    }
}

#[test]
fn a_line_that_is_no_entry_is_told_from_one() {
    SERVERS.into_iter().for_each(of_server);
}

fn of_server(server: &str) {
    let lines = read(&folder().join(format!("recorded/{server}-operator.jsonl")));
    let line = lines.lines().nth(1).expect("a login");
    let check = |line: &str, expected: Result<(), Torn>| {
        assert_eq!(parse(line.as_bytes()).map(drop), expected, "{line}");
    };
    check(line, Ok(()));
    check(&format!("@cee: {line}"), Ok(()));
    check(&format!("{}{line}", &line[..line.len() / 2]), Ok(()));
    check(&line[..line.len() / 2], Err(Torn::NotWhole));
    check("", Err(Torn::NotWhole));
    check("<json:object name=\"auth\">", Err(Torn::Jsonx));
    check(r#"{"time":"2026-01-01T00:00:00Z"}"#, Err(Torn::NotAnEntry));
    check(
        r#"{"time":7,"type":"request","request":{"id":"a"}}"#,
        Err(Torn::NotAnEntry),
    );
    check(r#"[{"time":"2026-01-01T00:00:00Z"}]"#, Err(Torn::NotWhole));
    let raw = line.replacen(
        r#""client_token":"hmac-sha256:"#,
        r#""client_token":"hvs.CAESIJ"#,
        1,
    );
    check(&raw, Err(Torn::Unhashed));
    // What a client sends as its path is not a token of Vault's own.
    check(
        &line.replace("auth/kubernetes/login", "hvs.made-up"),
        Ok(()),
    );
}

#[test]
fn what_is_kept_of_an_entry_holds_no_hash() {
    let files = SERVERS.map(|server| {
        ["operator", "refused-logins"].map(|part| format!("recorded/{server}-{part}.jsonl"))
    });
    for file in files.as_flattened() {
        for entry in entries(&folder().join(file)) {
            let kept = serde_json::to_string(&entry).expect("JSON");
            assert!(!kept.contains("hmac"), "{kept}");
        }
    }
}
