//! The service behind `serve`: the probes on their schedules, the reload of what has changed, and remote write.

mod audit;
mod clients;
mod drill;
mod files;
mod reload;
mod remote_write;
mod reporter;
mod scheduler;
mod traces;
mod traps;
mod worker;

pub use audit::{Auditor, Unopened};
pub use drill::{Done, Drill, Unready};
pub use files::{Change, Files};
pub use reload::{ConfigFile, Unread};
pub use remote_write::RemoteWriter;
pub use reporter::Reporter;
pub use scheduler::Scheduler;
pub use traces::Traces;
pub use traps::{prober, traps};
