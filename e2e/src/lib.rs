//! What vso-prober is tested with: a lab of real parts, a stand-in for the operator, and what the scenarios share. Test doubles; they never ship.

pub mod figures;
pub mod lab;
pub mod scenario;
pub mod standin;
