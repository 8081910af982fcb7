//! Trials of what people run: each set-up that they reported, and the way to Vault and to Kubernetes that it takes.

mod default_auth;
mod engines;
mod operators;
mod proxies;
mod references;
mod token;
mod way;

use e2e::scenario::Suite;

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("field")
        .trial("logins_that_vault_revoked_are_made_anew", token::revoked)
        .trial("a_token_that_may_not_renew_itself", token::not_renewable)
        .trial("a_batch_token", token::batch)
        .trial("vault_under_a_path", way::path)
        .trial("a_standby_behind_a_balancer", way::standby)
        .trial("a_certificate_for_another_name", way::other_name)
        .trial("a_certificate_that_is_its_own_ca", way::its_own_ca)
        .trial("a_gateway_that_wants_a_header", way::gateway)
        .trial("plain_http_on_a_tls_port_and_the_reverse", way::mixed_up)
        .trial("vault_by_a_proxy", proxies::vault)
        .trial("a_proxy_that_is_down", proxies::down)
        .trial("kubernetes_without_the_proxy", proxies::none_to_kubernetes)
        .trial("kubernetes_by_a_proxy", proxies::kubernetes)
        .trial("kubeconfigs_that_are_absent", proxies::kubeconfigs)
        .trial("kubernetes_under_a_path", proxies::kubernetes_under_a_path)
        .trial("a_kubeconfig_with_a_plugin", proxies::plugin)
        .trial("paths_as_in_production", engines::long_paths)
        .trial("kv_that_insists_on_check_and_set", engines::check_and_set)
        .trial("a_mount_that_is_not_the_root", engines::not_the_root)
        .trial("what_is_refused_before_a_run", engines::refused)
        .trial("a_certificate_without_a_common_name", engines::other_names)
        .trial("an_engine_that_takes_parameters", engines::parameters)
        .trial("a_certificate_for_90_days", engines::days)
        .trial("fixes_by_the_engines_type", engines::other_engines)
        .trial("secrets_in_a_namespace_below", engines::namespaces)
        .trial("labels_that_policies_demand", engines::marks)
        .trial("a_second_operator_is_named", operators::named)
        .trial(
            "without_an_auth_ref_it_is_the_default",
            default_auth::is_meant,
        )
        .trial("what_a_global_auth_adds", references::inherited)
        .trial("a_secret_that_a_login_relies_on", references::app_role)
        .trial("two_sides_in_two_namespaces", references::apart)
        .trial("a_connection_that_may_not_be_seen", references::unseen)
}
