/// A breach of what our gateway promises of a stream's bytes (the standard itself is laxer). Text is cut short.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Grammar {
    /// Not UTF-8.
    #[error("a line is not UTF-8")]
    Utf8,
    /// A carriage return or NUL: our gateway ends lines with LF alone.
    #[error("a line holds a carriage return or NUL")]
    Control,
    /// A line of more than a megabyte.
    #[error("a line has no end")]
    Long,
    /// Not `field: value` with one space.
    #[error("a line is no field with a value: {0:?}")]
    Form(String),
    /// A field name that nobody reads; empty: a comment with a text, which no heartbeat has.
    #[error("unknown field {0:?}")]
    Field(String),
    /// A field twice in a block, or after one that it stands before.
    #[error("the field {0:?} stands twice or in the wrong place")]
    Order(String),
    /// `retry` is not a number.
    #[error("retry is not a number of milliseconds")]
    Retry,
    /// An id that is no cursor: too long, or with a byte that no browser sends back.
    #[error("an id is no cursor of ours")]
    Id,
    /// Neither an event, nor a heartbeat, nor a time to wait.
    #[error("a block is neither event, heartbeat nor retry")]
    Block,
    /// An event that there is not.
    #[error("unknown event {0:?}")]
    Event(String),
    /// An event whose data is no JSON object.
    #[error("the data of {0:?} is no JSON object")]
    Json(String),
    /// An event without the cursor after it.
    #[error("{0:?} carries no id")]
    NoId(String),
    /// Something came before `hello`.
    #[error("{0:?} came before hello")]
    BeforeHello(String),
    /// The server ended the stream inside an event.
    #[error("the stream ended inside an event")]
    Torn,
}
