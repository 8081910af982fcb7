//! Paths as the Vault policy that grants them.

use std::fmt::Write as _;

use super::{Need, Path};

/// The policy, in HCL.
pub fn policy(paths: &[Path]) -> String {
    let mut text = String::new();
    for need in [Need::Run, Need::Doctor] {
        let own: Vec<_> = paths.iter().filter(|path| path.need == need).collect();
        if need == Need::Doctor && !own.is_empty() {
            text.push_str("\n# For `vso-prober doctor` alone; no run needs it.\n");
        }
        let width = own.iter().map(|path| path.path.len()).max().unwrap_or(0) + 2;
        for path in own {
            let name = quoted(&path.path);
            let capabilities = list(&path.capabilities);
            let _ = if path.parameters.is_empty() {
                writeln!(
                    text,
                    "path {name:width$} {{ capabilities = {capabilities} }}"
                )
            } else {
                let parameters = path.parameters.iter();
                let parameters: Vec<_> = parameters
                    .map(|(name, values)| format!("{} = {}", quoted(name), list(values)))
                    .collect();
                let parameters = parameters.join(", ");
                writeln!(
                    text,
                    "path {name} {{\n  capabilities       = {capabilities}\n  allowed_parameters = {{ {parameters} }}\n}}"
                )
            };
        }
    }
    text
}

fn list(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| quoted(word.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}
