//! Answers to what never becomes a request, in Go's words, since clients know those.

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listen) enum Answer {
    /// Framing or syntax: 400.
    BadRequest,
    /// 400 without a body.
    BadTarget,
    /// HTTP/1.1 without Host.
    MissingHost,
    /// A Host that is none.
    MalformedHost,
    /// A blank or another non-token character in a field name.
    InvalidName,
    /// The head did not come in time: 408.
    HeadTimeout,
    /// No byte of the body for too long: 408.
    BodyStalled,
    /// The request line is longer than 64 KiB.
    TargetTooLong,
    /// More or longer fields than are taken.
    FieldsTooLarge,
    /// A transfer coding other than chunked.
    UnknownCoding,
    /// CONNECT.
    Connect,
    /// `readTimeout` ended within the body: 504, as in Traefik.
    ReadTimeout,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl Answer {
    /// Its status.
    pub(in crate::listen) fn status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::BadTarget
            | Self::MissingHost
            | Self::MalformedHost
            | Self::InvalidName => 400,
            Self::HeadTimeout | Self::BodyStalled => 408,
            Self::TargetTooLong => 414,
            Self::FieldsTooLarge => 431,
            Self::UnknownCoding | Self::Connect => 501,
            Self::ReadTimeout => 504,
            Self::Version => 505,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::BadRequest
            | Self::BadTarget
            | Self::MissingHost
            | Self::MalformedHost
            | Self::InvalidName => "Bad Request",
            Self::HeadTimeout | Self::BodyStalled => "Request Timeout",
            Self::TargetTooLong => "Request URI Too Long",
            Self::FieldsTooLarge => "Request Header Fields Too Large",
            Self::UnknownCoding | Self::Connect => "Not Implemented",
            Self::ReadTimeout => "Gateway Timeout",
            Self::Version => "HTTP Version Not Supported",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::BadTarget | Self::Connect => "",
            Self::MissingHost => "400 Bad Request: missing required Host header",
            Self::MalformedHost => "400 Bad Request: malformed Host header",
            Self::InvalidName => "400 Bad Request: invalid header name",
            Self::HeadTimeout | Self::BodyStalled => "408 Request Timeout",
            Self::TargetTooLong => "414 Request URI Too Long",
            Self::FieldsTooLarge => "431 Request Header Fields Too Large",
            Self::UnknownCoding => "Unsupported transfer encoding",
            Self::ReadTimeout => "Gateway Timeout",
            Self::Version => "505 HTTP Version Not Supported: unsupported protocol version",
        }
    }

    /// The whole response; the connection closes behind it.
    pub(in crate::listen) fn bytes(self) -> Vec<u8> {
        let (status, reason, body) = (self.status(), self.reason(), self.body());
        let kind = if body.is_empty() { "" } else { "Content-Type: text/plain; charset=utf-8\r\n" };
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {reason}\r\n{kind}Content-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
