//! What vso-prober is tested with: a lab of real parts, and what the trials share. Test doubles; they never ship.

pub mod figures;
pub mod lab;
pub mod scenario;
