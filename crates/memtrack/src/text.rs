//! Numbers out of kernel text. Every function is total: any bytes give a value or a reason, never a panic.

use crate::reading::{Absent, Reading};

/// A decimal at the start of `text`, and what follows it. `None` without a digit, or when it does not fit.
pub(crate) fn decimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    let mut length = 0;
    for byte in text {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        length += 1;
    }
    if length == 0 { None } else { Some((value, text.get(length..).unwrap_or_default())) }
}

/// The one number that a file such as `memory.current` holds.
pub(crate) fn number(text: &[u8]) -> Reading<u64> {
    match decimal(text.trim_ascii()) {
        Some((value, [])) => Ok(value),
        _ => Err(Absent::Malformed),
    }
}

/// The `index`-th number of a line of numbers such as `statm`.
pub(crate) fn column(text: &[u8], index: usize) -> Reading<u64> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(index).map_or(Err(Absent::Malformed), number)
}

/// Looks keys up in `key value` text, each from where the one before was found.
///
/// Asked in the order in which the kernel writes them, all keys together cost one pass.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'t> {
    text: &'t [u8],
    rest: &'t [u8],
}

impl<'t> Fields<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        Self { text, rest: text }
    }

    /// The trimmed text after `key`, on the first line that starts with it. `key` carries its separator: `VmRSS:`.
    pub(crate) fn text(&mut self, key: &[u8]) -> Option<&'t [u8]> {
        let (value, rest) = find(self.rest, key).or_else(|| find(self.text, key))?;
        self.rest = rest;
        Some(value.trim_ascii())
    }

    /// A plain number, such as `inactive_file 4096`; a key that is not there is [`Absent::Unsupported`].
    pub(crate) fn count(&mut self, key: &[u8]) -> Reading<u64> {
        number(self.text(key).ok_or(Absent::Unsupported)?)
    }

    /// A size that the kernel writes as `1234 kB`, in bytes.
    pub(crate) fn kb(&mut self, key: &[u8]) -> Reading<u64> {
        match decimal(self.text(key).ok_or(Absent::Unsupported)?) {
            Some((kib, b" kB")) => kib.checked_mul(1024).ok_or(Absent::Implausible),
            _ => Err(Absent::Malformed),
        }
    }
}

fn find<'t>(text: &'t [u8], key: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        if let Some(value) = line.strip_prefix(key) {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &[u8] = b"Name:\ta b\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";

    #[test]
    fn keys_are_found_in_any_order() {
        let mut fields = Fields::new(STATUS);
        assert_eq!(fields.kb(b"VmRSS:"), Ok(1 << 20));
        assert_eq!(fields.count(b"Threads:"), Ok(3));
        assert_eq!(fields.kb(b"VmHWM:"), Ok(2 << 20));
        assert_eq!(fields.kb(b"VmSwap:"), Err(Absent::Unsupported));
        assert_eq!(fields.kb(b"Threads:"), Err(Absent::Malformed));
        assert_eq!(fields.text(b"Name:"), Some(&b"a b"[..]));
    }

    #[test]
    fn numbers_that_do_not_fit_are_no_numbers() {
        assert_eq!(number(b"18446744073709551615\n"), Ok(u64::MAX));
        assert_eq!(number(b"18446744073709551616\n"), Err(Absent::Malformed));
        for text in ["", "\n", "-1\n", "1 2\n", "0x10\n", "1kB\n"] {
            assert_eq!(number(text.as_bytes()), Err(Absent::Malformed), "{text:?}");
        }
        assert_eq!(
            Fields::new(b"A: 18446744073709551615 kB\n").kb(b"A:"),
            Err(Absent::Implausible)
        );
        assert_eq!(column(b"10 20 30\n", 1), Ok(20));
        assert_eq!(column(b"10\n", 1), Err(Absent::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text: Vec<u8>, key: Vec<u8>, index in 0usize..9) {
            let _ = (decimal(&text), number(&text), column(&text, index));
            let mut fields = Fields::new(&text);
            let _ = (fields.text(&key), fields.count(&key), fields.kb(&key));
        }

        // What stands before is never the key itself: then the first of two lines would rightly be the one read.
        #[test]
        fn what_was_written_is_read(before in "[a-j]{0,9}", value: u64, after in "[a-z \n]{0,9}") {
            let text = format!("{before} 1\nkey {value}\n{after}");
            prop_assert_eq!(Fields::new(text.as_bytes()).count(b"key "), Ok(value));
        }
    }
}
