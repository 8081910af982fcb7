//! The metrics of the program: names, help texts and figures.

use std::fmt;

use super::encoder::{Encoder, NO_LABELS};
use super::label::{
    Bound, Method, OfBound, OfCause, OfFailure, OfMethod, OfProbe, OfResult, OfSignal, OfStage,
    OfVersion, OfVoid,
};
use super::state::State;
use crate::model::name::ProbeId;
use crate::model::standing::Standing;

impl State {
    /// Writes every metric. The order is that of the probes' names and of the steps, so that the same facts give the
    /// same text.
    pub(super) fn write(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        self.times(encoder)?;
        self.outcomes(encoder)?;
        self.objectives(encoder)?;
        self.runs_as_a_whole(encoder)?;
        self.correlations(encoder)?;
        self.operator(encoder)?;
        self.prober(encoder)?;
        self.audit.iter().try_for_each(|audit| audit.write(encoder))
    }

    fn times(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        encoder.histograms(
            "vso_probe_latency_seconds",
            "Time from the request to the proof of its effect, in seconds. Steps that timed out are above every finite bucket; unknown runs are not included.",
            self.steps().map(|step| (step.at.clone(), &step.latency)),
        )?;
        encoder.histograms(
            "vso_probe_sync_seconds",
            "Time from the event of the prober's request on its watch to the proof of the effect, in seconds: the latency without the prober's way to the API server. Of steps whose request is watched.",
            self.steps()
                .filter_map(|step| Some((step.at.clone(), step.sync.as_ref()?))),
        )?;
        encoder.histograms(
            "vso_probe_lateness_seconds",
            "Time from the poll that the operator announced to the proof of the effect, in seconds; of poll-driven steps only.",
            self.steps()
                .filter_map(|step| Some((step.at.clone(), step.lateness.as_ref()?))),
        )?;
        encoder.histograms(
            "vso_probe_stage_seconds",
            "The stages of the latency, in seconds; they add up to it.",
            self.each(|step| &step.stages, |stage| OfStage { stage: *stage }),
        )
    }

    fn outcomes(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        encoder.counters(
            "vso_probe_runs_total",
            "Steps taken, by result.",
            self.each_count(|step| &step.runs, |result| OfResult { result: *result }),
        )?;
        encoder.counters(
            "vso_probe_failures_total",
            "Steps that failed or are unknown, by cause and responsible party; with party=prober they say nothing about the operator.",
            self.each_count(
                |step| &step.failures,
                |cause| OfCause {
                    cause: *cause,
                    party: cause.party(),
                },
            ),
        )?;
        encoder.gauges(
            "vso_probe_success",
            "Whether the last run with a verdict succeeded (1) or failed (0).",
            self.each_step(|step| f64::from(u8::from(step.success))),
        )?;
        encoder.gauges(
            "vso_probe_last_run_timestamp_seconds",
            "When the last run ended, in Unix time; 0 if there was none.",
            self.each_step(|step| step.last_run),
        )?;
        encoder.gauges(
            "vso_probe_last_success_timestamp_seconds",
            "When the last successful run ended, in Unix time; 0 if there was none.",
            self.each_step(|step| step.last_success),
        )?;
        encoder.infos(
            "vso_probe_last_failure_info",
            "The last failure: its run, cause and responsible party.",
            self.steps().filter_map(|step| {
                let (run, cause) = step.last_failure.as_ref()?;
                let info = OfFailure {
                    run: run.to_string(),
                    cause: *cause,
                    party: cause.party(),
                };
                Some((step.at.clone(), info))
            }),
        )
    }

    fn objectives(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        encoder.counters(
            "vso_probe_slo_total",
            "Steps with a verdict, success or failure.",
            self.steps().map(|step| (step.at.clone(), step.judged)),
        )?;
        encoder.counters(
            "vso_probe_slo_good_total",
            "Steps that succeeded within their threshold.",
            self.steps().map(|step| (step.at.clone(), step.good)),
        )?;
        encoder.gauges(
            "vso_probe_slo_objective_ratio",
            "The objective: the share of steps that should be good.",
            self.each_probe_and_step(|probe, _| probe.objective),
        )?;
        encoder.gauges(
            "vso_probe_slo_threshold_seconds",
            "The threshold of a step in seconds: for its lateness if it is poll-driven, else for its latency.",
            self.each_step(|step| step.within),
        )?;
        encoder.gauges(
            "vso_probe_interval_seconds",
            "The mean time between two runs, in seconds.",
            self.each_probe_and_step(|probe, _| probe.every),
        )?;
        encoder.gauges(
            "vso_probe_rotation_margin_seconds",
            "Time from the arrival of the new credential or certificate to the end of the old one, in seconds, at the last rotation; negative if it came too late.",
            self.steps()
                .filter_map(|step| Some((step.at.clone(), step.margin?))),
        )
    }

