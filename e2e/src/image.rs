//! The environment of the prober in its image.

/// glibc keeps what was freed in one arena, and gives large pieces back at once, or else whoever reads logs fast has twice
/// the memory that it needs.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_has_the_same_environment() {
        let dockerfile = include_str!("../../Dockerfile");
        let pairs = ENVIRONMENT.map(|(name, value)| format!("{name}={value}"));
        let line = format!("\nENV {}\n", pairs.join(" "));
        assert!(dockerfile.contains(&line), "{line}");
    }
}
