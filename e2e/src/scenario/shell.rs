//! The administrator's shell, with `kubectl`, `vault` and `helm`.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Scene;
use crate::lab::{NAMESPACE, Tools};

impl Scene {
    /// Runs a script as an administrator would, and has what it says.
    pub async fn shell(&self, script: &str) -> Result<String> {
        self.administer("sh", &["-ec", script], "").await
    }

    /// Gives `kubectl` this input.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.administer("kubectl", arguments, input).await
    }

    /// Puts a program of this name where scripts find it.
    pub fn program(&self, name: &str, script: &str) -> Result<()> {
        let file = self.programs()?.join(name);
        // Never through a link: what it leads to is every lab's.
        if file.is_symlink() {
            fs::remove_file(&file)?;
        }
        fs::write(&file, format!("#!/bin/sh\n{script}"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A token of a ServiceAccount in the canaries' namespace.
    pub async fn token(&self, account: &str, audience: Option<&str>) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.lab().client(), NAMESPACE);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.into_iter().map(str::to_owned).collect(),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        Ok(answer.status.context("no token came back")?.token)
    }

    async fn administer(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        let programs = self.programs()?;
        let path = env::var("PATH").unwrap_or_default();
        let vault = self.lab().vault();
        let mut command = Command::new("env");
        command
            .arg(program)
            .args(arguments)
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("HOME", &programs)
            .env("KUBECONFIG", self.lab().kubeconfig())
            .envs(["VAULT_ADDR", "BAO_ADDR"].map(|name| (name, vault.address())))
            .envs(["VAULT_TOKEN", "BAO_TOKEN"].map(|name| (name, vault.token())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("it has a stdin")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if !output.status.success() {
            let status = output.status;
            bail!("{program} {arguments:?}: {status}\n{out}{err}{input}");
        }
        Ok(out.into_owned())
    }

    /// A folder with the programs. What speaks to Vault is OpenBao's, under the other's name.
    fn programs(&self) -> Result<PathBuf> {
        let folder = self.lab().folder().join("programs");
        if !folder.is_dir() {
            fs::create_dir(&folder)?;
            let tools = Tools::find()?;
            symlink(tools.kubectl()?, folder.join("kubectl"))?;
            symlink(tools.helm()?, folder.join("helm"))?;
            symlink(tools.bao()?, folder.join("vault"))?;
        }
        Ok(folder)
    }
}
