//! The test harness of vso-prober: a lab of real parts, and what the trials share. It never ships.

pub mod figures;
pub mod image;
pub mod lab;
pub mod scenario;
