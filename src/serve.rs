//! The service behind `serve`: the probes on their schedules, the reload of what has changed, remote write, and the judgement of audit logs.

mod audit;
mod auditing;
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

pub use auditing::Auditing;
pub use drill::{Done, Drill, Unready};
pub use files::{Change, Files};
pub use reload::{ConfigFile, Unread};
pub use remote_write::RemoteWriter;
pub use reporter::Reporter;
pub use scheduler::Scheduler;
pub use traces::Traces;
pub use traps::{prober, traps};
