//! The suites of end-to-end trials, in one program: it is linked once, and several suites run side by side.
//!
//! `cargo test --test suites causes::` runs one of them; `LABS=1` runs one at a time.

mod addresses;
mod alerts_live;
mod attribution;
mod audit_check;
mod audit_http;
mod audit_impostor;
mod audit_innocent;
mod audit_trace;
mod causes;
mod chaos;
mod chart;
mod dashboards_live;
mod doctor;
mod field;
mod innocent;
mod journeys;
mod least_rights;
mod manifests;
mod moves_with;
mod node;
mod operator_faults;
mod own_faults;
mod pki;
mod publishing;
mod rotation;
mod secrecy;
mod security;
mod serve;
mod static_roles;
mod vault_outages;

use std::path::Path;
use std::process::ExitCode;

use e2e::scenario::run;

/// The longest go first, so that none is left alone at the end.
fn main() -> ExitCode {
    let suites = vec![
        moves_with::suite(),
        security::suite(),
        own_faults::suite(),
        least_rights::suite(),
        journeys::suite(),
        vault_outages::suite(),
        serve::suite(),
        rotation::suite(),
        static_roles::suite(),
        doctor::suite(),
        field::suite(),
        pki::suite(),
        alerts_live::suite(),
        chaos::suite(),
        attribution::suite(),
        causes::suite(),
        innocent::suite(),
        audit_check::suite(),
        audit_impostor::suite(),
        audit_innocent::suite(),
        audit_trace::suite(),
        addresses::suite(),
        audit_http::suite(),
        operator_faults::suite(),
        secrecy::suite(),
        least_rights::printed::suite(),
        publishing::suite(),
        node::suite(),
        manifests::suite(),
        chart::suite(),
        dashboards_live::suite(),
    ];
    run(
        suites,
        &Path::new(env!("CARGO_TARGET_TMPDIR")).join("slowest.txt"),
    )
}
