//! The edge where text meets a terminal or a log: rows may hold any bytes, and none of them may move a cursor, forge a line
//! or turn text around. Every `print!` of the binary ends here, for the macros below stand before those of the standard
//! library.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{ErrorKind, Result, Write};

/// Text with its control characters as `\u001b`, line feeds left alone: also inside the strings of JSON it means the same.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_control(c))
}

/// The same of a value that stands within a line.
pub fn in_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// What terminals act on instead of showing it: controls, marks that turn the direction of text, and ends of lines that
/// are not line feeds.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if is_escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Writes text to standard error as [`plain`] has it. Where it has no reader any more, the run goes on without it.
pub fn tell(text: Arguments<'_>, end: &str) {
    drop(written(std::io::stderr().lock(), text, end));
}

/// Writes data as [`plain`] has it. Where it has no reader any more, or the disk is full, the process ends.
pub fn write(to: impl Write, text: Arguments<'_>, end: &str) {
    if let Err(error) = written(to, text, end) {
        std::process::exit(if error.kind() == ErrorKind::BrokenPipe { 0 } else { 74 });
    }
}

fn written(mut to: impl Write, text: Arguments<'_>, end: &str) -> Result<()> {
    to.write_all(plain(&text.to_string()).as_bytes())?;
    to.write_all(end.as_bytes())?;
    to.flush()
}

macro_rules! println {
    () => { $crate::print::write(std::io::stdout().lock(), format_args!(""), "\n") };
    ($($text:tt)*) => { $crate::print::write(std::io::stdout().lock(), format_args!($($text)*), "\n") };
}

macro_rules! print {
    ($($text:tt)*) => { $crate::print::write(std::io::stdout().lock(), format_args!($($text)*), "") };
}

macro_rules! eprintln {
    () => { $crate::print::tell(format_args!(""), "\n") };
    ($($text:tt)*) => { $crate::print::tell(format_args!($($text)*), "\n") };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::print::tell(format_args!($($text)*), "") };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_is_left_and_all_else_is() {
        for kept in ["plain", "é ü 東京 🎬", "a\nb", ""] {
            assert!(matches!(plain(kept), Cow::Borrowed(text) if text == kept));
        }
        let hostile = "\u{1b}[2J\r\u{9b}31m\u{7f}\u{202e}\u{0}\ttail";
        assert_eq!(plain(hostile), "\\u001b[2J\\u000d\\u009b31m\\u007f\\u202e\\u0000\\u0009tail");
        assert_eq!(in_line("a\nb"), "a\\u000ab");
        let json = serde_json::to_string(hostile).unwrap();
        assert_eq!(serde_json::from_str::<String>(&plain(&json)).unwrap(), hostile);
    }

    #[test]
    fn every_character_is_safe_or_escaped() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let shown = in_line(c.encode_utf8(&mut [0; 4])).into_owned();
            assert!(shown.chars().all(|c| !c.is_control()), "{c:?} {shown:?}");
        }
    }
}
