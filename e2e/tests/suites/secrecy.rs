//! Trials of secrecy: nothing that the program prints holds a secret, at any log level.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use e2e::scenario::{Outcome, Probe, Prober, Recording, Scene, Suite, Tap};
use rustix::process::Signal;
use serde_json::{Value, json};
use vso_prober::model::Step;

/// As loud as it gets.
const LOUD: [(&str, &str); 2] = [("text", "table"), ("json", "json")];

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("secrecy")
        .trial("runs_that_succeed", success)
        .trial("runs_that_fail", failure)
        .trial("saved_records_are_judged_elsewhere", saved)
        .trial("each_login", logins)
        .trial("credentials_that_are_refused", refused)
        .trial("stopped_and_cleaned_up", stopped)
        .trial("secrets_in_the_wrong_place", misplaced)
        .trial("answers_that_make_no_sense", nonsense)
}

/// What must not be printed, gathered while the program ran.
struct Secrets {
    tap: Tap,
    recording: Recording,
    more: BTreeSet<String>,
}

impl Secrets {
    async fn gather(scene: &Scene) -> Result<Self> {
        let read = |path: &std::path::Path| {
            Ok::<_, anyhow::Error>(std::fs::read_to_string(path)?.trim().to_owned())
        };
        let kubeconfig: Value = serde_json::from_str(&read(scene.lab().prober_kubeconfig())?)?;
        let token = kubeconfig["users"][0]["user"]["token"]
            .as_str()
            .context("a token")?;
        let more = BTreeSet::from([
            token.to_owned(),
            read(scene.lab().prober_token_file())?,
            read(scene.lab().approle_files().1)?,
            scene.lab().vault().token().to_owned(),
        ]);
        Ok(Self {
            tap: Tap::start(scene.lab().vault().address()).await?,
            recording: scene.record().await?,
            more,
        })
    }

    /// Tokens, nonces and credentials: at least `least` beyond those that were known before.
    fn all(&self, least: usize) -> Result<BTreeSet<String>> {
        let mut seen = self.tap.tokens();
        seen.extend(self.tap.values("nonce"));
        for key in ["nonce", "username", "password", "_raw"] {
            seen.extend(self.recording.values(key));
        }
        ensure!(
            seen.len() >= least,
            "only {} secrets were seen, not {least}",
            seen.len()
        );
        seen.extend(self.more.iter().cloned());
        Ok(seen)
    }

    /// Insists that none of them, nor its base64, was printed, and that much was.
    fn kept(&self, least: usize, outcomes: &[Outcome]) -> Result<()> {
        let printed = outcomes
            .iter()
            .map(|outcome| outcome.stdout.clone() + &outcome.stderr);
        self.not_in(least, printed)
    }

    /// Insists that none of them, nor its base64, stands in these texts, and that there were many.
    fn not_in(&self, least: usize, texts: impl IntoIterator<Item = String>) -> Result<()> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD_NO_PAD;
        let secrets = self.all(least)?;
        for text in texts {
            for secret in &secrets {
                // The last characters of base64 depend on what follows.
                let encoded = STANDARD_NO_PAD.encode(secret);
                let encoded = &encoded[..encoded.len() - encoded.len() % 4];
                for (form, shown) in [("it", secret.as_str()), ("its base64", encoded)] {
                    ensure!(
                        shown.len() < 8 || !text.contains(shown),
                        "{form} is told: a secret of {} characters that begins with `{}`, in {text}",
                        secret.len(),
                        &secret[..4]
                    );
                }
            }
        }
        Ok(())
    }
}

/// Runs the same in each form of log and of outcome, as loud as it gets.
async fn loudly(prober: &Prober, code: i32) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (log, output) in LOUD {
        let prober = prober.clone().env("RUST_LOG", "trace");
        let arguments = [
            "-vv",
            "--log-format",
            log,
            "probe",
            "--parallel",
            "4",
            "-o",
            output,
        ];
        let outcome = prober.run(&arguments).await?.exits(code)?;
        // Of the program itself at least, something was said in detail.
        outcome.says(&["DEBUG"])?;
        outcomes.push(outcome);
    }
    outcomes.push(
        prober
            .run(&["-vv", "probe", "--parallel", "4", "-o", "junit"])
            .await?
            .exits(code)?,
    );
    Ok(outcomes)
}

async fn success(scene: &Scene) -> Result<()> {
    let secrets = Secrets::gather(scene).await?;
    let probes = [
        Probe::kv2("kv2"),
        Probe::kv1("kv1").steps(&[Step::Create, Step::Delete]),
        Probe::database("db"),
    ];
    let outcomes = loudly(&scene.prober(probes).vault(&secrets.tap.address()), 0).await?;
    // Three runs: a token each, three nonces and one, a user name and a password, and what is `_raw`.
    secrets.kept(3 * 8, &outcomes)
}

