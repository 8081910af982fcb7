//! The cut between what was read of a container's log before and what is new. It has no clock and no I/O.

use jiff::Timestamp;

use super::kept::Mark;

/// Where a container's log is read on.
#[derive(Debug)]
pub(super) struct Cut {
    mark: Mark,
    /// How far it was when the reading began; none if nothing was read before.
    from: Option<(Timestamp, u32)>,
    /// How many lines of the time of `from` have come again.
    again: u32,
    /// Whether it is settled that nothing is missing in between, or told that something may be.
    settled: bool,
}

/// What a line is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line<'a> {
    /// It was read before, or is none of an audit device.
    Old,
    /// It is new.
    New(&'a [u8]),
    /// It is new, and before it lines may be missing: the one that was read last has not come again.
    AfterGap(&'a [u8]),
}

impl Cut {
    pub(super) fn new(mark: Mark) -> Self {
        Self {
            from: mark.time.map(|time| (time, mark.lines)),
            again: 0,
            settled: mark.time.is_none(),
            mark,
        }
    }

    /// Takes a line as the API server gives it: its time, a blank, and what was written.
    pub(super) fn take<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let Some((time, text)) = split(line) else {
            return Line::Old;
        };
        if let Some((last, lines)) = self.from {
            if time < last {
                return Line::Old;
            }
            if time == last && self.again < lines {
                self.again += 1;
                self.settled = true;
                return Line::Old;
            }
        }
        if !is_entry(text) {
            return Line::Old;
        }
        let gap = !std::mem::replace(&mut self.settled, true);
        if self.mark.time == Some(time) {
            self.mark.lines += 1;
        } else {
            self.mark.time = Some(time);
            self.mark.lines = 1;
        }
        if gap {
            Line::AfterGap(text)
        } else {
            Line::New(text)
        }
    }

    /// How far it was read by now.
    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }
}

fn split(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let at = memchr::memchr(b' ', line)?;
    let (time, text) = line.split_at(at);
    let time = std::str::from_utf8(time).ok()?.parse().ok()?;
    Some((time, text.get(1..)?))
}

/// Whether it may be a line of an audit device: Vault's own log goes to the same place.
fn is_entry(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let log = text.starts_with(br#"{"@"#);
    !log && memchr::memmem::find(text, br#"":"#).is_some() && text.contains(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"time":"2026-11-30T04:00:00Z","type":"request"}"#;

    fn line(second: u32) -> String {
        format!("2026-11-30T04:00:{second:02}.5Z {ENTRY}")
    }

    fn mark(second: Option<u32>, lines: u32) -> Mark {
        let time = |second| format!("2026-11-30T04:00:{second:02}.5Z").parse();
        Mark {
            container: "a".to_owned(),
            time: second.map(|second| time(second).expect("a time")),
            lines,
        }
    }

    #[test]
    fn what_was_read_before_is_not_read_again() {
        let mut cut = Cut::new(mark(Some(2), 2));
        let new = Line::New(ENTRY.as_bytes());
        assert_eq!(cut.take(line(1).as_bytes()), Line::Old);
        assert_eq!(cut.take(line(2).as_bytes()), Line::Old);
        assert_eq!(cut.take(line(2).as_bytes()), Line::Old);
        assert_eq!(cut.take(line(2).as_bytes()), new, "a third of this time");
        assert_eq!(cut.mark(), &mark(Some(2), 3));
        assert_eq!(cut.take(line(3).as_bytes()), new);
        assert_eq!(cut.mark(), &mark(Some(3), 1));
    }

    #[test]
    fn where_the_last_line_is_gone_lines_may_be_missing() {
        let mut cut = Cut::new(mark(Some(2), 1));
        assert_eq!(
            cut.take(line(4).as_bytes()),
            Line::AfterGap(ENTRY.as_bytes())
        );
        assert_eq!(cut.take(line(5).as_bytes()), Line::New(ENTRY.as_bytes()));
        let mut cut = Cut::new(mark(None, 0));
        assert_eq!(cut.take(line(4).as_bytes()), Line::New(ENTRY.as_bytes()));
    }

    #[test]
    fn vaults_own_log_is_passed_over() {
        let mut cut = Cut::new(mark(None, 0));
        for text in [
            "==> Vault server configuration:",
            r#"{"@level":"info","@message":"core: vault is unsealed"}"#,
            "2026-11-30T04:00:00.000Z [INFO]  core: usage gauge collection is disabled",
            "",
        ] {
            let line = format!("2026-11-30T04:00:01Z {text}");
            assert_eq!(cut.take(line.as_bytes()), Line::Old, "{text}");
        }
        assert_eq!(cut.take(b"unable to retrieve container logs"), Line::Old);
        assert_eq!(cut.mark(), &mark(None, 0));
    }
}
