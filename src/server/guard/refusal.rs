//! Why a message is refused before it reaches a handler.
//!
//! Pure: no I/O, no clock, no executor.

/// What is wrong with a request head or with the framing of its body.
///
/// Whatever the variant, the connection closes: after a message whose end is in doubt no byte can
/// be trusted. The variants differ in the status the client is told and in the name they are
/// counted under. Sections are those of RFC 9112 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Not `METHOD SP TARGET SP VERSION` with single spaces (section 3).
    #[error("the request line is not `METHOD TARGET HTTP/1.1` with single spaces")]
    RequestLine,
    /// The method is not a token, or is longer than any method there is.
    #[error("the method is not a token")]
    Method,
    /// The request target is in no form a server accepts (section 3.2).
    #[error("the request target is neither an absolute path nor an http(s) URL")]
    Target,
    /// CONNECT asks for a tunnel, which this node never is.
    #[error("CONNECT is for proxies, and this is none")]
    Tunnel,
    /// A version other than 1.0 and 1.1.
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    /// The request target exceeds `uri_bytes`.
    #[error("the request target is too long")]
    UriTooLong,
    /// The head exceeds `header_bytes`.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// The head has more fields than `header_fields`.
    #[error("the request head has too many fields")]
    TooManyFields,
    /// A line ends in LF without CR: some parsers see one line there, some two.
    #[error("a line ends in a bare LF")]
    BareLf,
    /// A CR that no LF follows.
    #[error("a CR stands without its LF")]
    BareCr,
    /// A NUL byte, where a parser in C ends and others go on.
    #[error("the head contains a NUL byte")]
    Nul,
    /// A field line that starts with white space (section 5.2).
    #[error("a field line is folded or starts with white space")]
    Folded,
    /// A field line without a colon, or with a name that is not a token.
    #[error("a field name is not a token")]
    FieldName,
    /// White space between a field's name and its colon (section 5.1).
    #[error("white space stands before the colon of a field")]
    SpaceBeforeColon,
    /// A control character in a field's value.
    #[error("a field value contains a control character")]
    FieldValue,
    /// An HTTP/1.1 request without Host (section 3.2).
    #[error("the Host field is missing")]
    NoHost,
    /// Two Host fields (section 3.2).
    #[error("the Host field is repeated")]
    RepeatedHost,
    /// A Host that is not `host[:port]`.
    #[error("the Host field is not `host` or `host:port`")]
    Host,
    /// A Content-Length that is not a plain decimal number (section 6.3).
    #[error("Content-Length is not a decimal number")]
    ContentLength,
    /// Content-Length twice, be it with the same value.
    #[error("Content-Length is repeated")]
    RepeatedContentLength,
    /// Content-Length together with Transfer-Encoding (section 6.1).
    #[error("Content-Length and Transfer-Encoding stand together")]
    LengthAndCoding,
    /// A Transfer-Encoding other than exactly one `chunked`.
    #[error("Transfer-Encoding is not exactly `chunked`")]
    TransferCoding,
    /// Transfer-Encoding in HTTP/1.0 (section 6.1).
    #[error("Transfer-Encoding does not exist in HTTP/1.0")]
    CodingInHttp10,
    /// A chunk size that is not a plain hexadecimal number (section 7.1).
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    /// A chunk extension that is malformed or too long (section 7.1.1).
    #[error("a chunk extension is malformed or too long")]
    ChunkExtension,
    /// Chunk data that is not followed by CRLF.
    #[error("chunk data does not end where its size says")]
    ChunkEnd,
    /// Trailer fields that are malformed, too many, or would change the framing (section 7.1.2).
    #[error("the trailer section is malformed, too large, or names a framing field")]
    Trailers,
    /// A head that was begun did not end within `header_timeout`, or no byte of a body came in it.
    #[error("the request did not arrive in time")]
    Slow,
}

impl Refusal {
    /// The HTTP status the client is told.
    pub fn status(self) -> u16 {
        match self {
            Self::Tunnel => 405,
            Self::Slow => 408,
            Self::UriTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The name it is counted under in `kithara_refused_total{reason}`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UriTooLong => "uri_bytes",
            Self::HeadTooLarge => "header_bytes",
            Self::TooManyFields => "header_fields",
            Self::Slow => "header_timeout",
            Self::RequestLine | Self::Method | Self::Target | Self::Tunnel => "request_line",
            Self::Version => "version",
            Self::NoHost | Self::RepeatedHost | Self::Host => "host",
            Self::ContentLength
            | Self::RepeatedContentLength
            | Self::LengthAndCoding
            | Self::TransferCoding
            | Self::CodingInHttp10 => "framing",
            Self::ChunkSize | Self::ChunkExtension | Self::ChunkEnd | Self::Trailers => "chunked",
            _ => "head",
        }
    }
}
