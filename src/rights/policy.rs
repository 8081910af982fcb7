//! Paths as the policy of Vault that grants them.

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
            let capabilities: Vec<_> = path
                .capabilities
                .iter()
                .map(|capability| format!("\"{capability}\""))
                .collect();
            let quoted = format!("\"{}\"", path.path);
            let _ = writeln!(
                text,
                "path {quoted:width$} {{ capabilities = [{}] }}",
                capabilities.join(", ")
            );
        }
    }
    text
}