async fn failure(scene: &Scene) -> Result<()> {
    let secrets = Secrets::gather(scene).await?;
    let hasty = |name: &str| {
        Probe::kv2(name)
            .steps(&[Step::Create])
            .limits("1500ms", "2s")
    };
    let probes = [
        hasty("absent").auth("absent"),
        hasty("elsewhere").target("path", "elsewhere"),
        // A Secret that stays tampered with: the operator polls only after the prober has given up.
        Probe::kv2("stale")
            .target("refreshAfter", "1s")
            .steps(&[Step::Create, Step::Tamper])
            .limits("1us", "3s"),
        Probe::database("leaking").minimal(),
    ];
    let prober = scene.prober(probes).vault(&secrets.tap.address());
    let outcomes = loudly(&prober, 1).await?;
    secrets.kept(3 * 6, &outcomes)
}

async fn saved(scene: &Scene) -> Result<()> {
    let secrets = Secrets::gather(scene).await?;
    let probes = [
        Probe::hasty("absent", &[Step::Create]).auth("absent"),
        Probe::kv2("late")
            .steps(&[Step::Create, Step::Delete])
            .limits("1us", "15s"),
        Probe::database("leaking").minimal(),
    ];
    let prober = scene.prober(probes).vault(&secrets.tap.address());
    let folder = scene.path("records");
    let argument = folder.to_str().context("a path of UTF-8")?;
    let told = prober
        .run(&["probe", "--record", argument])
        .await?
        .exits(1)?;

    let mut files = Vec::new();
    for probe in ["absent", "late", "leaking"] {
        let named = |entry: &std::fs::DirEntry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with(probe))
        };
        let entries = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        let entry = entries.into_iter().find(named);
        let entry = entry.with_context(|| format!("no record of `{probe}`"))?;
        ensure!(entry.metadata()?.permissions().mode() & 0o777 == 0o600);
        files.push(entry.path());
    }
    ensure!(
        std::fs::read_dir(&folder)?.count() == files.len(),
        "more is left"
    );
    let again = prober.judge(&files, "table").await?.exits(1)?;
    ensure!(again.stdout == told.stdout, "{told}\n{again}");
    let runs = prober.judge(&files, "json").await?.exits(1)?.runs()?;
    ensure!(runs.len() == files.len(), "{runs:?}");

    let records = files.iter().map(std::fs::read_to_string);
    let records = records.collect::<Result<Vec<_>, _>>()?;
    // A token a run at least, two nonces, and two user names and passwords.
    secrets.not_in(6, records)?;

    std::fs::write(&files[0], "{}")?;
    let refused = prober.judge(&files, "table").await?.exits(2)?;
    refused.says(&["is not a record"])
}

async fn logins(scene: &Scene) -> Result<()> {
    let secrets = Secrets::gather(scene).await?;
    let answer = scene
        .lab()
        .vault()
        .write(
            "auth/token/create",
            json!({"policies": ["vso-prober"], "ttl": "1h"}),
        )
        .await?;
    let token = answer["auth"]["client_token"]
        .as_str()
        .context("Vault made no token")?;
    let (role, secret) = scene.lab().approle_files();
    let jwt = scene.lab().prober_token_file();
    let mut outcomes = Vec::new();
    for auth in [
        json!({"token": {"env": "GIVEN_TOKEN"}}),
        json!({"token": {"file": scene.file(token)?}}),
        json!({"appRole": {"mount": "approle", "roleIdFile": role, "secretIdFile": secret}}),
        json!({"jwt": {"mount": "jwt", "role": "vso-prober", "tokenFile": jwt}}),
        json!({"kubernetes": {"mount": "kubernetes", "role": "vso-prober", "tokenFile": jwt}}),
    ] {
        let short = Probe::kv2("login").steps(&[Step::Create, Step::Delete]);
        let prober = scene
            .prober([short])
            .vault(&secrets.tap.address())
            .auth(auth)
            .env("GIVEN_TOKEN", token)
            .env("RUST_LOG", "trace");
        outcomes.push(
            prober
                .run(&["-vv", "probe", "-o", "json"])
                .await?
                .exits(0)?,
        );
    }
    ensure!(
        secrets.tap.tokens().contains(token),
        "the tap missed a token that was sent"
    );
    // The given token, three of logins, five nonces.
    secrets.kept(4 + 5, &outcomes)
}

