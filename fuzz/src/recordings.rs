//! Recordings that somebody sent: our traces, and what other tools wrote.

use std::io::Cursor;
use std::path::Path;

use memcli::trace::Reader;

/// Our own format, plain or gzip.
pub(crate) fn trace(bytes: &[u8]) {
    read(bytes);
}

/// What other tools wrote: the same reader looks at the first line. Nothing of theirs begins with a brace.
pub(crate) fn import(bytes: &[u8]) {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        read(bytes);
    }
}

fn read(bytes: &[u8]) {
    let size = bytes.len() as u64;
    let Ok(mut reader) = Reader::new(Path::new("input"), Cursor::new(bytes.to_vec()), size) else {
        return;
    };
    let mut rows = 0u64;
    while reader.read().is_some() {
        rows += 1;
        // gzip makes at most 1032 bytes of one, and no row is shorter than a byte and its end.
        assert!(rows <= 1032 * size + 1, "more rows than bytes");
    }
    let (done, of) = reader.progress();
    assert!(done <= of);
    let _ = reader.damage();
}
