//! Trials of `doctor` on set-ups that are broken one way each: it finds the fault, and its fix works.

mod audit;
mod cluster;
mod patient;
mod rights;
mod sources;
mod vault;

use anyhow::{Result, ensure};
use e2e::scenario::{Probe, Scene, Suite};

use patient::{Patient, Report};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("doctor")
        .trial("the_lab_as_it_is", as_it_is)
        .trial("a_configuration_that_is_none", no_configuration)
        .trial(
            "what_is_printed_is_enough",
            rights::what_is_printed_is_enough,
        )
        .trial("each_rule_is_missed", rights::each_rule)
        .trial("each_path_is_missed", rights::each_path)
        .trial("a_rule_for_leaders_is_missed", rights::leader)
        .trial("vault_address_wrong", vault::address)
        .trial("vault_name_unknown", vault::name)
        .trial("vault_is_no_vault", vault::no_vault)
        .trial("vault_sealed", vault::sealed)
        .trial("vault_role_unknown", vault::role_unknown)
        .trial("vault_method_not_mounted", vault::method_unknown)
        .trial("vault_approle_wrong", vault::approle)
        .trial("vault_jwt_role_unknown", vault::jwt)
        .trial("vault_token_expired", vault::token_expired)
        .trial("vault_token_file_missing", vault::token_missing)
        .trial("vault_token_not_set", vault::variable)
        .trial("policy_of_no_use", vault::policy)
        .trial("kv_version_wrong", vault::version)
        .trial("mount_missing", vault::mount)
        .trial("database_role_missing", vault::database_role)
        .trial("kubernetes_unreachable", cluster::unreachable)
        .trial("kubernetes_token_wrong", cluster::token)
        .trial("namespace_missing", cluster::namespace)
        .trial("namespace_without_rights", cluster::no_rights)
        .trial("admission_refused", cluster::admission)
        .trial("quota_full", cluster::quota)
        .trial("vault_auth_missing", cluster::auth_missing)
        .trial("vault_auth_does_not_allow", cluster::auth_forbids)
        .trial("vault_connection_missing", cluster::connection_missing)
        .trial("vault_connection_invalid", cluster::connection_invalid)
        .trial("service_account_missing", cluster::account_missing)
        .trial("operator_stopped", cluster::operator_stopped)
        .trial("metrics_url_wrong", sources::url)
        .trial("metrics_token_refused", sources::refused)
        .trial("pushgateway_gone", sources::pushgateway)
        .trial("audit_as_it_is", audit::as_it_is)
        .trial("audit_without_rights", audit::without_rights)
        .trial("audit_devices_of_no_use", audit::devices)
        .trial("audit_device_to_the_prober", audit::to_the_prober)
        .trial("audit_source_and_listener", audit::sources)
        // The last: the lab is no good after it.
        .trial("crd_missing", cluster::crd)
}

/// With the lab's own account, which has the rights for runs and not all that `doctor` would like.
async fn as_it_is(scene: &Scene) -> Result<()> {
    let url = scene.lab().metrics_url().await;
    let prober = scene
        .prober([Probe::kv2("kv2"), Probe::kv1("kv1"), Probe::database("db")])
        .edit(|config| config["operator"]["metrics"]["url"] = url.into());
    let report = Report::of(scene, &prober, 0).await?;
    ensure!(
        report.found("finding").is_empty() && report.found("unknown").is_empty(),
        "{report}"
    );
    let table = prober.run(&["doctor"]).await?.exits(0)?;
    for word in [
        "✓ vault-login",
        "✓ crd",
        "✓ metrics",
        "✓ clock",
        " 0 findings,",
    ] {
        ensure!(table.stdout.contains(word), "no `{word}`: {table}");
    }
    Ok(())
}

async fn no_configuration(scene: &Scene) -> Result<()> {
    let prober = scene
        .prober([Probe::kv2("kv2")])
        .edit(|config| config["nonsense"] = true.into());
    let report = Report::of(scene, &prober, 2).await?;
    report.finding("configuration", "")?;
    prober.run(&["doctor", "--print-rbac"]).await?.exits(2)?;
    let absent = scene.prober([Probe::kv2("kv2")]);
    absent
        .run(&["doctor", "--probe", "absent"])
        .await?
        .exits(2)
        .map(drop)
}

/// A patient of one static probe.
async fn patient<'a>(scene: &'a Scene, name: &str) -> Result<Patient<'a>> {
    Patient::new(scene, name, [Probe::kv2("kv2")]).await
}
