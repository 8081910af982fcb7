//! The bodies that shippers send, taken apart into lines: NDJSON, a JSON array, or objects in a row; each a line, or an envelope of one.

use std::io::{self, Read as _};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::packed::Packing;
use super::super::{Gap, Piece};

/// How large a body may be, unpacked, in bytes.
pub(super) const LARGEST: usize = 16 << 20;
/// The schema of an object that stands for lines that are missing.
const GAP: &str = "vso-prober/gap/v1";

/// Unpacks a body.
///
/// # Errors
/// It can't be unpacked, or is too large.
pub(super) fn unpacked(body: Bytes, packing: Packing) -> io::Result<Option<Bytes>> {
    let mut content = Vec::new();
    let unpacked = packing.unpack(io::Cursor::new(body));
    unpacked
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut content)?;
    Ok((content.len() <= LARGEST).then(|| content.into()))
}

/// Whether a body is text, and not msgpack, which older versions of Fluent Bit send unless told otherwise.
pub(super) fn is_text(body: &[u8]) -> bool {
    // An array, a map or an extension of msgpack; no UTF-8 begins so.
    body.first()
        .is_none_or(|first| !matches!(first, 0x80..=0x9f | 0xc7..=0xc9 | 0xd4..=0xdf))
}

/// The lines of a body. What is not JSON is a line, too: whoever judges it counts it.
pub(super) fn pieces(body: &Bytes) -> Vec<Piece> {
    let text = body.trim_ascii();
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .peekable();
    let whole = |text: &[u8]| end(text) == Some(text.len());
    let parts: Vec<&[u8]> = match text.strip_prefix(b"[") {
        Some(items) => values(items).collect(),
        // One object that is written over several lines.
        None if !lines.peek().is_some_and(|first| whole(first)) && whole(text) => vec![text],
        None => lines
            .flat_map(|line| in_a_row(line).unwrap_or_else(|| vec![line]))
            .collect(),
    };
    parts.into_iter().map(|part| piece(body, part)).collect()
}

/// The objects that follow each other, whatever parts them.
fn values(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = &rest[rest.iter().position(|byte| *byte == b'{')?..];
        let (value, after) = rest.split_at(end(rest).unwrap_or(rest.len()));
        rest = after;
        Some(value)
    })
}

/// The objects that a line is made of, if it is made of several, as Fluent Bit's `json_stream` is. The whole entry behind a
/// torn half is none: the half has no end of its own.
fn in_a_row(line: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut objects, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (object, after) = rest
            .starts_with(b"{")
            .then(|| end(rest))
            .flatten()
            .map(|end| rest.split_at(end))?;
        objects.push(object);
        rest = after.trim_ascii_start();
    }
    Some(objects)
}

/// Where the object ends that the text begins with, if it does.
fn end(text: &[u8]) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// What tells an envelope from an audit entry.
#[derive(Deserialize)]
struct Envelope {
    request: Option<IgnoredAny>,
    schema: Option<Value>,
    gap: Option<String>,
    too_long: Option<u64>,
    message: Option<Value>,
    log: Option<Value>,
    line: Option<Value>,
    event: Option<Value>,
}

/// A part of a body, out of its envelope.
fn piece(body: &Bytes, part: &[u8]) -> Piece {
    let as_it_is = || Piece::Line(body.slice_ref(part));
    let Ok(envelope) = serde_json::from_slice::<Envelope>(part) else {
        return as_it_is();
    };
    if envelope.request.is_some() {
        return as_it_is();
    }
    if envelope.schema.is_some_and(|schema| schema == GAP) {
        return match envelope.too_long {
            Some(bytes) => Piece::TooLong { bytes },
            None if envelope.gap.as_deref() == Some(Gap::Truncated.as_str()) => {
                Piece::Gap(Gap::Truncated)
            }
            None => Piece::Gap(Gap::Vanished),
        };
    }
    let inner = envelope
        .message
        .or(envelope.log)
        .or(envelope.line)
        .or(envelope.event);
    match inner {
        Some(Value::String(line)) => Piece::Line(line.trim().to_owned().into()),
        Some(Value::Object(entry)) => match serde_json::to_vec(&entry) {
            Ok(line) => Piece::Line(line.into()),
            Err(_) => as_it_is(),
        },
        _ => as_it_is(),
    }
}