    fn runs_as_a_whole(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        encoder.counters(
            "vso_probe_secret_writes_total",
            "Writes of the canaries' Secrets, over whole runs; counted at the probe's last step.",
            self.each_probe(|probe| probe.secret_writes),
        )?;
        encoder.counters(
            "vso_probe_leaked_leases_total",
            "Leases that outlived their resource, over whole runs; counted at the probe's last step.",
            self.each_probe(|probe| probe.leaked_leases),
        )?;
        encoder.gauges(
            "vso_probe_leftovers",
            "Objects that the last run could not remove; reported at the probe's last step.",
            self.each_probe(|probe| count(probe.leftovers)),
        )
    }

    fn correlations(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        encoder.gauges(
            "vso_probe_correlation_ratio",
            "Correlation of a signal of the operator with the latency (or lateness), from -1 to 1; not for alerts.",
            self.coefficients().flat_map(|(step, coefficient)| {
                [
                    (Method::Spearman, Some(coefficient.spearman)),
                    (Method::Pearson, coefficient.pearson),
                ]
                .into_iter()
                .filter_map(|(method, value)| {
                    let signal = coefficient.signal;
                    Some(((step.at.clone(), OfMethod { signal, method }), value?))
                })
            }),
        )?;
        encoder.gauges(
            "vso_probe_correlation_samples",
            "The effective number of samples behind the correlation.",
            self.coefficients().map(|(step, coefficient)| {
                let signal = coefficient.signal;
                ((step.at.clone(), OfSignal { signal }), coefficient.samples)
            }),
        )?;
        encoder.counters(
            "vso_probe_windows_void_total",
            "Steps for which the operator's metrics can't be used, by reason.",
            self.each_count(|step| &step.voids, |void| OfVoid { reason: *void }),
        )?;
        encoder.gauges(
            "vso_probe_explained_ratio",
            "The share of the last latency that the operator's own metrics explain.",
            self.steps()
                .filter_map(|step| Some((step.at.clone(), step.explained?))),
        )
    }

    fn operator(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let Some(operator) = &self.operator else {
            return Ok(());
        };
        encoder.gauges(
            "vso_operator_up",
            "Whether the operator's metrics can be read.",
            [(NO_LABELS, f64::from(u8::from(operator.up)))],
        )?;
        encoder.infos(
            "vso_operator_info",
            "The operator's version, as its metrics report it.",
            operator.version.iter().map(|version| {
                let version = version.clone();
                (NO_LABELS, OfVersion { version })
            }),
        )?;
        encoder.gauges(
            "vso_operator_scrape_duration_seconds",
            "The duration of the last read of the operator's metrics, in seconds.",
            [(NO_LABELS, operator.scrape_seconds)],
        )
    }

    fn prober(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        encoder.infos(
            "vso_prober_build_info",
            "The prober's version.",
            [(NO_LABELS, OfVersion { version })],
        )?;
        encoder.histograms(
            "vso_prober_watch_delay_seconds",
            "Time from the prober's own write to its event on the watch, in seconds: the prober's measurement error. It is no less than since the write's response, and no more than since its request.",
            [Bound::Least, Bound::Most]
                .into_iter()
                .zip(&self.watch_delay)
                .map(|(bound, delays)| (OfBound { bound }, delays)),
        )?;
        let of_probe = |name: &ProbeId| OfProbe {
            probe: name.to_string(),
        };
        encoder.gauges(
            "vso_prober_schedule_lag_seconds",
            "How late the last run started, in seconds.",
            self.probes
                .iter()
                .map(|(name, probe)| (of_probe(name), probe.lag)),
        )?;
        encoder.counters(
            "vso_prober_skipped_runs_total",
            "Runs that were skipped because the previous one was still running.",
            self.probes
                .iter()
                .map(|(name, probe)| (of_probe(name), probe.skipped_runs)),
        )?;
        let leader = (self.standing != Standing::Audits).then(|| self.standing.leads());
        encoder.gauges(
            "vso_prober_leader",
            "Whether this replica is the leader.",
            leader.map(|leader| (NO_LABELS, f64::from(u8::from(leader)))),
        )?;
        encoder.gauges(
            "vso_prober_config_last_reload_successful",
            "Whether the last reload of the configuration succeeded.",
            [(NO_LABELS, f64::from(u8::from(self.last_reload_successful)))],
        )
    }
}

/// A number of things as a gauge has it.
pub(super) fn count(things: usize) -> f64 {
    u32::try_from(things).unwrap_or(u32::MAX).into()
}
