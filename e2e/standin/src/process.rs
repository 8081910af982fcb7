//! The `process_*` metrics, read from `/proc/self` when they are asked for.

use std::fs;

use prometheus::{Counter, Gauge, Registry};

/// Linux tells CPU time in hundredths of a second, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE: f64 = 4096.0;

/// CPU, memory, files and the moment of the start.
#[derive(Debug)]
pub(crate) struct Process {
    cpu: Counter,
    resident: Gauge,
    virtual_: Gauge,
    files: Gauge,
}

impl Process {
    /// Registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str| {
            let gauge = Gauge::new(name, "A test double's.")?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let cpu = Counter::new("process_cpu_seconds_total", "A test double's.")?;
        registry.register(Box::new(cpu.clone()))?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        let started = k8s_openapi::jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
        gauge("process_start_time_seconds")?.set(started);
        Ok(Self {
            cpu,
            resident: gauge("process_resident_memory_bytes")?,
            virtual_: gauge("process_virtual_memory_bytes")?,
            files: gauge("process_open_fds")?,
        })
    }

    /// Reads them anew.
    pub(crate) fn refresh(&self) {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The program's name may hold spaces; what follows its closing bracket does not.
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
        let cpu = (field(14) + field(15)) / TICKS_PER_SECOND;
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.virtual_.set(field(23));
        self.resident.set(field(24) * PAGE);
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.files
            .set(f64::from(u32::try_from(files).unwrap_or(u32::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::register(&Registry::new()).expect("fresh registry");
        process.refresh();
        assert!(process.resident.get() > 1e5);
        assert!(process.files.get() >= 3.0);
        assert!(process.cpu.get() >= 0.0);
    }
}
