//! How rows of text are written.

/// How a row of text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// A JSON object.
    Json,
    /// A CSV record, RFC 4180. An empty field is null.
    Csv,
}
