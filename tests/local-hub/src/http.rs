//! As much of HTTP/1.1 (RFC 9112) as the protocol needs, on a raw socket so that answers can also be wrong.

use std::io::{self, Read};
use std::net::TcpStream;

/// Longest head of a request that is read.
const HEAD_LIMIT: usize = 64 * 1024;

/// Head of a request, and its body where one is announced.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads up to but *without* the last byte of the head: closing a socket with bytes unread makes the system reset
    /// the connection, which is how a reset is made without options that the standard library does not set.
    /// `None` when the client has closed the connection.
    pub fn read(stream: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r") {
            if text.len() > HEAD_LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the request is too long"));
            }
            if stream.read(&mut byte)? == 0 {
                return Ok(None);
            }
            text.push(byte[0]);
        }
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { method, target, headers })
    }

    /// Reads the byte that [`read`](Self::read) left, and the body.
    pub fn read_rest(&self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        stream.read_exact(&mut [0])?;
        let length = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; usize::min(length, 1 << 20)];
        stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// Value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// The path, decoded, in segments.
    pub fn segments(&self) -> Vec<String> {
        let path = self.target.split('?').next().unwrap_or_default();
        path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
    }

    /// Value of a parameter in the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| decode(value))
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                bytes.push(high * 16 + low);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes what may not stand in a path, keeping `/`.
pub(crate) fn encode(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An answer before a fault has been at it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.to_owned())], body: body.into() }
    }

    pub fn json(value: &serde_json::Value) -> Self {
        Self::new(200, "application/json; charset=utf-8", value.to_string())
    }

    /// The hub's way to say what is wrong: a code and a message in headers, and the message again in the body.
    pub fn error(status: u16, code: Option<&str>, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string();
        let mut response = Self::new(status, "application/json; charset=utf-8", body).with("X-Error-Message", message);
        if let Some(code) = code {
            response = response.with("X-Error-Code", code);
        }
        response
    }

    /// What a proxy, a load balancer or a storage service says instead of the hub.
    pub fn page(status: u16) -> Self {
        let title = reason(status);
        Self::new(
            status,
            "text/html; charset=utf-8",
            format!(
                "<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>\n<body><h1>{title}</h1></body></html>\n"
            ),
        )
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        let body = format!("{}. Redirecting to {location}", reason(status));
        Self::new(status, "text/plain; charset=utf-8", body).with("Location", location)
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Status line and headers; the length is that of the whole body, whether or not it is sent.
    pub fn head(&self) -> String {
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        format!("HTTP/1.1 {} {}\r\n{headers}Content-Length: {}\r\n\r\n", self.status, reason(self.status), self.body.len())
    }

    /// The part of the body that a `Range` header asks for: 206, or 416 where there is no such part.
    #[must_use]
    pub fn range(mut self, range: &str) -> Self {
        let length = self.body.len();
        let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).and_then(|(first, last)| {
            let last = if last.is_empty() { None } else { Some(last.parse::<usize>().ok()?) };
            match (first, last) {
                ("", Some(suffix)) => Some((length.saturating_sub(suffix), length)),
                (first, last) => Some((first.parse().ok()?, last.map_or(length, |last| usize::min(last + 1, length)))),
            }
        });
        match bounds {
            Some((first, end)) if first < end => {
                self.body = self.body[first..end].to_vec();
                self.status = 206;
                self.with("Content-Range", format!("bytes {first}-{}/{length}", end - 1))
            }
            Some(_) => Self::new(416, "text/plain", "").with("Content-Range", format!("bytes */{length}")),
            None => self,
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_decoded_after_they_are_split() {
        let head = Head { target: "/a/refs%2Fpr%2F1//b%20c/%zz?x=1&cursor=a%2Fb".to_owned(), ..Head::default() };
        assert_eq!(head.segments(), ["a", "refs/pr/1", "b c", "%zz"]);
        assert_eq!(head.query("cursor").as_deref(), Some("a/b"));
        assert_eq!(head.query("y"), None);
        assert_eq!(encode("data/a b+c.txt"), "data/a%20b%2Bc.txt");
    }

    #[test]
    fn ranges_are_cut_as_the_standard_says() {
        let cut = |range| {
            let response = Response::new(200, "text/plain", "0123456789").range(range);
            (response.status, String::from_utf8(response.body).unwrap())
        };
        assert_eq!(cut("bytes=2-4"), (206, "234".to_owned()));
        assert_eq!(cut("bytes=7-"), (206, "789".to_owned()));
        assert_eq!(cut("bytes=8-99"), (206, "89".to_owned()));
        assert_eq!(cut("bytes=-3"), (206, "789".to_owned()));
        assert_eq!(cut("bytes=10-"), (416, String::new()));
        assert_eq!(cut("lines=1-2"), (200, "0123456789".to_owned()));
        assert_eq!(cut("bytes=x-"), (200, "0123456789".to_owned()));
    }
}