async fn refused(scene: &Scene) -> Result<()> {
    let mut secrets = Secrets::gather(scene).await?;
    let (token, secret, jwt) = (
        "s.refusedrefusedrefused",
        "11111111-refused-secret-id",
        "eyJhbGciOiJub25lIn0.cmVmdXNlZA.cmVmdXNlZA",
    );
    secrets
        .more
        .extend([token, secret, jwt, "refused-bearer-token"].map(str::to_owned));
    let role = scene.lab().approle_files().0;
    let mut outcomes = Vec::new();
    for auth in [
        json!({"token": {"env": "GIVEN_TOKEN"}}),
        // No header can hold it.
        json!({"token": {"file": scene.file(&format!("{token}\nsecond line"))?}}),
        json!({"appRole": {"mount": "approle", "roleIdFile": role, "secretIdFile": scene.file(secret)?}}),
        json!({"jwt": {"mount": "jwt", "role": "vso-prober", "tokenFile": scene.file(jwt)?}}),
        json!({"kubernetes": {"mount": "kubernetes", "role": "vso-prober", "tokenFile": scene.file(jwt)?}}),
    ] {
        let prober = scene
            .prober([Probe::hasty("refused", &[Step::Create])])
            .vault(&secrets.tap.address())
            .auth(auth);
        let prober = prober.env("GIVEN_TOKEN", token).env("RUST_LOG", "trace");
        outcomes.push(
            prober
                .run(&["-vv", "probe", "-o", "json"])
                .await?
                .exits(3)?,
        );
    }
    for bearer in ["refused-bearer-token", "refused-bearer-token\nsecond line"] {
        let kubeconfig = scene.kubeconfig(|_, user| user["token"] = bearer.into())?;
        let prober = scene
            .prober([Probe::hasty("refused", &[Step::Create])])
            .kubeconfig(&kubeconfig)
            .env("RUST_LOG", "trace");
        outcomes.push(
            prober
                .run(&["-vv", "probe", "-o", "table"])
                .await?
                .exits(3)?,
        );
    }
    secrets.kept(1, &outcomes)
}

async fn stopped(scene: &Scene) -> Result<()> {
    let secrets = Secrets::gather(scene).await?;
    let waiting = || {
        Probe::kv2("waiting")
            .target("refreshAfter", "30s")
            .steps(&[Step::Create, Step::Update])
    };
    let prober = scene
        .prober([waiting()])
        .vault(&secrets.tap.address())
        .env("RUST_LOG", "trace");
    let mut outcomes = Vec::new();
    for signal in [Signal::INT, Signal::KILL] {
        let running = prober.start(&["-vv", "probe"])?;
        scene.secret("waiting").await?;
        running.signal(signal)?;
        outcomes.push(running.ended().await?);
    }
    outcomes.push(
        prober
            .run(&["-vv", "cleanup", "--all", "--dry-run"])
            .await?
            .exits(0)?,
    );
    outcomes.push(prober.run(&["-vv", "cleanup", "--all"]).await?.exits(0)?);
    secrets.kept(5, &outcomes)
}

async fn misplaced(scene: &Scene) -> Result<()> {
    let mut secrets = Secrets::gather(scene).await?;
    let token = "hvs.CAESIMisplacedMisplacedMisplaced";
    secrets.more.insert(token.to_owned());
    let probe = || Probe::hasty("misplaced", &[Step::Create]);
    let mut outcomes = Vec::new();
    for auth in [
        json!({"token": token}),
        json!({"token": {"env": token}}),
        json!({"token": {"value": token}}),
        json!({"token": {"file": [token]}}),
        json!(token),
        json!([token]),
    ] {
        let prober = scene.prober([probe()]).auth(auth);
        outcomes.push(prober.run(&["-vv", "probe"]).await?.exits(2)?);
        outcomes.push(prober.run(&["-vv", "config", "check"]).await?.exits(2)?);
    }
    let in_url = scene
        .lab()
        .vault()
        .address()
        .replace("http://", &format!("http://user:{token}@"));
    let in_url = scene
        .prober([probe()])
        .vault(&in_url)
        .env("RUST_LOG", "trace");
    outcomes.push(in_url.run(&["-vv", "probe"]).await?);
    secrets.kept(0, &outcomes)
}

async fn nonsense(scene: &Scene) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    // Something that repeats whatever it is sent, as a proxy in its error page might.
    let mut secrets = Secrets::gather(scene).await?;
    let token = "s.echoedechoedechoedechoed";
    secrets.more.insert(token.to_owned());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let echo = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut request).await {
                    let body = String::from_utf8_lossy(&request[..length]).into_owned();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    if stream.write_all((head + &body).as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let mut outcomes = Vec::new();
    for auth in [
        json!({"token": {"env": "GIVEN_TOKEN"}}),
        json!({"kubernetes": {"mount": "kubernetes", "role": "vso-prober", "tokenFile": scene.lab().prober_token_file()}}),
    ] {
        let prober = scene
            .prober([Probe::hasty("nonsense", &[Step::Create])])
            .vault(&address)
            .auth(auth);
        let prober = prober.env("GIVEN_TOKEN", token).env("RUST_LOG", "trace");
        outcomes.push(prober.run(&["-vv", "probe"]).await?.exits(3)?);
    }
    echo.abort();
    secrets.kept(0, &outcomes)
}