/// What stands for a piece in NDJSON, without its end.
pub(in super::super) fn line(piece: &Piece) -> Bytes {
    match piece {
        Piece::Line(line) => line.clone(),
        Piece::TooLong { bytes } => format!(r#"{{"schema":"{GAP}","too_long":{bytes}}}"#).into(),
        Piece::Gap(gap) => format!(r#"{{"schema":"{GAP}","gap":"{}"}}"#, gap.as_str()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        r#"{"time":"t","type":"request","request":{"id":"1","path":"a/{b}","data":{"x":"}\"{"}}}"#;
    const TWO: &str = r#"{"time":"u","type":"response","request":{"id":"2"}}"#;

    fn lines(body: &str) -> Vec<String> {
        let told = pieces(&Bytes::copy_from_slice(body.as_bytes()));
        let text = |piece: &Piece| String::from_utf8(line(piece).to_vec()).expect("UTF-8");
        told.iter().map(text).collect()
    }

    #[test]
    fn every_form_holds_the_same_lines() {
        let quoted = |text: &str| serde_json::to_string(text).expect("JSON");
        let pretty: Value = serde_json::from_str(ONE).expect("JSON");
        assert_eq!(lines(&format!("{ONE}\n{TWO}\n")), [ONE, TWO]);
        assert_eq!(lines(&format!("[{ONE},{TWO}]")), [ONE, TWO]);
        assert_eq!(lines(&format!(" [\n {ONE} ,\n{TWO}\n]\n")), [ONE, TWO]);
        assert_eq!(lines(ONE), [ONE]);
        assert_eq!(lines(&format!("{pretty:#}")), [format!("{pretty:#}")]);
        for key in ["message", "log", "line", "event"] {
            let envelope = format!(r#"{{"date":1.5,"{key}":{}}}"#, quoted(ONE));
            assert_eq!(lines(&format!("{envelope}\n{TWO}")), [ONE, TWO], "{key}");
            let envelope = format!(r#"[{{"{key}":{TWO},"host":"x"}}]"#);
            let told: Value = serde_json::from_str(&lines(&envelope)[0]).expect("JSON");
            assert_eq!(told, serde_json::from_str::<Value>(TWO).expect("JSON"));
        }
    }

    #[test]
    fn a_bad_line_spoils_no_other() {
        let torn = &ONE[..40];
        assert_eq!(lines(&format!("{TWO}\n{torn}\n{TWO}")), [TWO, torn, TWO]);
        assert_eq!(lines(&format!("{torn}\n{TWO}")), [torn, TWO]);
        assert_eq!(
            lines("==> Vault server started"),
            ["==> Vault server started"]
        );
        assert_eq!(lines(" \n"), [""; 0]);
        assert_eq!(lines("[]"), [""; 0]);
        assert_eq!(lines(r#"{"message":7}"#), [r#"{"message":7}"#]);
    }

    #[test]
    fn a_gap_is_told_from_one_prober_to_another() {
        let told = [
            Piece::Gap(Gap::Truncated),
            Piece::Gap(Gap::Vanished),
            Piece::TooLong { bytes: 1 << 40 },
        ];
        let body: Vec<_> = told.iter().map(line).collect();
        assert_eq!(pieces(&body.join(&b'\n').into()), told);
    }

    #[test]
    fn msgpack_is_known() {
        // What Fluent Bit 3.2 sends without `Format`: an array of an event time and a map.
        assert!(!is_text(&[0x92, 0xd7, 0x00]));
        assert!(!is_text(&[0xdd, 0, 0, 0, 1]));
        for text in ["", "{", "[", " ", "==>", "é"] {
            assert!(is_text(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_unpacked_has_a_limit() {
        let packed = |bytes: usize| {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            Bytes::from(ruzstd::encoding::compress_to_vec(
                io::repeat(b'a').take(bytes as u64),
                level,
            ))
        };
        let unpacked = |bytes| unpacked(packed(bytes), Packing::Zstd).expect("it is zstd");
        assert_eq!(unpacked(LARGEST).map(|body| body.len()), Some(LARGEST));
        assert_eq!(unpacked(LARGEST + 1), None);
        assert!(super::unpacked(Bytes::from_static(b"no"), Packing::Gzip).is_err());
    }
}
