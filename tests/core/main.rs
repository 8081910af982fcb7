//! The tests of the core, which need no lab: one program, for each would link the whole library.

mod audit;
mod chart;
mod command;
mod config;
mod correlation;
mod evidence;
mod exposition;
mod faults;
mod house;
mod judge;
mod kit;
mod metrics;
mod push;
mod records;
mod report;
mod rights;
mod stages;
mod traced;
