//! Trials of attacks on a prober, and their outcome: never a foreign object touched, never a dead
//! prober, never a blame that somebody made up.

mod crowd;
mod doctor;
mod floods;
mod guard;
mod metrics;
mod numbers;
mod ownership;
mod redirects;
mod shown;
pub(crate) mod tls;
mod vault;

use std::time::Duration;

use e2e::scenario::Suite;

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("security")
        .fault("what_others_write_steers_no_terminal", shown::escapes)
        .fault("an_event_names_a_foreign_lease", ownership::lease_by_event)
        .trial("a_status_names_a_foreign_lease", ownership::lease_by_status)
        .trial("a_label_alone_makes_no_canary", ownership::label_alone)
        .trial(
            "a_name_that_is_used_again_is_another",
            ownership::name_reused,
        )
        .trial(
            "names_in_vault_that_are_no_canarys",
            ownership::names_in_vault,
        )
        .trial(
            "the_printed_policy_grants_no_foreign_lease",
            ownership::policy,
        )
        .trial(
            "two_clusters_on_one_vault_keep_apart",
            ownership::two_clusters,
        )
        .fault(
            "an_event_excuses_nobody_against_the_facts",
            ownership::forged_excuse,
        )
        .trial(
            "a_foreign_pod_is_not_asked_nor_blamed",
            metrics::foreign_pod,
        )
        .trial("the_metrics_token_opens_nothing_else", metrics::token)
        .trial("the_canaries_label_can_be_guarded", guard::label)
        .trial("names_of_others_are_no_commands", doctor::injections)
        .trial("a_vault_of_others_is_not_proposed", doctor::foreign_vault)
        .trial("a_page_in_vaults_place_is_no_answer", vault::maintenance)
        .trial("times_of_vaults_that_no_clock_holds", vault::numbers)
        .trial("a_dead_token_is_replaced", vault::dead_token)
        .trial("a_new_token_in_its_file_is_used", vault::token_file)
        .trial(
            "in_the_clear_no_token_goes_elsewhere",
            redirects::in_the_clear,
        )
        .trial("redirects_to_the_same_host", redirects::same_host)
        .trial("redirects_by_tls", redirects::by_tls)
        .trial("a_rotated_ca_is_in_force", redirects::rotated_authority)
        .fault("an_odd_event_hides_no_outage", floods::odd_event)
        .trial(
            "a_plugin_that_hangs_holds_up_no_end",
            floods::hanging_plugin,
        )
        .trial(
            "what_is_no_file_of_runs_is_passed_over",
            floods::odd_history,
        )
        .trial("no_answer_looks_like_a_line_of_the_log", floods::forged_log)
        .fault("a_horizon_beyond_all_time_harms_no_run", numbers::horizon)
        .trial("idle_connections_leave_files_for_the_probes", crowd::idle)
        .trial("a_page_of_others_has_nothing_done", crowd::steered)
        .confined()
        .trial("answers_of_vaults_without_an_end", vault::without_end)
        .trial(
            "large_secrets_with_the_label_do_not_matter",
            floods::large_secrets,
        )
        .fault("large_events_hide_no_outage", floods::large_events)
        .trial(
            "a_refusal_without_an_end_is_read_no_further",
            floods::endless_refusal,
        )
        .trial(
            "a_crowd_that_asks_slowly_or_takes_no_answer_kills_nothing",
            crowd::slow,
        )
        // Six floods take their time.
        .limit(Duration::from_secs(600))
        .trial("one_prober_outlives_every_flood", floods::all_of_them)
}
